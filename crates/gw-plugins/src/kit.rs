//! Runs a plugin without a server, to test it.
//!
//! Settings go through the plugin's schema and entities through their kinds' schemas, as in the gateway.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use gw_core::{Auto, Change, Config, Id, Kinds, PluginUse, Protocol, Route, Service};
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Request, StatusCode, response};
use serde_json::{Value, json};

use crate::cx::{
    BodyParts, Facts, InnerRequests, Kept, LogParts, NoGateway, NoTries, RequestParts, ResponseParts, Source,
};
use crate::env::Lender;
use crate::identity::Identity;
use crate::instance::{Instance, Outcome, Slot};
use crate::phase::Phase;
use crate::plugin::{BodyNeed, Definition};
use crate::registry::Registry;
use crate::reply::{Flow, Reply};
use crate::steering::Steering;

/// The name of every request.
static ID: HeaderValue = HeaderValue::from_static("00000000000000000000000000000000");

/// One instance of a plugin, and the configuration it runs under.
#[derive(Debug)]
pub struct Kit {
    registry: Registry,
    /// Made when they are first asked for, which takes a while.
    kinds: OnceLock<Kinds>,
    config: Config,
    id: Id<PluginUse>,
    instance: Instance,
    /// The client's address; 127.0.0.1 unless set.
    pub client: IpAddr,
    /// How requests come in; plain unless set.
    pub scheme: Protocol,
    /// When they come in; now unless set.
    pub now: Option<SystemTime>,
    /// The same, for durations.
    pub begun: Option<Instant>,
    /// The route they match.
    pub route: Option<Arc<Route>>,
    /// Its service.
    pub service: Option<Arc<Service>>,
    /// What the parameters of its path took.
    pub captures: Vec<(Box<str>, Box<str>)>,
    /// What plugins before have settled about where requests go; nothing unless set.
    pub steering: Steering,
    /// Path and query as the client sent them; as the request has them unless set.
    pub target: Option<PathAndQuery>,
    /// How long exchanges that are logged took; 12 ms unless set.
    pub total: Duration,
    /// How long they waited for the upstream; 7 ms unless set.
    pub upstream: Option<Duration>,
    /// From its answer's head to the last byte of the response; 2 ms unless set.
    pub receive: Option<Duration>,
    /// The gateway that the plugin may make requests to; unless set, none.
    pub inner: Box<dyn InnerRequests>,
}

/// What became of a request.
#[derive(Debug)]
pub struct Ran {
    /// The plugin's answer, if it answered.
    pub reply: Option<Reply>,
    /// The request's head as it would go on.
    pub head: http::request::Parts,
    /// Its body as it would go on, if the plugin asked for bodies.
    pub body: Option<Bytes>,
    /// Who calls.
    pub identity: Identity,
    /// Where it would go.
    pub steering: Steering,
    asked: Asked,
    /// What the plugin remembers.
    slot: Slot,
}

/// A request as it came in.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    target: Option<PathAndQuery>,
    host: Option<HeaderValue>,
    now: SystemTime,
    begun: Instant,
}

/// What became of a response.
#[derive(Debug)]
pub struct Answered {
    /// Its head as the client would get it.
    pub head: response::Parts,
    /// What takes its place, if the plugin says so.
    pub reply: Option<Reply>,
    /// Its body as the client would get it.
    pub body: Bytes,
}

impl Kit {
    /// An instance of `P` with these settings.
    ///
    /// # Panics
    /// The settings are not accepted.
    #[must_use]
    pub fn new<P: Definition>(settings: Value) -> Self {
        Self::of(&Registry::new().with::<P>(), P::NAME, settings)
    }

    /// The same, and what `lender` lends.
    ///
    /// # Panics
    /// The settings are not accepted.
    #[must_use]
    pub fn lent<P: Definition>(settings: Value, lender: Arc<dyn Lender>) -> Self {
        Self::of(&Registry::new().with::<P>().lent(lender), P::NAME, settings)
    }

