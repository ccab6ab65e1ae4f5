//! The running product of a configuration: made from the one before and what changed, sharing the rest.

mod foreseen;
mod own;
mod touched;

use std::fmt;
use std::sync::Arc;

use gw_core::{
    Certificate, Change, Config, Id, Kind, PluginUse, Protocol, Route, Service, TargetAddress, Upstream,
};
use gw_plugins::{Instance, Registry};
use gw_router::{Router, RuleId};
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap};
use uuid::Uuid;

use crate::cell::{Cell, Place, Spec};
use crate::chain::Chain;
use crate::client_tls::ClientTrust;
use crate::dns::Names;
use crate::health;
use crate::passthrough::Passages;
use crate::plan::{RoutePlan, ServicePlan};
use crate::probe::Prober;
use crate::settings::{ClientAuthorities, HealthSettings, RouterFlavor};
use crate::snapshot::own::OwnUpstreams;
use crate::snapshot::touched::{Set, Touched};
use crate::tls::Shown;
use crate::upstream_tls::{UpstreamTls, UpstreamTlsError};

type Map<K, V> = GenericHashMap<K, V, foldhash::quality::RandomState, DefaultSharedPtr>;

/// Everything a request needs to be served, at one revision. Immutable; a later one shares what did not change.
pub struct Snapshot {
    config: Config,
    revision: u64,
    router: Router<Arc<RoutePlan>>,
    /// In order, which takes a third of the memory of what is hashed.
    rules: OrdMap<Id<Route>, RuleId>,
    services: Map<Id<Service>, Arc<ServicePlan>>,
    cells: Map<Id<Upstream>, Arc<Cell>>,
    /// The upstreams that belong to instances of plugins.
    own: OwnUpstreams,
    instances: Map<Id<PluginUse>, Instance>,
    chains: Chains,
    certificates: Map<Id<Certificate>, Arc<Shown>>,
    /// The routes of TLS that is not ended here.
    passages: Passages,
    /// The routes that require certificates of clients.
    requiring: Map<Id<Route>, ()>,
    client_trust: Arc<ClientTrust>,
    problems: Map<(Kind, Uuid), Problem>,
}

/// Chains by place. A place without plugins of its own has the chain of the place around it.
#[derive(Clone, Debug, Default)]
struct Chains {
    global: Arc<Chain>,
    services: Map<Id<Service>, Arc<Chain>>,
    routes: Map<Id<Route>, Arc<Chain>>,
}

/// An entity that could not be compiled. It holds nothing else back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What it is.
    pub kind: Kind,
    /// Its identity.
    pub id: Uuid,
    /// What is wrong, as an operator reads it.
    pub message: Box<str>,
    /// Whether its last good version goes on running; otherwise it is left out.
    pub kept: bool,
}

/// What compiling needs besides the configuration.
#[derive(Debug)]
pub(crate) struct Compiler<'a> {
    pub(crate) registry: &'a Registry,
    pub(crate) names: &'a Arc<Names>,
    pub(crate) prober: &'a Prober,
    pub(crate) health: &'a HealthSettings,
    pub(crate) client_authorities: &'a ClientAuthorities,
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("revision", &self.revision)
            .field("routes", &self.router.len())
            .field("services", &self.services.len())
            .finish_non_exhaustive()
    }
}

impl Snapshot {
    pub(crate) fn empty(flavor: RouterFlavor) -> Self {
        let config = Config::default();
        Self {
            client_trust: ClientTrust::new(&ClientAuthorities::default(), &config, None),
            config,
            revision: 0,
            router: Router::with_profile(flavor.into()),
            rules: OrdMap::new(),
            services: Map::default(),
            cells: Map::default(),
            own: OwnUpstreams::default(),
            instances: Map::default(),
            chains: Chains::default(),
            certificates: Map::default(),
            passages: Passages::default(),
            requiring: Map::default(),
            problems: Map::default(),
        }
    }

    /// The same, where certificates of clients may be signed by these.
    pub(crate) fn believing(mut self, authorities: &ClientAuthorities) -> Self {
        self.client_trust = ClientTrust::new(authorities, &self.config, None);
        self
    }

    /// The snapshot after `changes`, of which `config` is the result.
    pub(crate) fn next(
        &self,
        compiler: &Compiler<'_>,
        config: Config,
        changes: &[Change],
        revision: u64,
    ) -> Self {
        let touched = Touched::by(changes, &self.config, &config);
        self.compile(compiler, config, touched, revision)
    }

