//! `AdminApi`: from a request to an answer.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use gw_core::{Document, Kind, Kinds};
use gw_plugins::Registry;
use gw_plugins::metrics::Exposition;
use gw_store::{CommitError, Meta, Op, Revision, Store, View};
use http::request::Parts;
use http::{Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::Full;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::answer::Answer;
use crate::api::{Api, Endpoint, Site};
use crate::body::{self, Arguments};
use crate::declarative::UnknownPlugins;
use crate::entity::{Entities, Verb};
use crate::ports::Ports;
use crate::problem::Problem;
use crate::retirement::Retirement;
use crate::{dns, explain, fields, form, health, node, openapi, proxy_cache};

/// Bound: how long an answer waits for this node to serve what was written.
const APPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// Bound: how long the store is asked whether it wrote, when it did not say.
const FIND_TIMEOUT: Duration = Duration::from_secs(5);

/// Who made a commit, as its history says.
const AUTHOR: &str = "admin-api";

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

/// What one request does to what is stored.
struct Change {
    site: Site,
    verb: ChangeVerb,
}

enum ChangeVerb {
    Write(Verb, Arguments),
    Delete { query: Vec<(String, String)> },
}

/// What a change came to.
struct Changed {
    revision: Revision,
    /// Whether a commit was made.
    committed: bool,
    /// The document it left, unless it deleted one.
    document: Option<Document>,
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
        let (head, body) = request.into_parts();
        let api = self.current();
        let answer = match api.shared.retirement.begin().await {
            Some(_under_way) => api.answer(&head, body).await,
            None => Err(Problem::HandedOver),
        };
        let answer = answer.unwrap_or_else(Answer::from);
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
        let verb = match head.method {
            Method::OPTIONS => {
                return Ok(Answer {
                    allow: Some(allow),
                    ..Answer::empty(StatusCode::NO_CONTENT)
                });
            }
            Method::GET | Method::HEAD if site.endpoint == Endpoint::Config => {
                return self.export_config().await;
            }
            Method::GET | Method::HEAD if site.endpoint == Endpoint::Overlaps => {
                return self.overlaps().await;
            }
            Method::GET | Method::HEAD if site.endpoint == Endpoint::Metrics => {
                return self.metrics().await;
            }
            Method::GET | Method::HEAD => return self.read(head, &site),
            Method::DELETE if matches!(site.endpoint, Endpoint::Caches | Endpoint::Cached) => {
                let view = self.shared.store.view();
                proxy_cache::purge(&self.entities(&view), &self.shared.registry, &site)?;
                return Ok(Answer::empty(StatusCode::NO_CONTENT));
            }
            Method::DELETE => {
                let query = query(head)?;
                return self
                    .change(Change {
                        site,
                        verb: ChangeVerb::Delete { query },
                    })
                    .await;
            }
            Method::POST => Verb::Create,
            Method::PUT => Verb::Replace,
            _ => Verb::Patch,
        };
        if let Endpoint::SetHealth { healthy } = site.endpoint {
            let view = self.shared.store.view();
            health::set(&self.entities(&view), &*self.shared.ports, &site, healthy)?;
            return Ok(Answer::empty(StatusCode::NO_CONTENT));
        }
        if site.endpoint == Endpoint::Config {
            return self.load_config(head, &query(head)?, body).await;
        }
        let arguments = body::read(&head.headers, body).await?;
        if let Endpoint::Validate { of } = site.endpoint {
            return self.validate(&site, of, &arguments);
        }
        if site.endpoint == Endpoint::Explain {
            let body = explain::explain(&*self.shared.ports, &arguments)?;
            return Ok(Answer::ok(body, self.shared.store.info().revision));
        }
        if site.endpoint == Endpoint::SetLogLevel {
            let ports = &*self.shared.ports;
            let body = node::set_log_level(ports, site.name(0)?, &query(head)?, &arguments.document)?;
            return Ok(Answer::ok(body, self.shared.store.info().revision));
        }
        self.change(Change {
            site,
            verb: ChangeVerb::Write(verb, arguments),
        })
        .await
    }

    fn read(&self, head: &Parts, site: &Site) -> Result<Answer, Problem> {
        let Shared {
            registry,
            ports,
            api,
            store,
            ..
        } = &*self.shared;
        let query = query(head)?;
        let view = store.view();
        let entities = self.entities(&view);
        let path = head.uri.path();
        let path = path.strip_suffix('/').unwrap_or(path);
        let body = match &site.endpoint {
            Endpoint::Information => node::information(registry, &view, &**ports, &self.shared.options),
            Endpoint::Status => node::status(&view, &**ports, &query, self.configuration_hash())?,
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

    async fn change(&self, change: Change) -> Result<Answer, Problem> {
        let status = match &change.verb {
            ChangeVerb::Delete { .. } => StatusCode::NO_CONTENT,
            ChangeVerb::Write(Verb::Create, _) => StatusCode::CREATED,
            ChangeVerb::Write(Verb::Replace | Verb::Patch, _) => StatusCode::OK,
        };
        let kind = change.site.endpoint.kind();
        if self.shared.options.without_database {
            let what = kind.map(|kind| format!("'{kind}' entities")).unwrap_or_default();
            return Err(Problem::WithoutDatabase {
                verb: change.verb.text(),
                what,
            });
        }
        // On a task of its own: a client that goes away leaves the change whole.
        let api = self.clone();
        let changed = match tokio::spawn(async move { api.commit(change).await }).await {
            Ok(changed) => changed?,
            Err(error) => {
                tracing::error!(%error, "a change did not come to an end");
                return Err(Problem::Internal);
            }
        };
        let pending = changed.committed && !self.is_served(changed.revision).await;
        let mut document = changed.document;
        if let (Some(Kind::Route), Some(route), false) = (kind, &mut document, pending) {
            self.warn(route);
        }
        let body = document.map(Value::Object);
        Ok(Answer {
            body,
            revision: Some(changed.revision),
            pending,
            ..Answer::empty(status)
        })
    }

    /// Adds to the answer to a write what is the matter with the route, beside others; nothing if nothing is.
    fn warn(&self, route: &mut Document) {
        let id = route.get("id").and_then(Value::as_str);
        let overlaps = id
            .and_then(|id| id.parse().ok())
            .map(|id| self.shared.ports.overlaps_of(id));
        if let Some(warnings) = overlaps.and_then(|overlaps| explain::warnings(&overlaps)) {
            route.insert(explain::WARNINGS.to_owned(), warnings);
        }
    }

    async fn commit(&self, change: Change) -> Result<Changed, Problem> {
        let Change { site, verb } = &change;
        let does = verb.text();
        let what = site.endpoint.kind().map(|kind| format!("'{kind}' entities"));
        // What the newest run of the closure left: kept here, because not every end of a commit hands it back.
        let mut document = None;
        let change = |view: &View| {
            let entities = self.entities(view);
            let (ops, left) = match (verb, &site.endpoint) {
                (ChangeVerb::Delete { .. }, Endpoint::Members(link)) => {
                    (entities.unlink(link, site.name(0)?, None)?, None)
                }
                (ChangeVerb::Delete { .. }, Endpoint::Member(link)) => {
                    (entities.unlink(link, site.name(0)?, Some(site.name(1)?))?, None)
                }
                (ChangeVerb::Delete { query }, _) => (entities.delete(site, query)?, None),
                (ChangeVerb::Write(_, sent), Endpoint::Members(link)) => {
                    let (ops, left) = entities.link(link, site.name(0)?, sent)?;
                    (ops, Some(left))
                }
                (ChangeVerb::Write(verb, sent), _) => {
                    let (ops, left) = entities.write(site, *verb, sent)?;
                    (ops, Some(left))
                }
            };
            document = left;
            Ok(ops)
        };
        let (revision, committed) = self.commit_ops(does, what.unwrap_or_default(), change).await?;
        Ok(Changed {
            revision,
            committed,
            document,
        })
    }

    /// Makes one commit, and tells which revision holds its outcome and whether it was made. `does` and `what` say
    /// what it does, in Kong's words.
    pub(crate) async fn commit_ops(
        &self,
        does: &'static str,
        what: String,
        mut change: impl FnMut(&View) -> Result<Vec<Op>, Problem>,
    ) -> Result<(Revision, bool), Problem> {
        let store = &self.shared.store;
        let meta = Meta::new(AUTHOR, does);
        let id = meta.id;
        match store.commit(meta, |view| Ok((change(view)?, ()))).await {
            Ok(committed) => Ok((committed.revision, committed.changed)),
            Err(CommitError::Refused(problem)) => Err(problem),
            // The id is ours alone: it is this change that was made.
            Err(CommitError::Duplicate { revision, .. }) => Ok((revision, true)),
            Err(CommitError::Unknown { source, .. }) => {
                tracing::error!(commit = %id, error = %source, "the store did not confirm a commit");
                match tokio::time::timeout(FIND_TIMEOUT, store.find(id)).await {
                    Ok(Ok(Some(revision))) => Ok((revision, true)),
                    Ok(Ok(None)) => Err(Problem::Unavailable),
                    Ok(Err(_)) | Err(_) => Err(Problem::Unknown),
                }
            }
            Err(error @ CommitError::TooLarge { .. }) => Err(Problem::TooLarge {
                why: error.to_string(),
            }),
            Err(CommitError::ReadOnly { .. }) => Err(Problem::ReadOnly { verb: does, what }),
            Err(error) => {
                tracing::error!(%error, "the store refused a commit");
                Err(Problem::Unavailable)
            }
        }
    }

    /// Waits until this node serves a revision; false if it does not in time.
    pub(crate) async fn is_served(&self, revision: Revision) -> bool {
        let applied = self.shared.ports.wait(revision.0);
        let in_time = tokio::time::timeout(APPLY_TIMEOUT, applied).await.is_ok();
        if !in_time {
            tracing::warn!(
                revision = revision.0,
                "a change is stored and not yet served by this node"
            );
        }
        in_time
    }

    pub(crate) fn retirement(&self) -> &Retirement {
        &self.shared.retirement
    }

    pub(crate) fn store(&self) -> &Store {
        &self.shared.store
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
    fn configuration_hash(&self) -> Option<String> {
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

impl ChangeVerb {
    /// What it does to entities, in Kong's words.
    fn text(&self) -> &'static str {
        match self {
            Self::Write(Verb::Create, _) => "create",
            Self::Write(Verb::Replace, _) => "create or update",
            Self::Write(Verb::Patch, _) => "update",
            Self::Delete { .. } => "delete",
        }
    }
}

/// The arguments of a request's query.
fn query(head: &Parts) -> Result<Vec<(String, String)>, Problem> {
    let text = head.uri.query().unwrap_or_default();
    Ok(form::pairs(text.as_bytes()).map_err(body::BodyError::from)?)
}