    /// An instance of the plugin `name` of `registry` with these settings.
    ///
    /// # Panics
    /// The settings are not accepted.
    #[must_use]
    pub fn of(registry: &Registry, name: &str, settings: Value) -> Self {
        let mut document = json!({ "name": name, "config": settings });
        let document = document.as_object_mut().expect("just made");
        registry.complete(document).expect("settings the plugin accepts");
        let id = Id::random();
        Self {
            registry: registry.clone(),
            kinds: OnceLock::new(),
            config: Config::default(),
            id,
            instance: registry
                .build(id, name, &document["config"])
                .expect("settings that run"),
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            scheme: Protocol::Http,
            now: None,
            begun: None,
            route: None,
            service: None,
            captures: Vec::new(),
            steering: Steering::default(),
            target: None,
            total: Duration::from_millis(12),
            upstream: Some(Duration::from_millis(7)),
            receive: Some(Duration::from_millis(2)),
            inner: Box::new(NoGateway),
        }
    }

    /// Changes the settings of the instance, which is made anew by the same `registry`.
    ///
    /// # Panics
    /// The settings are not accepted.
    pub fn reconfigure(&mut self, registry: &Registry, settings: Value) {
        let fresh = Self::of(registry, self.instance.name, settings.clone());
        drop(fresh); // It has been checked.
        let instance = registry.build(self.id, self.instance.name, &settings);
        self.instance = instance.expect("settings that run");
    }

    /// Which instance it is.
    #[must_use]
    pub fn id(&self) -> Id<PluginUse> {
        self.id
    }

    /// Adds an entity of the kind with this plural name; fields the gateway fills in may be left out.
    ///
    /// # Panics
    /// The kind is unknown or the document is refused.
    #[must_use]
    pub fn entity(mut self, kind: &str, document: Value) -> Self {
        let kinds = self
            .kinds
            .get_or_init(|| self.registry.kinds().expect("schemas that compile"));
        let spec = kinds.by_name(kind).expect("a known kind");
        let Value::Object(mut document) = document else {
            panic!("an entity is an object")
        };
        for (field, auto) in &spec.auto {
            let value = match auto {
                Auto::Now | Auto::NowMillis => json!(1_700_000_000),
                Auto::Uuid | Auto::Random => continue,
            };
            document.entry(&**field).or_insert(value);
        }
        let entity = kinds
            .complete(spec.kind, &mut document)
            .expect("a valid document");
        self.config.apply(Change::Put(entity));
        self
    }

