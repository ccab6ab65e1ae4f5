//! A gateway on a free port, configured by documents as the Admin API stores them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use gw_core::{Change, Config, Kind, Kinds};
use gw_plugins::Registry;
use gw_proxy::{
    AccessLogSink, Gateway, ListenSocket, Listener, Problem, Resolver, Server, Settings, SystemResolver,
};
use gw_testkit::{Upstream, within};
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

/// A gateway, its listener, and the configuration it has been given.
pub(crate) struct Proxy {
    pub(crate) gateway: Arc<Gateway>,
    server: Option<Server>,
    addr: SocketAddr,
    registry: Registry,
    kinds: Kinds,
    pub(crate) config: Config,
    pub(crate) revision: u64,
    log: PathBuf,
    _dir: TempDir,
}

pub(crate) struct ProxyBuilder {
    listen: fn(Listener) -> Listener,
    socket: Option<ListenSocket>,
    registry: Registry,
    settings: Settings,
    resolver: Arc<dyn Resolver>,
}

impl ProxyBuilder {
    /// What is spoken at its address.
    pub(crate) fn listen(mut self, change: fn(Listener) -> Listener) -> Self {
        self.listen = change;
        self
    }

    /// Where it listens, instead of at a free port.
    pub(crate) fn socket(mut self, socket: ListenSocket) -> Self {
        self.socket = Some(socket);
        self
    }

    pub(crate) fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    pub(crate) fn settings(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    pub(crate) fn resolver(mut self, resolver: impl Resolver) -> Self {
        self.resolver = Arc::new(resolver);
        self
    }

    pub(crate) fn start(mut self) -> Proxy {
        let dir = TempDir::new().expect("a directory");
        let log = dir.path().join("access.log");
        self.settings.access_log = AccessLogSink::File(log.clone());
        let control = tokio::runtime::Handle::current();
        let gateway =
            Gateway::new(self.registry.clone(), self.settings, control, self.resolver).expect("a log");
        let listener = self.socket.take().unwrap_or_else(|| {
            let bound = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
            bound.expect("a free port").into()
        });
        let server =
            Server::start(Arc::clone(&gateway), [(self.listen)(Listener::new(listener))]).expect("threads");
        Proxy {
            addr: server.addresses()[0]
                .ip()
                .unwrap_or((Ipv4Addr::LOCALHOST, 0).into()),
            server: Some(server),
            gateway,
            kinds: self.registry.kinds().expect("schemas"),
            registry: self.registry,
            config: Config::default(),
            revision: 0,
            log,
            _dir: dir,
        }
    }
}

impl Proxy {
    pub(crate) fn builder() -> ProxyBuilder {
        ProxyBuilder {
            listen: |listener| listener,
            socket: None,
            registry: Registry::builtin(),
            settings: Settings {
                workers: 2,
                ..Settings::default()
            },
            resolver: Arc::new(SystemResolver::default()),
        }
    }

    pub(crate) fn start() -> Self {
        Self::builder().start()
    }

    /// Completes a document as the Admin API does, and makes the change.
    pub(crate) fn change(&mut self, kind: Kind, mut document: Value) -> Change {
        let document = document.as_object_mut().expect("an object");
        document
            .entry("id")
            .or_insert_with(|| Uuid::new_v4().to_string().into());
        document
            .entry("created_at")
            .or_insert_with(|| (1_700_000_000 + self.revision).into());
        if !matches!(kind, Kind::Credential(_) | Kind::GroupMember) {
            document
                .entry("updated_at")
                .or_insert_with(|| 1_700_000_000.into());
        }
        if kind == Kind::Plugin {
            self.registry
                .complete(document)
                .unwrap_or_else(|e| panic!("{document:?}: {e:?}"));
        }
        Kinds::expand(kind, document);
        let entity = self
            .kinds
            .complete(kind, document)
            .unwrap_or_else(|e| panic!("{document:?}: {e:?}"));
        Change::Put(entity)
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The kind of this plural name.
    pub(crate) fn kind_named(&self, name: &str) -> Kind {
        self.kinds.by_name(name).expect("a kind").kind
    }

    /// The service of a route.
    pub(crate) fn route_service(&self, route: Uuid) -> Uuid {
        let route = self.config.route(route.into()).expect("a route");
        route.service.expect("a service").uuid()
    }

    pub(crate) fn apply(&mut self, changes: &[Change]) -> Vec<Problem> {
        for change in changes {
            self.config.apply(change.clone());
        }
        self.revision += 1;
        self.gateway.apply(self.config.clone(), changes, self.revision)
    }

    pub(crate) fn put(&mut self, kind: Kind, document: Value) -> Uuid {
        let change = self.change(kind, document);
        let Change::Put(entity) = &change else {
            unreachable!("made as a put")
        };
        let id = entity.id();
        assert_eq!(self.apply(&[change]), []);
        id
    }

    pub(crate) fn delete(&mut self, kind: Kind, id: Uuid) {
        assert_eq!(self.apply(&[Change::Delete(kind, id)]), []);
    }

    /// A service at this address, with more fields.
    pub(crate) fn service(&mut self, addr: SocketAddr, more: Value) -> Uuid {
        let document = json!({ "host": addr.ip().to_string(), "port": addr.port() });
        self.put(Kind::Service, merged(document, more))
    }

    pub(crate) fn route(&mut self, service: Uuid, fields: Value) -> Uuid {
        self.put(
            Kind::Route,
            merged(json!({ "service": { "id": service } }), fields),
        )
    }

    /// A route `/` to an upstream; the whole configuration of many tests.
    pub(crate) fn to(upstream: &Upstream) -> Self {
        let mut proxy = Self::start();
        proxy.route_all(upstream.addr(), json!({}));
        proxy
    }

    pub(crate) fn route_all(&mut self, addr: SocketAddr, more: Value) -> Uuid {
        let service = self.service(addr, more);
        self.route(service, json!({ "paths": ["/"] }));
        service
    }

    /// An upstream `name` with these targets, a service that uses it, and a route `/`.
    pub(crate) fn balanced(&mut self, name: &str, targets: &[SocketAddr], more: Value) -> Uuid {
        let upstream = self.put(Kind::Upstream, json!({ "name": name }));
        for target in targets {
            self.put(
                Kind::Target,
                json!({ "upstream": { "id": upstream }, "target": target.to_string() }),
            );
        }
        let service = self.put(Kind::Service, merged(json!({ "host": name }), more));
        self.route(service, json!({ "paths": ["/"] }));
        upstream
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The access log, once it has so many lines; and that it has no more.
    pub(crate) async fn log(&self, lines: usize) -> Vec<Value> {
        let read = async {
            loop {
                self.gateway.flush_access_log();
                let text = std::fs::read_to_string(&self.log).expect("a log");
                if text.lines().count() >= lines {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        };
        let text = within(format_args!("{lines} lines of access log"), read).await;
        let parsed: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(parsed.len(), lines, "{text}");
        parsed
    }

    pub(crate) fn stop(&mut self) -> Server {
        self.server.take().expect("it has not been stopped")
    }

    pub(crate) async fn shutdown(mut self) -> Vec<Value> {
        let drained = self.stop().shutdown(Duration::from_secs(5)).await;
        assert_eq!(drained.cut, 0);
        let text = std::fs::read_to_string(&self.log).expect("a log");
        text.lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }
}

pub(crate) fn merged(mut document: Value, more: Value) -> Value {
    let fields = document.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    document
}
