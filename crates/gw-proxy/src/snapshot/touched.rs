//! What a change makes necessary to compile.

use std::sync::Arc;

use gw_core::{Certificate, Change, Config, Entity, Id, Kind, PluginUse, Route, Scope, Service, Upstream};
use uuid::Uuid;

/// Identities, as they come. At a start it is all there are, and they come in order.
#[derive(Clone, Debug)]
pub(super) struct Set<T>(Vec<T>);

/// The objects to compile: those that changed, and those that see a change of another.
#[derive(Debug, Default)]
pub(super) struct Touched {
    pub(super) services: Set<Id<Service>>,
    pub(super) routes: Set<Id<Route>>,
    pub(super) upstreams: Set<Id<Upstream>>,
    pub(super) plugins: Set<Id<PluginUse>>,
    pub(super) service_chains: Set<Id<Service>>,
    pub(super) route_chains: Set<Id<Route>>,
    pub(super) global_chain: bool,
    pub(super) certificates: Set<Id<Certificate>>,
    /// Certificates of authorities.
    pub(super) authorities: bool,
}

impl<T: Copy + Ord> Set<T> {
    pub(super) fn insert(&mut self, id: T) {
        if self.0.last() != Some(&id) {
            self.0.push(id);
        }
    }

    /// Each once, in order, so that nothing depends on how they came.
    pub(super) fn sorted(mut self) -> Vec<T> {
        self.0.sort_unstable();
        self.0.dedup();
        self.0
    }
}

impl<T> Default for Set<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T: Copy + Ord> Extend<T> for Set<T> {
    fn extend<I: IntoIterator<Item = T>>(&mut self, ids: I) {
        ids.into_iter().for_each(|id| self.insert(id));
    }
}

impl Touched {
    /// What these changes touch.
    pub(super) fn by(changes: &[Change], before: &Config, after: &Config) -> Self {
        let mut touched = Self::default();
        for change in changes {
            let (kind, id) = match change {
                Change::Put(entity) => (entity.kind(), entity.id()),
                Change::Delete(kind, id) => (*kind, *id),
            };
            for config in [before, after] {
                touched.add(kind, id, config);
            }
            if let Change::Put(Entity::Service(service)) = change
                && before
                    .service(service.id)
                    .is_some_and(|before| before.enabled == service.enabled)
            {
                continue; // its routes look the service up, and need not know
            }
            if kind == Kind::Service {
                touched
                    .routes
                    .extend(after.routes_of(Id::from(id)).map(|route| route.id));
            }
        }
        touched
    }

    /// Adds what an entity touches under one configuration, the earlier or the later.
    fn add(&mut self, kind: Kind, id: Uuid, config: &Config) {
        match kind {
            Kind::Service => {
                self.services.insert(Id::from(id));
                self.service_chains.insert(Id::from(id));
            }
            Kind::Route => {
                self.routes.insert(Id::from(id));
                self.route_chains.insert(Id::from(id));
            }
            Kind::Plugin => {
                self.plugins.insert(Id::from(id));
                if let Some(bound) = config.plugin(Id::from(id)) {
                    self.add_place(bound.scope);
                }
            }
            Kind::Upstream => {
                self.upstreams.insert(Id::from(id));
                if let Some(upstream) = config.upstream(Id::from(id)) {
                    self.services
                        .extend(config.services_of_host(&upstream.name).map(|service| service.id));
                }
            }
            Kind::Target => {
                if let Some(target) = config.target(Id::from(id)) {
                    self.upstreams.insert(target.upstream);
                }
            }
            // Looked up through the configuration when a request needs them.
            Kind::Consumer | Kind::Credential(_) | Kind::ConsumerGroup | Kind::GroupMember => {}
            Kind::Certificate => {
                self.certificates.insert(Id::from(id));
                let shows = |service: &&Arc<Service>| service.tls.certificate == Some(Id::from(id));
                self.services
                    .extend(config.services().filter(shows).map(|service| service.id));
                let shows = |upstream: &&Arc<Upstream>| upstream.client_certificate == Some(Id::from(id));
                for upstream in config.upstreams().filter(shows) {
                    self.upstreams.insert(upstream.id);
                    let services = config.services_of_host(&upstream.name);
                    self.services.extend(services.map(|service| service.id));
                }
            }
            Kind::CaCertificate => {
                self.authorities = true;
                let believes = |service: &&Arc<Service>| service.tls.authorities.contains(&Id::from(id));
                self.services
                    .extend(config.services().filter(believes).map(|service| service.id));
            }
            Kind::Sni => {}
            // Kept for what is to come.
            Kind::Vault | Kind::Key | Kind::KeySet | Kind::FilterChain => {}
        }
    }

    fn add_place(&mut self, scope: Scope) {
        match (scope.route, scope.service) {
            (Some(route), _) => {
                self.route_chains.insert(route);
            }
            (None, Some(service)) => {
                self.service_chains.insert(service);
            }
            (None, None) => self.global_chain = true,
        }
    }

    /// Everything there was and is.
    pub(super) fn everything(before: &Config, after: &Config) -> Self {
        let mut touched = Self {
            global_chain: true,
            authorities: true,
            ..Self::default()
        };
        for config in [before, after] {
            touched
                .services
                .extend(config.services().map(|service| service.id));
            touched.routes.extend(config.routes().map(|route| route.id));
            touched
                .upstreams
                .extend(config.upstreams().map(|upstream| upstream.id));
            touched
                .certificates
                .extend(config.certificates().map(|certificate| certificate.id));
            touched.plugins.extend(config.plugins().map(|plugin| plugin.id));
        }
        touched.service_chains.clone_from(&touched.services);
        touched.route_chains.clone_from(&touched.routes);
        touched
    }
}
