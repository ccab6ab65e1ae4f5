//! All entities at one revision, indexed as the data plane asks for them; a clone costs nothing.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap, OrdSet};
use uuid::Uuid;

use crate::entity::Entity;
use crate::kind::{CredentialKind, Kind};
use crate::{Consumer, Credential, Id, PluginUse, Route, Service, Target, Upstream};

type Map<K, V, S = RandomState> = GenericHashMap<K, V, S, DefaultSharedPtr>;

/// One change of one entity.
#[derive(Clone, Debug)]
pub enum Change {
    /// It is new, or different from before.
    Put(Entity),
    /// It is gone.
    Delete(Kind, Uuid),
}

/// Where plugin instances are bound, apart from the consumer: route, service, both or neither.
pub type Place = (Option<Id<Route>>, Option<Id<Service>>);

/// All entities at one revision.
///
/// A value: cloning is O(1), applying a change copies only what it touches, and readers of the old value are not
/// disturbed. References may dangle; whoever follows one must say what that means for the request.
#[derive(Clone, Debug, Default)]
pub struct Config {
    services: Map<Id<Service>, Arc<Service>>,
    services_by_host: Map<Box<str>, OrdSet<Id<Service>>>,
    routes: Map<Id<Route>, Arc<Route>>,
    routes_by_service: Map<Id<Service>, OrdSet<Id<Route>>>,
    consumers: Map<Id<Consumer>, Arc<Consumer>>,
    consumers_by_name: Map<Box<str>, Id<Consumer>>,
    credentials: Map<Id<Credential>, Arc<Credential>>,
    credentials_by_key: Map<CredentialKind, Map<Box<str>, Arc<Credential>>>,
    plugins: Map<Id<PluginUse>, Arc<PluginUse>>,
    plugins_by_place: Map<Place, OrdMap<Id<PluginUse>, Arc<PluginUse>>>,
    upstreams: Map<Id<Upstream>, Arc<Upstream>>,
    upstreams_by_name: Map<Box<str>, Id<Upstream>>,
    targets: Map<Id<Target>, Arc<Target>>,
    targets_by_upstream: Map<Id<Upstream>, Targets>,
}

/// The targets of one upstream, by creation and id.
type Targets = OrdMap<(u64, Id<Target>), Arc<Target>>;

impl Config {
    /// The service with this id.
    #[must_use]
    pub fn service(&self, id: Id<Service>) -> Option<&Arc<Service>> {
        self.services.get(&id)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// The services whose host is `host`.
    pub fn services_of_host(&self, host: &str) -> impl Iterator<Item = &Arc<Service>> {
        self.services_by_host
            .get(host)
            .into_iter()
            .flatten()
            .filter_map(|id| self.services.get(id))
    }

    /// The route with this id.
    #[must_use]
    pub fn route(&self, id: Id<Route>) -> Option<&Arc<Route>> {
        self.routes.get(&id)
    }

    /// All routes, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.values()
    }

    /// The routes of a service.
    pub fn routes_of(&self, service: Id<Service>) -> impl Iterator<Item = &Arc<Route>> {
        self.routes_by_service
            .get(&service)
            .into_iter()
            .flatten()
            .filter_map(|id| self.routes.get(id))
    }

    /// The consumer with this id.
    #[must_use]
    pub fn consumer(&self, id: Id<Consumer>) -> Option<&Arc<Consumer>> {
        self.consumers.get(&id)
    }

    /// The consumer with this id or, failing that, this username.
    #[must_use]
    pub fn consumer_named(&self, id_or_username: &str) -> Option<&Arc<Consumer>> {
        let by_id = id_or_username.parse().ok().and_then(|id| self.consumer(id));
        by_id.or_else(|| self.consumer(*self.consumers_by_name.get(id_or_username)?))
    }

    /// The credential of `kind` that is found by `key`.
    #[must_use]
    pub fn credential(&self, kind: CredentialKind, key: &str) -> Option<&Arc<Credential>> {
        self.credentials_by_key.get(&kind)?.get(key)
    }

