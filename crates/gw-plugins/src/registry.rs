//! The plugins a gateway has, by name: an ordinary list one can read.

use std::fmt;
use std::sync::Arc;

use gw_core::{Document, Id, Kinds, PluginUse};
use gw_schema::{CompileError, Schema, Violation, ViolationKind, Violations};
use serde_json::Value;

use crate::env::{BuildEnv, Lender};
use crate::instance::Instance;
use crate::phase::Phases;
use crate::plugin::{BuildError, CredentialDefinition, Definition, WaitingPlugin};
use crate::queue::Queues;
use crate::stats::Stats;

/// One plugin the gateway has.
#[derive(Clone, Debug)]
pub struct Registered {
    /// Its name.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Higher runs first.
    pub priority: i32,
    /// The phases it has.
    pub phases: Phases,
    /// The schema of its settings.
    pub schema: Schema,
    /// Whether an instance may be bound to a consumer or a group of them.
    pub consumer_scope: bool,
    /// Whether new instances may be made, and existing ones run.
    pub enabled: bool,
    /// What is counted of it.
    pub stats: Arc<Stats>,
    credential: Option<CredentialDefinition>,
    build: fn(Value, &BuildEnv) -> Result<Instance, BuildError>,
}

/// The plugins a gateway has. Cloning shares the list.
#[derive(Clone, Default)]
pub struct Registry {
    plugins: Arc<Vec<Registered>>,
    env: BuildEnv,
}

/// A name that no plugin has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no plugin `{name}`; the plugins are: {}", known.join(", "))]
pub struct UnknownPlugin {
    /// The name.
    pub name: Box<str>,
    known: Vec<&'static str>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.iter().map(|plugin| plugin.name))
            .finish()
    }
}

impl Registry {
    /// No plugins.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The plugins of this crate.
    #[must_use]
    pub fn builtin() -> Self {
        crate::builtin::all()
    }

    /// The same with the plugin `P`.
    ///
    /// # Panics
    /// `P`'s schema is not a JSON Schema, or another plugin has its name: both are bugs of the program.
    #[must_use]
    pub fn with<P: Definition>(self) -> Self {
        self.add::<P>(|config, env| Ok(Instance::plain(make::<P>(config, env)?)))
    }

    /// The same with the plugin `P`, which waits.
    ///
    /// # Panics
    /// As [`Registry::with`].
    #[must_use]
    pub fn with_waiting<P: Definition + WaitingPlugin>(self) -> Self {
        self.add::<P>(|config, env| Ok(Instance::waiting(make::<P>(config, env)?)))
    }

    fn add<P: Definition>(self, build: fn(Value, &BuildEnv) -> Result<Instance, BuildError>) -> Self {
        assert!(
            self.find(P::NAME).is_none(),
            "two plugins are called `{}`",
            P::NAME
        );
        let document = serde_json::from_str(P::SCHEMA).expect("a plugin's schema is JSON");
        let registered = Registered {
            name: P::NAME,
            version: P::VERSION,
            priority: P::PRIORITY,
            phases: P::PHASES,
            schema: Schema::compile(document).expect("a plugin's schema compiles"),
            consumer_scope: P::CONSUMER_SCOPE,
            enabled: true,
            stats: Arc::default(),
            credential: P::CREDENTIAL,
            build,
        };
        let mut plugins = Arc::unwrap_or_clone(self.plugins);
        let place = plugins.partition_point(|other| other.priority >= registered.priority);
        plugins.insert(place, registered);
        Self {
            plugins: Arc::new(plugins),
            env: self.env,
        }
    }

    /// The same with these plugins enabled and no others. Credentials of the others stay known, they belong to
    /// consumers.
    ///
    /// # Errors
    /// A name that no plugin has.
    pub fn only<S: AsRef<str>>(&self, names: &[S]) -> Result<Self, UnknownPlugin> {
        for name in names {
            if self.find(name.as_ref()).is_none() {
                let known = self.plugins.iter().map(|plugin| plugin.name).collect();
                return Err(UnknownPlugin {
                    name: name.as_ref().into(),
                    known,
                });
            }
        }
        let mut plugins = Arc::unwrap_or_clone(Arc::clone(&self.plugins));
        for plugin in &mut plugins {
            plugin.enabled = names.iter().any(|name| name.as_ref() == plugin.name);
        }
        Ok(Self {
            plugins: Arc::new(plugins),
            env: self.env.clone(),
        })
    }

    /// The same with what a gateway lends to plugins. What they keep beyond their instances begins anew.
    #[must_use]
    pub fn lent(mut self, lender: Arc<dyn Lender>) -> Self {
        self.env = BuildEnv::new(lender);
        self
    }

