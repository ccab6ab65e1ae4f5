//! The traits a plugin implements.

use gw_core::{CredentialForm, CredentialKind};
use serde::de::DeserializeOwned;

use crate::cx::{BodyCx, LogCx, RequestCx, ResponseCx};
use crate::env::{BuildEnv, Lent};
use crate::phase::Phases;
use crate::reply::Flow;
use crate::steering::OwnUpstream;

/// What a plugin is, before it is configured: one per plugin, all constants.
pub trait Definition: Plugin + Sized {
    /// The name used in configuration, e.g. `key-auth`.
    const NAME: &'static str;
    /// Higher runs first, in every phase. Kong's scale.
    const PRIORITY: i32;
    /// The version shown to operators.
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    /// The phases it has; the others are never called.
    const PHASES: Phases;
    /// The JSON Schema of its settings: shape, defaults, descriptions.
    const SCHEMA: &'static str;
    /// Whether an instance may be bound to a consumer. Not one that finds out who the consumer is.
    const CONSUMER_SCOPE: bool = true;
    /// The kind of credential it brings, if it brings one.
    const CREDENTIAL: Option<CredentialDefinition> = None;

    /// Its settings; defaults have been filled in from the schema.
    type Config: DeserializeOwned;

    /// Makes an instance.
    ///
    /// # Errors
    /// The settings cannot run, though the schema is content with them.
    fn build(config: Self::Config, env: &BuildEnv) -> Result<Self, BuildError>;
}

/// A kind of credential that a plugin brings: paths, index and cascade follow from its schema.
#[derive(Clone, Copy, Debug)]
pub struct CredentialDefinition {
    /// The kind's name, e.g. `keyauth_credentials`.
    pub kind: CredentialKind,
    /// The JSON Schema of one, with the `x-…` keywords of gw-core.
    pub schema: &'static str,
    /// How one is brought into the form in which it is stored.
    pub form: CredentialForm,
}

/// What an instance does; it implements the phases its definition names.
///
/// A panic costs one request a 500.
pub trait Plugin: Send + Sync + 'static {
    /// What an instance remembers from phase to phase of one request.
    type State: Default + Send + 'static;

    /// What it wants to see of the bodies.
    fn needs(&self) -> Needs {
        Needs::default()
    }

    /// The upstreams that belong to this instance alone; [`UpstreamChoice::Own`](crate::UpstreamChoice::Own) sends requests there.
    fn upstreams(&self) -> Vec<OwnUpstream> {
        Vec::new()
    }

    /// Before anything is decided about the request.
    fn rewrite(&self, _cx: &mut RequestCx<'_, Self::State>) -> Flow {
        Flow::Continue
    }

    /// The request's head is known.
    fn access(&self, _cx: &mut RequestCx<'_, Self::State>) -> Flow {
        Flow::Continue
    }

    /// What it wants to see of this response's body in `header_filter`; the head is known. Asked only if
    /// [`Needs::response_body`] says so. A body larger than `max` is answered 502.
    fn response_body(&self, _cx: &mut ResponseCx<'_, Self::State>) -> BodyNeed {
        BodyNeed::None
    }

    /// The response's head is known.
    fn header_filter(&self, _cx: &mut ResponseCx<'_, Self::State>) {}

    /// A chunk of the response's body passes.
    fn body_filter(&self, _cx: &mut BodyCx<'_, Self::State>) {}

    /// The exchange is over.
    fn log(&self, _cx: &mut LogCx<'_, Self::State>) {}
}

/// A future that a plugin waits for.
pub type Waiting<'a> = Lent<'a, Flow>;

/// A plugin that must wait in `rewrite` or `access`: for another service, a shared counter. One box per request.
pub trait WaitingPlugin: Plugin {
    /// As [`Plugin::rewrite`], which is called by default.
    fn rewrite_waiting<'a>(&'a self, mut cx: RequestCx<'a, Self::State>) -> Waiting<'a> {
        Box::pin(std::future::ready(self.rewrite(&mut cx)))
    }

    /// As [`Plugin::access`], which is not called unless [`WaitingPlugin::waits`] says so.
    fn access_waiting<'a>(&'a self, cx: RequestCx<'a, Self::State>) -> Waiting<'a>;

    /// Whether this instance waits at all; otherwise it is asked by plain calls, which cost no box. It is asked once.
    fn waits(&self) -> bool {
        true
    }
}

/// What an instance needs of an exchange beyond what every plugin is given. Nothing, unless it says so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Needs {
    /// Of the request's body.
    pub request_body: BodyNeed,
    /// Whether [`Plugin::response_body`] is to be asked.
    pub response_body: bool,
    /// Whether [`Plugin::body_filter`] only looks at the chunks: then the response keeps the length it tells.
    pub watches_body: bool,
    /// What the parameters of the route's path took.
    pub captures: bool,
    /// Heads, in the log phase.
    pub record: bool,
    /// Bytes of the request's body, in the log phase; with [`Needs::record`].
    pub keep_request: usize,
    /// Bytes of the response's body, in the log phase; with [`Needs::record`].
    pub keep_response: usize,
}

impl Needs {
    /// Nothing.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// The request's body.
    #[must_use]
    pub fn request_body(mut self, need: BodyNeed) -> Self {
        self.request_body = need;
        self
    }

    /// To be asked for what it wants of the response's body.
    #[must_use]
    pub fn response_body(mut self) -> Self {
        self.response_body = true;
        self
    }

    /// To see the response's body pass, and to change nothing of it.
    #[must_use]
    pub fn watches_body(mut self) -> Self {
        self.watches_body = true;
        self
    }

    /// What the parameters of the route's path took.
    #[must_use]
    pub fn captures(mut self) -> Self {
        self.captures = true;
        self
    }

    /// Heads in the log phase, and so many bytes of the bodies.
    #[must_use]
    pub fn record(mut self, request: usize, response: usize) -> Self {
        (self.record, self.keep_request, self.keep_response) = (true, request, response);
        self
    }

    /// What serves both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            request_body: self.request_body.and(other.request_body),
            response_body: self.response_body || other.response_body,
            watches_body: self.watches_body || other.watches_body,
            captures: self.captures || other.captures,
            record: self.record || other.record,
            keep_request: self.keep_request.max(other.keep_request),
            keep_response: self.keep_response.max(other.keep_response),
        }
    }
}

/// What an instance wants to see of one body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyNeed {
    /// Nothing: it streams past.
    #[default]
    None,
    /// All of it at once, up to `max` bytes; a larger one is refused with 413.
    Whole {
        /// In bytes.
        max: usize,
    },
}

impl BodyNeed {
    /// The need that serves both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::None, need) | (need, Self::None) => need,
            (Self::Whole { max: a }, Self::Whole { max: b }) => Self::Whole { max: a.min(b) },
        }
    }
}

/// Settings that cannot run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nobody registered a plugin of this name.
    #[error("plugin '{name}' not enabled; add it to the 'plugins' configuration property")]
    NotEnabled {
        /// The name.
        name: Box<str>,
    },
    /// The settings do not have the shape their schema promises.
    #[error("the settings of plugin '{name}' cannot be read")]
    Shape {
        /// The plugin.
        name: &'static str,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// A setting makes no sense to the plugin.
    #[error("{message}")]
    Setting {
        /// Where, as a JSON pointer within the settings.
        pointer: Box<str>,
        /// What is wrong and what to do.
        message: Box<str>,
    },
}