    /// The plugin instance with this id.
    #[must_use]
    pub fn plugin(&self, id: Id<PluginUse>) -> Option<&Arc<PluginUse>> {
        self.plugins.get(&id)
    }

    /// All plugin instances, in no order.
    pub fn plugins(&self) -> impl Iterator<Item = &Arc<PluginUse>> {
        self.plugins.values()
    }

    /// The plugin instances bound to exactly this place, for whichever consumer.
    pub fn plugins_at(&self, place: Place) -> impl Iterator<Item = &Arc<PluginUse>> {
        self.plugins_by_place
            .get(&place)
            .into_iter()
            .flat_map(OrdMap::values)
    }

    /// The upstream with this id.
    #[must_use]
    pub fn upstream(&self, id: Id<Upstream>) -> Option<&Arc<Upstream>> {
        self.upstreams.get(&id)
    }

    /// The upstream of this name.
    #[must_use]
    pub fn upstream_named(&self, name: &str) -> Option<&Arc<Upstream>> {
        self.upstream(*self.upstreams_by_name.get(name)?)
    }

    /// All upstreams, in no order.
    pub fn upstreams(&self) -> impl Iterator<Item = &Arc<Upstream>> {
        self.upstreams.values()
    }

    /// The target with this id.
    #[must_use]
    pub fn target(&self, id: Id<Target>) -> Option<&Arc<Target>> {
        self.targets.get(&id)
    }

    /// The targets of an upstream, oldest first.
    pub fn targets_of(&self, upstream: Id<Upstream>) -> impl Iterator<Item = &Arc<Target>> {
        self.targets_by_upstream
            .get(&upstream)
            .into_iter()
            .flat_map(OrdMap::values)
    }

    /// What there is, in no order.
    pub fn identities(&self) -> impl Iterator<Item = (Kind, Uuid)> {
        let services = self.services.keys().map(|id| (Kind::Service, id.uuid()));
        let routes = self.routes.keys().map(|id| (Kind::Route, id.uuid()));
        let consumers = self.consumers.keys().map(|id| (Kind::Consumer, id.uuid()));
        let plugins = self.plugins.keys().map(|id| (Kind::Plugin, id.uuid()));
        let upstreams = self.upstreams.keys().map(|id| (Kind::Upstream, id.uuid()));
        let targets = self.targets.keys().map(|id| (Kind::Target, id.uuid()));
        let credentials = self
            .credentials
            .values()
            .map(|one| (Kind::Credential(one.kind), one.id.uuid()));
        services
            .chain(routes)
            .chain(consumers)
            .chain(plugins)
            .chain(upstreams)
            .chain(targets)
            .chain(credentials)
    }

    /// Makes one change, and returns what was there before.
    pub fn apply(&mut self, change: Change) -> Option<Entity> {
        match change {
            Change::Put(entity) => {
                let previous = self.take(entity.kind(), entity.id());
                self.put(entity);
                previous
            }
            Change::Delete(kind, id) => self.take(kind, id),
        }
    }