    /// What instances are lent, and what they share.
    #[must_use]
    pub fn env(&self) -> &BuildEnv {
        &self.env
    }

    /// Ends when what plugins have queued by now (log entries) has been handed over, or given up. No more time is given to what
    /// would come together.
    pub fn flushed(&self) -> impl Future<Output = ()> + Send + use<> {
        self.env.shared().get::<Queues>().flushed()
    }

    /// The enabled plugin of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Registered> {
        self.find(name).filter(|plugin| plugin.enabled)
    }

    /// The enabled plugins, by falling priority.
    pub fn iter(&self) -> impl Iterator<Item = &Registered> {
        self.plugins.iter().filter(|plugin| plugin.enabled)
    }

    fn find(&self, name: &str) -> Option<&Registered> {
        self.plugins.iter().find(|plugin| plugin.name == name)
    }

    /// All kinds of entity: gw-core's own and the credentials of the plugins.
    ///
    /// # Errors
    /// A credential's schema is not one.
    ///
    /// # Panics
    /// A credential's schema is not JSON: a bug of the plugin.
    pub fn kinds(&self) -> Result<Kinds, CompileError> {
        let credentials = || self.plugins.iter().filter_map(|plugin| plugin.credential);
        let kinds = Kinds::new(credentials().map(|credential| {
            let schema = serde_json::from_str(credential.schema).expect("a credential's schema is JSON");
            (credential.kind, schema)
        }))?;
        let kinds = kinds.formed(credentials().map(|credential| (credential.kind, credential.form)));
        let settings = self.plugins.iter();
        Ok(kinds.with_settings(settings.map(|plugin| (plugin.name, plugin.schema.document()))))
    }

    /// Turns the texts of a form into the types of the plugin's settings.
    pub fn coerce_config(&self, name: &str, config: &mut Value) {
        if let Some(plugin) = self.get(name) {
            plugin.schema.coerce(config);
        }
    }

    /// Fills in the defaults of a plugin instance's `config`, checks it, and makes the instance once to see that it
    /// can run.
    ///
    /// # Errors
    /// Every violation, with pointers into the whole document.
    pub fn complete(&self, document: &mut Document) -> Result<(), Violations> {
        let name = document
            .get("name")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
        let Some(plugin) = self.get(&name) else {
            let message = BuildError::NotEnabled { name: name.into() }.to_string();
            return Err(Violation::new("/name", message).into());
        };
        let mut found = Vec::new();
        for field in ["consumer", "consumer_group"] {
            if !plugin.consumer_scope && document.get(field).is_some_and(|bound| !bound.is_null()) {
                found.push(Violation::new(format!("/{field}"), "value must be null"));
            }
        }
        let config = document
            .entry("config")
            .or_insert_with(|| Value::Object(Document::new()));
        plugin.schema.fill_defaults(config);
        match plugin.schema.check(config) {
            Err(violations) => found.extend(
                violations
                    .into_iter()
                    .map(|violation| violation.nested("/config")),
            ),
            Ok(()) => {
                if let Err(error) = (plugin.build)(config.clone(), &self.env) {
                    found.push(violation(&error));
                }
            }
        }
        Violations::none_in(found)
    }

    /// Makes an instance. Defaults are filled in again: an older document may meet a newer schema.
    ///
    /// # Errors
    /// The plugin is not enabled, or the settings cannot run.
    pub fn build(&self, id: Id<PluginUse>, name: &str, config: &Value) -> Result<Instance, BuildError> {
        let Some(plugin) = self.get(name) else {
            return Err(BuildError::NotEnabled { name: name.into() });
        };
        let mut config = config.clone();
        plugin.schema.fill_defaults(&mut config);
        let mut instance = (plugin.build)(config, &self.env.of(id))?;
        instance.stats = Arc::clone(&plugin.stats);
        Ok(instance)
    }
}

fn make<P: Definition>(config: Value, env: &BuildEnv) -> Result<P, BuildError> {
    let config = serde_json::from_value(config).map_err(|source| BuildError::Shape {
        name: P::NAME,
        source,
    })?;
    P::build(config, env)
}

fn violation(error: &BuildError) -> Violation {
    let (pointer, message) = match error {
        BuildError::Setting { pointer, message } => (format!("/config{pointer}"), message.to_string()),
        BuildError::Shape { source, .. } => ("/config".to_owned(), format!("{error}: {source}")),
        BuildError::NotEnabled { .. } => ("/name".to_owned(), error.to_string()),
    };
    Violation::new(pointer, message).with_kind(ViolationKind::Other)
}