    /// The snapshot of `config`, whatever has changed: everything is compiled. What runs on keeps its state.
    pub(crate) fn fresh(&self, compiler: &Compiler<'_>, config: Config, revision: u64) -> Self {
        let touched = Touched::everything(&self.config, &config);
        self.compile(compiler, config, touched, revision)
    }

    /// The configuration it was made of.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The revision of the configuration.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// The entities that could not be compiled.
    pub fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problems.values()
    }

    pub(crate) fn router(&self) -> &Router<Arc<RoutePlan>> {
        &self.router
    }

    /// What stands for a route in the router.
    pub(crate) fn rule(&self, id: Id<Route>) -> Option<RuleId> {
        self.rules.get(&id).copied()
    }

    pub(crate) fn service(&self, id: Id<Service>) -> Option<&Arc<ServicePlan>> {
        self.services.get(&id)
    }

    pub(crate) fn cell(&self, id: Id<Upstream>) -> Option<&Arc<Cell>> {
        self.cells.get(&id)
    }

    /// What is shown to a client that asks for a server name: the certificate of that name, else of `*.` and what follows
    /// its first label, else of what is before its last label and `.*`, else of `*`.
    pub(crate) fn shown_for(&self, server_name: Option<&str>) -> Option<&Arc<Shown>> {
        let shown = |name: &str| {
            let sni = self.config.sni_named(name)?;
            self.certificates.get(&sni.certificate)
        };
        let named = server_name.and_then(|name| {
            let name = &*name.to_ascii_lowercase();
            let first = || shown(&format!("*.{}", name.split_once('.')?.1));
            let last = || shown(&format!("{}.*", name.rsplit_once('.')?.0));
            shown(name).or_else(first).or_else(last)
        });
        named.or_else(|| shown("*"))
    }

    /// The routes of TLS that is not ended here.
    pub(crate) fn passages(&self) -> &Passages {
        &self.passages
    }

    /// Who may sign certificates of clients.
    pub(crate) fn client_trust(&self) -> &Arc<ClientTrust> {
        &self.client_trust
    }

    /// Whether a route requires certificates of clients.
    pub(crate) fn requires_certificates(&self) -> bool {
        !self.requiring.is_empty()
    }

    /// The chain of a request that has no route.
    pub(crate) fn global_chain(&self) -> &Arc<Chain> {
        &self.chains.global
    }

    pub(crate) fn chain(&self, route: &Route) -> &Arc<Chain> {
        let own = self.chains.routes.get(&route.id);
        let around = || self.chains.services.get(&route.service?);
        own.or_else(around).unwrap_or(&self.chains.global)
    }

    /// What runs now, under another configuration that is still to be compiled.
    fn copy(&self, config: Config, revision: u64) -> Self {
        Self {
            config,
            revision,
            router: self.router.clone(),
            rules: self.rules.clone(),
            services: self.services.clone(),
            cells: self.cells.clone(),
            own: self.own.clone(),
            instances: self.instances.clone(),
            chains: self.chains.clone(),
            certificates: self.certificates.clone(),
            passages: self.passages.clone(),
            requiring: self.requiring.clone(),
            client_trust: Arc::clone(&self.client_trust),
            problems: self.problems.clone(),
        }
    }

    fn compile(&self, compiler: &Compiler<'_>, config: Config, touched: Touched, revision: u64) -> Self {
        let mut next = self.copy(config, revision);
        let chains = (touched.global_chain, touched.service_chains, touched.route_chains);
        // In this order: each uses what those before have made.
        for id in touched.plugins.sorted() {
            next.compile_plugin(compiler, id);
        }
        for id in touched.upstreams.sorted() {
            next.compile_upstream(compiler, id);
        }
        for id in touched.services.sorted() {
            next.compile_service(compiler, id);
        }
        for id in touched.routes.sorted() {
            next.compile_route(id);
        }
        next.compile_chains(chains);
        for id in touched.certificates.sorted() {
            next.compile_certificate(id);
        }
        if touched.authorities {
            let before = Some(&next.client_trust);
            next.client_trust = ClientTrust::new(compiler.client_authorities, &next.config, before);
        }
        next
    }

    fn compile_plugin(&mut self, compiler: &Compiler<'_>, id: Id<PluginUse>) {
        let bound = self.config.plugin(id).filter(|bound| bound.enabled);
        // One that is not among this node's plugins is absent, as if it were disabled: that is no problem.
        let Some(bound) = bound
            .filter(|bound| compiler.registry.get(&bound.name).is_some())
            .cloned()
        else {
            if let Some(instance) = self.instances.remove(&id) {
                self.own.drop_those_of(&instance);
            }
            self.solved(Kind::Plugin, id.uuid());
            return;
        };
        match compiler.registry.build(id, &bound.name, &bound.config) {
            Ok(instance) => {
                let instance = match bound.priority {
                    Some(priority) => instance.with_priority(priority),
                    None => instance,
                };
                self.compile_own(compiler, &instance, self.instances.get(&id).cloned().as_ref());
                self.instances.insert(id, instance);
                self.solved(Kind::Plugin, id.uuid());
            }
            Err(error) => self.problem(Kind::Plugin, id.uuid(), &error, self.instances.contains_key(&id)),
        }
    }

    fn compile_upstream(&mut self, compiler: &Compiler<'_>, id: Id<Upstream>) {
        let Some(upstream) = self.config.upstream(id) else {
            if let Some(cell) = self.cells.remove(&id) {
                cell.retire();
            }
            return;
        };
        let spec = self.spec_of(compiler, upstream, self.config.targets_of(id));
        match self.cells.get(&id) {
            // The cell survives: services go on pointing at it, round-robin position and counts stay.
            Some(cell) => cell.update(spec),
            None => {
                self.cells
                    .insert(id, Cell::new(compiler.names, compiler.prober, spec));
            }
        }
    }

    fn compile_service(&mut self, compiler: &Compiler<'_>, id: Id<Service>) {
        let Some(service) = self.config.service(id).cloned() else {
            self.services.remove(&id);
            self.solved(Kind::Service, id.uuid());
            return;
        };
        let upstream = self.config.upstream_named(&service.target.host).cloned();
        let upstream = upstream.as_deref();
        let tls = match self.service_tls(&service, upstream) {
            Ok(tls) => tls,
            Err(error) => {
                let kept = self.services.contains_key(&id);
                return self.problem(Kind::Service, id.uuid(), &error, kept);
            }
        };
        self.solved(Kind::Service, id.uuid());
        let plan = match upstream.and_then(|upstream| Some((upstream, self.cells.get(&upstream.id)?))) {
            Some((upstream, cell)) => ServicePlan::new(service, Arc::clone(cell), Some(upstream), tls),
            None => {
                let address = TargetAddress {
                    host: service.target.host.clone(),
                    port: match service.target.host.starts_with("unix:") {
                        true => 0,
                        false => service.target.port,
                    },
                };
                let before = self.services.get(&id).filter(|plan| !plan.balanced);
                let same = before.filter(|plan| {
                    plan.cell
                        .spec()
                        .targets
                        .iter()
                        .any(|known| known.address == address)
                });
                let cell = same.map_or_else(
                    || Cell::new(compiler.names, compiler.prober, host_spec(compiler, address)),
                    |plan| Arc::clone(&plan.cell),
                );
                ServicePlan::new(service, cell, None, tls)
            }
        };
        self.services.insert(id, Arc::new(plan));
    }

    /// How TLS is spoken with a service; none if it is not.
    fn service_tls(
        &self,
        service: &Service,
        upstream: Option<&Upstream>,
    ) -> Result<Option<Arc<UpstreamTls>>, UpstreamTlsError> {
        if !matches!(service.target.protocol, Protocol::Https | Protocol::Grpcs) {
            return Ok(None);
        }
        let before = self.services.get(&service.id).and_then(|plan| plan.tls.as_ref());
        UpstreamTls::new(service, upstream, &self.config, before).map(Some)
    }

    fn compile_route(&mut self, id: Id<Route>) {
        let enabled = |route: &&Arc<Route>| {
            let service = route.service.and_then(|id| self.config.service(id));
            service.is_none_or(|service| service.enabled)
        };
        let route = self.config.route(id).filter(enabled).cloned();
        match &route {
            Some(route) if route.require_client_certificate => self.requiring.insert(id, ()),
            _ => self.requiring.remove(&id),
        };
        self.passages.remove(id);
        if let Some(route) = route.as_ref().filter(|route| Passages::takes(route))
            && let Err(error) = self.passages.set(route)
        {
            return self.problem(Kind::Route, id.uuid(), &error, false);
        }
        let Some(route) = route.filter(|route| RoutePlan::is_http(route)) else {
            if let Some(rule) = self.rules.remove(&id) {
                self.router.remove(rule);
            }
            self.solved(Kind::Route, id.uuid());
            return;
        };
        let plan = Arc::new(RoutePlan::new(Arc::clone(&route)));
        let done = match self.rules.get(&id) {
            Some(rule) => self
                .router
                .replace(*rule, route.rule.clone(), plan)
                .map_err(|error| error.to_string()),
            None => self
                .router
                .insert(route.rule.clone(), plan)
                .map_err(|error| error.to_string())
                .map(|rule| {
                    self.rules.insert(id, rule);
                }),
        };
        match done {
            Ok(()) => self.solved(Kind::Route, id.uuid()),
            Err(error) => self.problem(Kind::Route, id.uuid(), &error, self.rules.contains_key(&id)),
        }
    }

    /// Compiles the chains of these places: that of all, if it is among them, those of services and those of routes.
    fn compile_chains(
        &mut self,
        (global, mut services, mut routes): (bool, Set<Id<Service>>, Set<Id<Route>>),
    ) {
        if global {
            self.chains.global = Arc::new(self.chain_of(None, None));
            services.extend(self.chains.services.keys().copied());
            routes.extend(self.chains.routes.keys().copied());
        }
        if self.config.plugins().next().is_none() {
            // No place has a chain of its own.
            (self.chains.services, self.chains.routes) = (Map::default(), Map::default());
            return;
        }
        for id in services.sorted() {
            let own = self.config.plugins_at((None, Some(id))).next().is_some();
            if own && self.config.service(id).is_some() {
                self.chains
                    .services
                    .insert(id, Arc::new(self.chain_of(None, Some(id))));
            } else {
                self.chains.services.remove(&id);
            }
            // Their chains hold the service's instances too.
            routes.extend(
                self.config
                    .routes_of(id)
                    .map(|route| route.id)
                    .filter(|id| self.chains.routes.contains_key(id)),
            );
        }
        for id in routes.sorted() {
            let service = self.config.route(id).and_then(|route| route.service);
            let mut own = self.config.plugins_at((Some(id), None));
            let mut both = self
                .config
                .plugins_at((Some(id), service))
                .filter(|_| service.is_some());
            let has_own = own.next().is_some() || both.next().is_some();
            if has_own && self.config.route(id).is_some() {
                self.chains
                    .routes
                    .insert(id, Arc::new(self.chain_of(Some(id), service)));
            } else {
                self.chains.routes.remove(&id);
            }
        }
    }

    fn chain_of(&self, route: Option<Id<Route>>, service: Option<Id<Service>>) -> Chain {
        let mut places = vec![(None, None)];
        places.extend(service.map(|service| (None, Some(service))));
        places.extend(route.map(|route| (Some(route), None)));
        places.extend(
            route
                .zip(service)
                .map(|(route, service)| (Some(route), Some(service))),
        );
        let uses = places.into_iter().flat_map(|place| self.config.plugins_at(place));
        // One that does not run has no instance.
        Chain::compile(uses.filter_map(|bound| Some((&**bound, self.instances.get(&bound.id)?))))
    }

    fn compile_certificate(&mut self, id: Id<Certificate>) {
        let Some(certificate) = self.config.certificate(id) else {
            self.certificates.remove(&id);
            self.solved(Kind::Certificate, id.uuid());
            return;
        };
        match Shown::new(certificate) {
            Ok(shown) => {
                self.certificates.insert(id, Arc::new(shown));
                self.solved(Kind::Certificate, id.uuid());
            }
            Err(error) => self.problem(
                Kind::Certificate,
                id.uuid(),
                &error,
                self.certificates.contains_key(&id),
            ),
        }
    }

    fn problem(&mut self, kind: Kind, id: Uuid, error: &dyn fmt::Display, kept: bool) {
        let message = error.to_string().into();
        self.problems.insert(
            (kind, id),
            Problem {
                kind,
                id,
                message,
                kept,
            },
        );
    }

    fn solved(&mut self, kind: Kind, id: Uuid) {
        self.problems.remove(&(kind, id));
    }
}

/// The cell of a service whose host is no upstream has one target: that host.
fn host_spec(compiler: &Compiler<'_>, address: TargetAddress) -> Spec {
    const WEIGHT: u16 = 100;
    Spec {
        label: address.to_string().into(),
        policy: gw_balancer::Policy::default(),
        checks: health::checks(compiler.health, None),
        probes: None,
        probe_terms: Arc::default(),
        budget: gw_balancer::BudgetPolicy::default(),
        host_header: None,
        srv_names: false,
        upstream: false,
        targets: vec![Place {
            address,
            weight: WEIGHT,
            priority: 0,
        }],
    }
}

#[cfg(test)]
mod tests;