    /// The configuration it runs under.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Sends a request through `rewrite` and `access`, as far as the plugin has them.
    ///
    /// # Panics
    /// The plugin waits for something that does not happen at once; see [`Kit::access_waiting`].
    #[must_use]
    pub fn access(&self, request: Request<impl Into<Bytes>>) -> Ran {
        let identity = Identity::default();
        match pin!(self.access_as(request, identity)).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ran) => ran,
            Poll::Pending => panic!("the plugin still waits; await it in a runtime"),
        }
    }

    /// The same, in a runtime.
    pub async fn access_waiting(&self, request: Request<impl Into<Bytes>>) -> Ran {
        self.access_as(request, Identity::default()).await
    }

    /// The same, of a caller whom another plugin has identified.
    pub async fn access_as(&self, request: Request<impl Into<Bytes>>, mut identity: Identity) -> Ran {
        let (mut head, body) = request.into_parts();
        let body: Bytes = body.into();
        let mut body = match self.instance.needs.request_body {
            BodyNeed::None => None,
            BodyNeed::Whole { max } => Some(body.slice(..body.len().min(max))),
        };
        let asked = Asked {
            method: head.method.clone(),
            target: self.target.clone().or_else(|| head.uri.path_and_query().cloned()),
            host: head.headers.get(http::header::HOST).cloned(),
            now: self.now.unwrap_or_else(SystemTime::now),
            begun: self.begun.unwrap_or_else(Instant::now),
        };
        let facts = self.facts(&asked);
        let mut slot = self.instance.slot();
        let mut steering = self.steering.clone();
        let mut reply = None;
        for phase in [Phase::Rewrite, Phase::Access] {
            if !self.instance.phases.contains(phase) || reply.is_some() {
                continue;
            }
            let parts = RequestParts {
                head: &mut head,
                body: &mut body,
                identity: &mut identity,
                steering: &mut steering,
                facts: &facts,
            };
            let outcome = match phase {
                Phase::Rewrite => self.instance.rewrite(parts, &mut slot),
                _ => self.instance.access(parts, &mut slot),
            };
            let flow = match outcome {
                Outcome::Done(flow) => flow,
                Outcome::Wait(waiting) => waiting.await,
            };
            if let Flow::Respond(answer) = flow {
                reply = Some(*answer);
            }
        }
        Ran {
            reply,
            head,
            body,
            identity,
            steering,
            asked,
            slot,
        }
    }

    /// Sends a response's head through `header_filter`, after the request `ran`.
    pub fn header_filter(&self, ran: &mut Ran, head: &mut response::Parts) {
        let (mut body, mut reply) = (None, None);
        let parts = ResponseParts {
            head,
            body: &mut body,
            reply: &mut reply,
            upstream: ran.reply.is_none(),
            identity: &ran.identity,
            facts: &self.facts(&ran.asked),
        };
        self.instance.header_filter(parts, &mut ran.slot);
    }

    /// Sends an upstream's response, in these chunks, through `header_filter` and `body_filter`, after the request `ran`.
    ///
    /// # Panics
    /// The plugin wants a whole body, and it is larger than it takes.
    pub fn respond(&self, ran: &mut Ran, response: http::Response<Vec<Bytes>>) -> Answered {
        let (mut head, chunks) = response.into_parts();
        let Ran {
            asked,
            identity,
            slot,
            ..
        } = ran;
        let (mut body, mut reply) = (None, None);
        let facts = self.facts(asked);
        let need = match self.instance.needs.response_body {
            true => self.instance.response_body(
                ResponseParts {
                    head: &mut head,
                    body: &mut body,
                    reply: &mut reply,
                    upstream: true,
                    identity,
                    facts: &facts,
                },
                slot,
            ),
            false => BodyNeed::None,
        };
        if let BodyNeed::Whole { max } = need {
            let whole = Bytes::from(chunks.concat());
            assert!(
                whole.len() <= max,
                "a body of more than {max} bytes is answered 502"
            );
            body = Some(whole);
        }
        if self.instance.phases.contains(Phase::HeaderFilter) {
            let parts = ResponseParts {
                head: &mut head,
                body: &mut body,
                reply: &mut reply,
                upstream: true,
                identity,
                facts: &facts,
            };
            self.instance.header_filter(parts, slot);
        }
        let chunks = body.map_or(chunks, |body| vec![body]);
        let mut passed = Vec::new();
        let last = chunks.len().saturating_sub(1);
        for (position, mut chunk) in chunks.into_iter().enumerate() {
            if self.instance.phases.contains(Phase::BodyFilter) {
                let parts = BodyParts {
                    chunk: &mut chunk,
                    last: position == last,
                    facts: &facts,
                };
                self.instance.body_filter(parts, slot);
            }
            passed.extend_from_slice(&chunk);
        }
        Answered {
            head,
            reply: reply.map(|reply| *reply),
            body: passed.into(),
        }
    }

    /// Ends the exchange: the log phase.
    pub fn log(&self, ran: &mut Ran, status: StatusCode, kept: Option<&Kept>) {
        let parts = LogParts {
            status,
            total: self.total,
            upstream: self.upstream,
            receive: self.receive,
            gateway: Duration::from_millis(3),
            request_bytes: 0,
            response_bytes: 0,
            source: match ran.reply {
                None => Source::Upstream,
                Some(_) => Source::Gateway,
            },
            failure: None,
            tries: &NoTries,
            kept,
            identity: &ran.identity,
            facts: self.facts(&ran.asked),
        };
        self.instance.log(parts, &mut ran.slot);
    }

    fn facts<'a>(&'a self, asked: &'a Asked) -> Facts<'a> {
        Facts {
            config: &self.config,
            client: self.client,
            server: SocketAddr::from((Ipv4Addr::LOCALHOST, 8000)),
            scheme: self.scheme,
            client_certificate: None,
            id: &ID,
            method: &asked.method,
            target: asked.target.as_ref(),
            host: asked.host.as_ref(),
            route: self.route.as_ref(),
            service: self.service.as_ref(),
            captures: &self.captures,
            now: asked.now,
            begun: asked.begun,
            worker: 0,
            inner: &*self.inner,
        }
    }
}
