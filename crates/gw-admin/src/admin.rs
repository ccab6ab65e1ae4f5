//! `AdminApi`: from a request to an answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gw_core::{Kind, Kinds};
use gw_plugins::Registry;
use gw_plugins::metrics::Exposition;
use gw_store::{Freshness, Incarnation, Store, View};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::api::{Api, Endpoint, Site};
use crate::body::{self, Arguments};
use crate::conditions::Conditions;
use crate::declarative::UnknownPlugins;
use crate::entity::{Entities, Verb};
use crate::intent::{self, Intent};
use crate::plan::{Action, Step};
use crate::ports::Ports;
use crate::problem::Problem;
use crate::retirement::Retirement;
use crate::{dns, explain, fields, form, health, node, openapi, proxy_cache};

/// For how many seconds it has not been known whether the store holds something newer.
const STALE: HeaderName = HeaderName::from_static("x-config-stale");

/// What kind of gateway an Admin API is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AdminOptions {
    /// The configuration comes from a file as a whole: single entities are read, not written, as in Kong without a
    /// database.
    pub without_database: bool,
    /// What becomes of plugins that are not here, when a whole configuration is loaded.
    pub unknown_plugins: UnknownPlugins,
}

/// The Admin API. Cloning shares it.
#[derive(Clone)]
pub struct AdminApi {
    shared: Arc<Shared>,
}

struct Shared {
    store: Store,
    registry: Registry,
    kinds: Kinds,
    ports: Arc<dyn Ports>,
    api: Api,
    options: AdminOptions,
    /// Of the text that was loaded last.
    hash: Mutex<Option<String>>,
    /// Whose turn it is to load a configuration.
    config_turn: tokio::sync::Mutex<()>,
    retirement: Retirement,
}

impl fmt::Debug for AdminApi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminApi")
            .field("store", &self.shared.store)
            .field("kinds", &self.shared.kinds)
            .finish_non_exhaustive()
    }
}

impl AdminApi {
    /// An Admin API over a store that was opened with a [`StoreIndex`](crate::StoreIndex) of the same kinds.
    #[must_use]
    pub fn new(store: Store, registry: Registry, kinds: Kinds, ports: Arc<dyn Ports>) -> Self {
        Self::with(store, registry, kinds, ports, AdminOptions::default())
    }

    /// The same of another kind of gateway.
    #[must_use]
    pub fn with(
        store: Store,
        registry: Registry,
        kinds: Kinds,
        ports: Arc<dyn Ports>,
        options: AdminOptions,
    ) -> Self {
        let api = Api::new(&kinds);
        Self {
            shared: Arc::new(Shared {
                store,
                registry,
                kinds,
                ports,
                api,
                options,
                hash: Mutex::default(),
                config_turn: tokio::sync::Mutex::default(),
                retirement: Retirement::default(),
            }),
        }
    }