    fn put(&mut self, entity: Entity) {
        match entity {
            Entity::Service(service) => {
                add(
                    &mut self.services_by_host,
                    service.target.host.clone(),
                    service.id,
                );
                self.services.insert(service.id, service);
            }
            Entity::Route(route) => {
                if let Some(service) = route.service {
                    add(&mut self.routes_by_service, service, route.id);
                }
                self.routes.insert(route.id, route);
            }
            Entity::Consumer(consumer) => {
                if let Some(name) = &consumer.username {
                    self.consumers_by_name.insert(name.clone(), consumer.id);
                }
                self.consumers.insert(consumer.id, consumer);
            }
            Entity::Credential(credential) => {
                if let Some(key) = &credential.key {
                    let keys = self.credentials_by_key.entry(credential.kind).or_default();
                    keys.insert(key.clone(), Arc::clone(&credential));
                }
                self.credentials.insert(credential.id, credential);
            }
            Entity::Plugin(plugin) => {
                let place = (plugin.scope.route, plugin.scope.service);
                let bound = self.plugins_by_place.entry(place).or_default();
                bound.insert(plugin.id, Arc::clone(&plugin));
                self.plugins.insert(plugin.id, plugin);
            }
            Entity::Upstream(upstream) => {
                self.upstreams_by_name.insert(upstream.name.clone(), upstream.id);
                self.upstreams.insert(upstream.id, upstream);
            }
            Entity::Target(target) => {
                let targets = self.targets_by_upstream.entry(target.upstream).or_default();
                targets.insert((target.created, target.id), Arc::clone(&target));
                self.targets.insert(target.id, target);
            }
        }
    }

    fn take(&mut self, kind: Kind, id: Uuid) -> Option<Entity> {
        match kind {
            Kind::Service => {
                let service = self.services.remove(&Id::from(id))?;
                drop_from(&mut self.services_by_host, &service.target.host, &service.id);
                Some(Entity::Service(service))
            }
            Kind::Route => {
                let route = self.routes.remove(&Id::from(id))?;
                if let Some(service) = &route.service {
                    drop_from(&mut self.routes_by_service, service, &route.id);
                }
                Some(Entity::Route(route))
            }
            Kind::Consumer => {
                let consumer = self.consumers.remove(&Id::from(id))?;
                if let Some(name) = &consumer.username {
                    self.consumers_by_name.remove(name);
                }
                Some(Entity::Consumer(consumer))
            }
            Kind::Credential(_) => self.take_credential(Id::from(id)).map(Entity::Credential),
            Kind::Plugin => {
                let plugin = self.plugins.remove(&Id::from(id))?;
                let place = (plugin.scope.route, plugin.scope.service);
                remove_from(&mut self.plugins_by_place, &place, &plugin.id);
                Some(Entity::Plugin(plugin))
            }
            Kind::Upstream => {
                let upstream = self.upstreams.remove(&Id::from(id))?;
                self.upstreams_by_name.remove(&upstream.name);
                Some(Entity::Upstream(upstream))
            }
            Kind::Target => {
                let target = self.targets.remove(&Id::from(id))?;
                let position = (target.created, target.id);
                remove_from(&mut self.targets_by_upstream, &target.upstream, &position);
                Some(Entity::Target(target))
            }
        }
    }

    fn take_credential(&mut self, id: Id<Credential>) -> Option<Arc<Credential>> {
        let credential = self.credentials.remove(&id)?;
        let keys = self.credentials_by_key.get_mut(&credential.kind);
        if let (Some(keys), Some(key)) = (keys, &credential.key) {
            keys.remove(key);
        }
        Some(credential)
    }
}

fn add<K, V, S>(index: &mut Map<K, OrdSet<V>, S>, key: K, value: V)
where
    K: Hash + Eq + Clone,
    V: Ord + Clone,
    S: BuildHasher + Clone,
{
    index.entry(key).or_default().insert(value);
}

fn drop_from<K, V, S>(index: &mut Map<K, OrdSet<V>, S>, key: &K, value: &V)
where
    K: Hash + Eq + Clone,
    V: Ord + Clone,
    S: BuildHasher + Clone,
{
    if let Some(set) = index.get_mut(key) {
        set.remove(value);
        if set.is_empty() {
            index.remove(key);
        }
    }
}

fn remove_from<K, I, V, S>(index: &mut Map<K, OrdMap<I, V>, S>, key: &K, item: &I)
where
    K: Hash + Eq + Clone,
    I: Ord + Clone,
    V: Clone,
    S: BuildHasher + Clone,
{
    if let Some(map) = index.get_mut(key) {
        map.remove(item);
        if map.is_empty() {
            index.remove(key);
        }
    }
}
