//! Runs a plugin without a server, to test it.
//!
//! Settings go through the plugin's schema and entities through their kinds' schemas, as in the gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use bytes::Bytes;
use gw_core::{Auto, Change, Config, Kinds, Protocol};
use http::Request;
use serde_json::{Value, json};

use crate::cx::{Facts, RequestParts, ResponseParts};
use crate::identity::Identity;
use crate::instance::{Instance, Outcome, Slot};
use crate::plugin::{BodyNeed, Definition};
use crate::registry::Registry;
use crate::reply::{Flow, Reply};

/// One instance of a plugin, and the configuration it runs under.
#[derive(Debug)]
pub struct Kit {
    kinds: Kinds,
    config: Config,
    instance: Instance,
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
    /// What the plugin remembers.
    slot: Slot,
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

    /// An instance of the plugin `name` of `registry` with these settings.
    ///
    /// # Panics
    /// The settings are not accepted.
    #[must_use]
    pub fn of(registry: &Registry, name: &str, settings: Value) -> Self {
        let mut document = json!({ "name": name, "config": settings });
        let document = document.as_object_mut().expect("just made");
        registry.complete(document).expect("settings the plugin accepts");
        Self {
            kinds: registry.kinds().expect("schemas that compile"),
            config: Config::default(),
            instance: registry
                .build(name, &document["config"])
                .expect("settings that run"),
        }
    }

    /// Adds an entity of the kind with this plural name; fields the gateway fills in may be left out.
    ///
    /// # Panics
    /// The kind is unknown or the document is refused.
    #[must_use]
    pub fn entity(mut self, kind: &str, document: Value) -> Self {
        let spec = self.kinds.by_name(kind).expect("a known kind");
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
        let entity = self
            .kinds
            .complete(spec.kind, &mut document)
            .expect("a valid document");
        self.config.apply(Change::Put(entity));
        self
    }

    /// Sends a request through `access`.
    ///
    /// # Panics
    /// The plugin waits for something that does not happen at once.
    #[must_use]
    pub fn access(&self, request: Request<impl Into<Bytes>>) -> Ran {
        let (mut head, body) = request.into_parts();
        let body: Bytes = body.into();
        let mut body = match self.instance.needs.request_body {
            BodyNeed::None => None,
            BodyNeed::Whole { max } => Some(body.slice(..body.len().min(max))),
        };
        let mut identity = Identity::default();
        let mut slot = self.instance.slot();
        let parts = RequestParts {
            head: &mut head,
            body: &mut body,
            identity: &mut identity,
            facts: self.facts(),
        };
        let flow = match self.instance.access(parts, &mut slot) {
            Outcome::Done(flow) => flow,
            Outcome::Wait(waiting) => match pin!(waiting).poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(flow) => flow,
                Poll::Pending => panic!("the plugin still waits; await it in a runtime"),
            },
        };
        let reply = match flow {
            Flow::Continue => None,
            Flow::Respond(reply) => Some(*reply),
        };
        Ran {
            reply,
            head,
            body,
            identity,
            slot,
        }
    }

    /// Sends a response's head through `header_filter`, after the request `ran`.
    pub fn header_filter(&self, ran: &mut Ran, head: &mut http::response::Parts) {
        let parts = ResponseParts {
            head,
            identity: &ran.identity,
            facts: self.facts(),
        };
        self.instance.header_filter(parts, &mut ran.slot);
    }

    fn facts(&self) -> Facts<'_> {
        Facts {
            config: &self.config,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            scheme: Protocol::Http,
            client_certificate: None,
            request_id: "00000000000000000000000000000000",
            route: None,
            service: None,
            now: SystemTime::now(),
        }
    }
}