    /// Answers one request.
    ///
    /// A write goes on when the returned future is dropped: it is stored, or it is not, as a whole.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub async fn handle<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        let (mut head, body) = request.into_parts();
        let id = intent::request_id(&head.headers);
        if let Ok(id) = HeaderValue::try_from(&id) {
            head.headers.insert(intent::REQUEST_ID, id);
        }
        let api = self.current();
        let answer = match api.shared.retirement.begin().await {
            Some(_under_way) => api.answer(&head, body).await,
            None => Err(Problem::HandedOver),
        };
        let answer = answer.unwrap_or_else(Answer::from);
        let answer = answer.with(intent::REQUEST_ID, &id);
        tracing::debug!(method = %head.method, status = answer.status.as_u16(), "admin request answered");
        answer.into_response(&head, api.shared.store.info().revision, started)
    }

    async fn answer<B>(&self, head: &Parts, body: B) -> Result<Answer, Problem>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let site = self.shared.api.site(head.uri.path()).ok_or(Problem::NotFound)?;
        let allow = site.endpoint.allow();
        if !site.endpoint.methods().contains(&head.method) {
            return Err(Problem::MethodNotAllowed { allow });
        }
        if !site.endpoint.is_about_node() {
            self.refuse_unless_known()?;
        }
        match head.method {
            Method::OPTIONS => Ok(Answer {
                allow: Some(allow),
                ..Answer::empty(StatusCode::NO_CONTENT)
            }),
            Method::GET | Method::HEAD => {
                let stale = self.stale_for();
                let answer = self.look(head, &site).await?;
                Ok(match stale {
                    Some(stale) => answer.with(STALE, &stale.as_secs().to_string()),
                    None => answer,
                })
            }
            Method::DELETE => self.delete(head, site).await,
            _ => self.send(head, site, body).await,
        }
    }

    /// Answers a request that changes nothing.
    async fn look(&self, head: &Parts, site: &Site) -> Result<Answer, Problem> {
        let conditions = || Conditions::read(&head.headers);
        match &site.endpoint {
            Endpoint::Config => self.export_config(&conditions()?).await,
            Endpoint::Reseal => self.sealing().await,
            Endpoint::Overlaps => self.overlaps().await,
            Endpoint::Metrics => self.metrics().await,
            Endpoint::History => self.history(&query(head)?).await,
            Endpoint::At => self.config_at(site.name(0)?, &conditions()?).await,
            Endpoint::Compare => self.compare(&query(head)?).await,
            Endpoint::Cluster => self.cluster().await,
            Endpoint::Mark => {
                let view = self.shared.store.view();
                let tag = self.tag_of_mark(&view, site.name(0)?);
                Ok(self.read(head, site, &view)?.tagged(tag, &conditions()?))
            }
            Endpoint::One { .. } | Endpoint::Referred { .. } | Endpoint::Member(_) => {
                let view = self.shared.store.view();
                let tag = self.entities(&view).version(site)?.into_tag();
                Ok(self.read(head, site, &view)?.tagged(tag, &conditions()?))
            }
            _ => self.read(head, site, &self.shared.store.view()),
        }
    }

    async fn delete(&self, head: &Parts, site: Site) -> Result<Answer, Problem> {
        if matches!(site.endpoint, Endpoint::Caches | Endpoint::Cached) {
            let view = self.shared.store.view();
            proxy_cache::purge(&self.entities(&view), &self.shared.registry, &site)?;
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        let query = query(head)?;
        let intent = Intent::read(head, &query)?;
        if site.endpoint == Endpoint::Mark {
            return self.remove_mark(site.name(0)?, intent).await;
        }
        let step = Step {
            conditions: intent.conditions.clone(),
            site,
            action: Action::Delete { query },
        };
        self.change(step, intent).await
    }

    /// Answers a request that sends something.
    async fn send<B>(&self, head: &Parts, site: Site, body: B) -> Result<Answer, Problem>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let query = query(head)?;
        let ports = &*self.shared.ports;
        let newest = |body| Ok(Answer::ok(body, self.shared.store.info().revision));
        match site.endpoint {
            Endpoint::SetHealth { healthy } => {
                let view = self.shared.store.view();
                health::set(&self.entities(&view), ports, &site, healthy)?;
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
            Endpoint::Config => return self.load_config(head, &query, body).await,
            Endpoint::Reseal => return self.reseal(&Intent::read(head, &query)?).await,
            Endpoint::Transaction => return self.transact(head, Intent::read(head, &query)?, body).await,
            Endpoint::Accept => return self.accept(Intent::read(head, &query)?).await,
            _ => {}
        }
        let arguments = body::read(&head.headers, body).await?;
        match site.endpoint {
            Endpoint::Validate { of } => return self.validate(&site, of, &arguments),
            Endpoint::Explain => return newest(explain::explain(ports, &arguments)?),
            Endpoint::SetLogLevel => {
                let level = site.name(0)?;
                return newest(node::set_log_level(ports, level, &query, &arguments.document)?);
            }
            _ => {}
        }
        let intent = Intent::read(head, &query)?;
        match site.endpoint {
            Endpoint::Mark => return self.set_mark(site.name(0)?, &arguments, intent).await,
            Endpoint::Rollback => return self.roll_back(&arguments, intent).await,
            _ => {}
        }
        let verb = match head.method {
            Method::POST => Verb::Create,
            Method::PUT => Verb::Replace,
            _ => Verb::Patch,
        };
        let step = Step {
            conditions: intent.conditions.clone(),
            site,
            action: Action::Write(verb, arguments),
        };
        self.change(step, intent).await
    }

    /// Without a store and without a checkpoint of what it held, nothing can be told and nothing done.
    fn refuse_unless_known(&self) -> Result<(), Problem> {
        let info = self.shared.store.info();
        if info.reached || info.incarnation != Incarnation::UNKNOWN {
            return Ok(());
        }
        Err(Problem::NeverReached {
            place: self.shared.store.place(),
        })
    }

    /// How long it has not been known whether there is something newer in the store; none if it is known.
    pub(crate) fn stale_for(&self) -> Option<Duration> {
        match self.shared.store.info().freshness {
            Freshness::Stale { since, .. } => Some(since.elapsed().unwrap_or_default()),
            _ => None,
        }
    }

    fn read(&self, head: &Parts, site: &Site, view: &View) -> Result<Answer, Problem> {
        let Shared {
            registry, ports, api, ..
        } = &*self.shared;
        let query = query(head)?;
        let entities = self.entities(view);
        let path = head.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let body = match &site.endpoint {
            Endpoint::Information => node::information(registry, view, &**ports, &self.shared.options),
            Endpoint::Status => self.status(&query)?,
            Endpoint::Problems => self.problems(),
            Endpoint::Marks => self.marks(view),
            Endpoint::Mark => self.mark(view, site.name(0)?)?,
            Endpoint::Endpoints => {
                let paths: Vec<&str> = api.paths().iter().map(|(path, _)| path.as_str()).collect();
                json!({ "data": paths })
            }
            Endpoint::EnabledPlugins => node::enabled_plugins(registry),
            Endpoint::List { .. } => entities.list(site, path, &query)?,
            Endpoint::One { .. } | Endpoint::Referred { .. } => Value::Object(entities.read(site, &query)?),
            Endpoint::Members(link) => entities.members(link, site.name(0)?, path, &query)?,
            Endpoint::Member(link) => entities.member(link, site.name(0)?, site.name(1)?)?,
            Endpoint::Tags => entities.tagged(None, path, &query)?,
            Endpoint::Tagged => entities.tagged(Some(site.name(0)?), path, &query)?,
            Endpoint::Schema => fields::of_kind(&self.shared.kinds, site.name(0)?)?,
            Endpoint::PluginSchema => fields::of_plugin(&self.shared.kinds, registry, site.name(0)?)?,
            Endpoint::VaultSchema => fields::of_vault(&self.shared.kinds, site.name(0)?)?,
            Endpoint::LogLevel => node::log_level(&**ports),
            Endpoint::Health => health::show(&entities, &**ports, site, path, &query)?,
            Endpoint::Dns => dns::show(&**ports),
            Endpoint::Cached => proxy_cache::show(&entities, registry, site)?,
            Endpoint::Filters(which) => entities.filters(*which, site.name(0)?)?,
            Endpoint::OpenApi => openapi::document(api, &self.shared.kinds, registry),
            Endpoint::Config
            | Endpoint::History
            | Endpoint::At
            | Endpoint::Compare
            | Endpoint::Rollback
            | Endpoint::Transaction
            | Endpoint::Cluster
            | Endpoint::Accept
            | Endpoint::Reseal
            | Endpoint::Caches
            | Endpoint::Explain
            | Endpoint::Metrics
            | Endpoint::Overlaps
            | Endpoint::Validate { .. }
            | Endpoint::SetLogLevel
            | Endpoint::SetHealth { .. } => {
                return Err(Problem::NotFound);
            }
        };
        Ok(Answer::ok(body, view.revision()))
    }

    /// All routes that are in each other's way: on a thread of its own, for in a large table it takes a while.
    async fn overlaps(&self) -> Result<Answer, Problem> {
        let ports = Arc::clone(&self.shared.ports);
        let overlaps = tokio::task::spawn_blocking(move || explain::overlaps(&*ports)).await;
        let body = overlaps.map_err(|error| {
            tracing::error!(%error, "overlaps were not found out");
            Problem::Internal
        })?;
        Ok(Answer::ok(body, self.shared.store.info().revision))
    }

    /// What the node has counted: on a thread of its own, for there may be a lot of it.
    async fn metrics(&self) -> Result<Answer, Problem> {
        let ports = Arc::clone(&self.shared.ports);
        let metrics = tokio::task::spawn_blocking(move || ports.metrics()).await;
        let metrics = metrics.map_err(|error| {
            tracing::error!(%error, "the metrics were not written");
            Problem::Internal
        })?;
        Ok(Answer {
            written: Some(metrics.into()),
            media_type: Exposition::CONTENT_TYPE,
            ..Answer::empty(StatusCode::OK)
        })
    }

    fn validate(&self, site: &Site, of: Option<Kind>, sent: &Arguments) -> Result<Answer, Problem> {
        let kind = match of {
            Some(kind) => kind,
            None => fields::kind(&self.shared.kinds, site.name(0)?)?.kind,
        };
        let view = self.shared.store.view();
        self.entities(&view).validate(kind, sent)?;
        let body = json!({ "message": "schema validation successful" });
        Ok(Answer::ok(body, view.revision()))
    }

    pub(crate) fn retirement(&self) -> &Retirement {
        &self.shared.retirement
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
    }

    /// What is at a path.
    pub(crate) fn site(&self, path: &str) -> Option<Site> {
        self.shared.api.site(path)
    }

    pub(crate) fn ports(&self) -> &Arc<dyn Ports> {
        &self.shared.ports
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.shared.registry
    }

    pub(crate) fn options(&self) -> &AdminOptions {
        &self.shared.options
    }

    /// Keeps in mind which text was loaded last.
    pub(crate) fn remember(&self, text: &str) {
        let digest = Sha256::digest(text);
        // Kong's are as long.
        let hash = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        *self.hash() = Some(hash);
    }

    fn hash(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.shared.hash.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The hash of the text that was loaded last, as Kong shows it; none where there is a database.
    pub(crate) fn configuration_hash(&self) -> Option<String> {
        let none = || "0".repeat(32);
        let without = self.shared.options.without_database;
        without.then(|| self.hash().clone().unwrap_or_else(none))
    }

    pub(crate) fn kinds(&self) -> &Kinds {
        &self.shared.kinds
    }

    /// Holds until it is this caller's turn to load a configuration, and while the result lives.
    pub(crate) async fn config_turn(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.shared.config_turn.lock().await
    }

    pub(crate) fn entities<'a>(&'a self, view: &'a View) -> Entities<'a> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        Entities {
            kinds: &self.shared.kinds,
            registry: &self.shared.registry,
            view,
            now,
        }
    }
}

/// The arguments of a request's query.
fn query(head: &Parts) -> Result<Vec<(String, String)>, Problem> {
    let text = head.uri.query().unwrap_or_default();
    Ok(form::pairs(text.as_bytes()).map_err(body::BodyError::from)?)
}
