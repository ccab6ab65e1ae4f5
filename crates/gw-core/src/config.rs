//! All entities at one revision, indexed as the data plane asks for them; a clone costs nothing.

use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

use foldhash::quality::RandomState;
use imbl::shared_ptr::DefaultSharedPtr;
use imbl::{GenericHashMap, OrdMap, OrdSet};
use uuid::Uuid;

use crate::entity::Entity;
use crate::kind::{CredentialKind, Kind};
use crate::{
    AccessGroups, CaCertificate, Certificate, Consumer, ConsumerGroup, Credential, FilterChain, GroupMember,
    Id, Key,
};
use crate::{KeySet, PluginUse, Route, Service, Sni, Target, Upstream, Vault};

type Map<K, V, S = RandomState> = GenericHashMap<K, V, S, DefaultSharedPtr>;

/// What says which groups a consumer is in, for access lists.
const ACLS: CredentialKind = CredentialKind("acls");

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
    /// In order, which takes a third of the memory of what is hashed: there may be many.
    routes: OrdMap<Id<Route>, Arc<Route>>,
    routes_by_service: Map<Id<Service>, OrdSet<Id<Route>>>,
    consumers: Map<Id<Consumer>, Arc<Consumer>>,
    consumers_by_name: Map<Box<str>, Id<Consumer>>,
    credentials: Map<Id<Credential>, Arc<Credential>>,
    credentials_by_key: Map<CredentialKind, Map<Box<str>, Arc<Credential>>>,
    /// In one order, which takes far less memory than a map for each consumer.
    credentials_by_consumer: OrdMap<(Id<Consumer>, CredentialKind, Id<Credential>), Arc<Credential>>,
    /// What the credentials of the kind `acls` say, together: access lists ask for it with each request.
    access_groups: Map<Id<Consumer>, Arc<AccessGroups>>,
    plugins: Map<Id<PluginUse>, Arc<PluginUse>>,
    plugins_by_place: Map<Place, OrdMap<Id<PluginUse>, Arc<PluginUse>>>,
    upstreams: Map<Id<Upstream>, Arc<Upstream>>,
    upstreams_by_name: Map<Box<str>, Id<Upstream>>,
    targets: Map<Id<Target>, Arc<Target>>,
    targets_by_upstream: Map<Id<Upstream>, Targets>,
    certificates: Map<Id<Certificate>, Arc<Certificate>>,
    snis: Map<Id<Sni>, Arc<Sni>>,
    snis_by_name: Map<Box<str>, Id<Sni>>,
    ca_certificates: Map<Id<CaCertificate>, Arc<CaCertificate>>,
    groups: Map<Id<ConsumerGroup>, Arc<ConsumerGroup>>,
    members: Map<Id<GroupMember>, Arc<GroupMember>>,
    groups_by_consumer: Map<Id<Consumer>, OrdMap<Id<GroupMember>, Id<ConsumerGroup>>>,
    vaults: Map<Id<Vault>, Arc<Vault>>,
    keys: Map<Id<Key>, Arc<Key>>,
    key_sets: Map<Id<KeySet>, Arc<KeySet>>,
    filter_chains: Map<Id<FilterChain>, Arc<FilterChain>>,
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

    /// The credentials of `kind` that a consumer has, by id.
    pub fn credentials_of(
        &self,
        consumer: Id<Consumer>,
        kind: CredentialKind,
    ) -> impl Iterator<Item = &Arc<Credential>> {
        let (first, last) = (Id::from(Uuid::nil()), Id::from(Uuid::max()));
        self.credentials_by_consumer
            .range((consumer, kind, first)..=(consumer, kind, last))
            .map(|(_, credential)| credential)
    }

    /// The groups that a consumer's entries of the kind `acls` name; none if there are no entries.
    #[must_use]
    pub fn access_groups(&self, consumer: Id<Consumer>) -> Option<&Arc<AccessGroups>> {
        self.access_groups.get(&consumer)
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

    /// The plugin instances bound to exactly this place, for whichever consumer or group of them.
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

    /// All certificates.
    pub fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.certificates.values()
    }

    /// All certificates of authorities.
    pub fn ca_certificates(&self) -> impl Iterator<Item = &Arc<CaCertificate>> {
        self.ca_certificates.values()
    }

    /// The certificate with this id.
    #[must_use]
    pub fn certificate(&self, id: Id<Certificate>) -> Option<&Arc<Certificate>> {
        self.certificates.get(&id)
    }

    /// The server name that is spelt exactly so, a `*` included.
    #[must_use]
    pub fn sni_named(&self, name: &str) -> Option<&Arc<Sni>> {
        self.snis.get(self.snis_by_name.get(name)?)
    }

    /// All server names, in no order.
    pub fn snis(&self) -> impl Iterator<Item = &Arc<Sni>> {
        self.snis.values()
    }

    /// The CA certificate with this id.
    #[must_use]
    pub fn ca_certificate(&self, id: Id<CaCertificate>) -> Option<&Arc<CaCertificate>> {
        self.ca_certificates.get(&id)
    }

    /// The groups a consumer is in, in no order.
    pub fn groups_of(&self, consumer: Id<Consumer>) -> impl Iterator<Item = &Arc<ConsumerGroup>> {
        self.groups_by_consumer
            .get(&consumer)
            .into_iter()
            .flat_map(OrdMap::values)
            .filter_map(|id| self.groups.get(id))
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
        let certificates = self.certificates.keys().map(|id| (Kind::Certificate, id.uuid()));
        let snis = self.snis.keys().map(|id| (Kind::Sni, id.uuid()));
        let authorities = self
            .ca_certificates
            .keys()
            .map(|id| (Kind::CaCertificate, id.uuid()));
        let groups = self.groups.keys().map(|id| (Kind::ConsumerGroup, id.uuid()));
        let members = self.members.keys().map(|id| (Kind::GroupMember, id.uuid()));
        let secured = certificates.chain(snis).chain(authorities);
        let vaults = self.vaults.keys().map(|id| (Kind::Vault, id.uuid()));
        let keys = self.keys.keys().map(|id| (Kind::Key, id.uuid()));
        let key_sets = self.key_sets.keys().map(|id| (Kind::KeySet, id.uuid()));
        let filters = self.filter_chains.keys().map(|id| (Kind::FilterChain, id.uuid()));
        services
            .chain(routes)
            .chain(consumers)
            .chain(plugins)
            .chain(upstreams)
            .chain(targets)
            .chain(credentials)
            .chain(secured)
            .chain(groups)
            .chain(members)
            .chain(vaults)
            .chain(keys)
            .chain(key_sets)
            .chain(filters)
    }

    /// Makes one change, and returns what was there before.
    pub fn apply(&mut self, change: Change) -> Option<Entity> {
        match change {
            Change::Put(Entity::Route(route)) => self.put_route(route).map(Entity::Route),
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
            Entity::Route(route) => drop(self.put_route(route)),
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
                let place = (credential.consumer, credential.kind, credential.id);
                self.credentials_by_consumer
                    .insert(place, Arc::clone(&credential));
                self.regroup(&credential);
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
            Entity::Certificate(certificate) => {
                self.certificates.insert(certificate.id, certificate);
            }
            Entity::Sni(sni) => {
                self.snis_by_name.insert(sni.name.clone(), sni.id);
                self.snis.insert(sni.id, sni);
            }
            Entity::CaCertificate(certificate) => {
                self.ca_certificates.insert(certificate.id, certificate);
            }
            Entity::ConsumerGroup(group) => {
                self.groups.insert(group.id, group);
            }
            Entity::GroupMember(member) => {
                let groups = self.groups_by_consumer.entry(member.consumer).or_default();
                groups.insert(member.id, member.group);
                self.members.insert(member.id, member);
            }
            Entity::Vault(vault) => drop(self.vaults.insert(vault.id, vault)),
            Entity::Key(key) => drop(self.keys.insert(key.id, key)),
            Entity::KeySet(set) => drop(self.key_sets.insert(set.id, set)),
            Entity::FilterChain(chain) => drop(self.filter_chains.insert(chain.id, chain)),
        }
    }

    /// Puts a route in, and returns the one that was in its place: there may be many, and this looks for each but once.
    fn put_route(&mut self, route: Arc<Route>) -> Option<Arc<Route>> {
        let (id, service) = (route.id, route.service);
        let previous = self.routes.insert(id, route);
        let before = previous.as_ref().and_then(|previous| previous.service);
        if before != service {
            if let Some(before) = &before {
                drop_from(&mut self.routes_by_service, before, &id);
            }
            if let Some(service) = service {
                add(&mut self.routes_by_service, service, id);
            }
        }
        previous
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
            Kind::Certificate => self.certificates.remove(&Id::from(id)).map(Entity::Certificate),
            Kind::Sni => {
                let sni = self.snis.remove(&Id::from(id))?;
                self.snis_by_name.remove(&sni.name);
                Some(Entity::Sni(sni))
            }
            Kind::CaCertificate => self
                .ca_certificates
                .remove(&Id::from(id))
                .map(Entity::CaCertificate),
            Kind::ConsumerGroup => self.groups.remove(&Id::from(id)).map(Entity::ConsumerGroup),
            Kind::GroupMember => {
                let member = self.members.remove(&Id::from(id))?;
                remove_from(&mut self.groups_by_consumer, &member.consumer, &member.id);
                Some(Entity::GroupMember(member))
            }
            Kind::Vault => self.vaults.remove(&Id::from(id)).map(Entity::Vault),
            Kind::Key => self.keys.remove(&Id::from(id)).map(Entity::Key),
            Kind::KeySet => self.key_sets.remove(&Id::from(id)).map(Entity::KeySet),
            Kind::FilterChain => self.filter_chains.remove(&Id::from(id)).map(Entity::FilterChain),
        }
    }

    fn take_credential(&mut self, id: Id<Credential>) -> Option<Arc<Credential>> {
        let credential = self.credentials.remove(&id)?;
        let keys = self.credentials_by_key.get_mut(&credential.kind);
        if let (Some(keys), Some(key)) = (keys, &credential.key) {
            keys.remove(key);
        }
        let place = (credential.consumer, credential.kind, credential.id);
        self.credentials_by_consumer.remove(&place);
        self.regroup(&credential);
        Some(credential)
    }

    /// Brings the groups of the consumer up to date whose credential has come or gone.
    fn regroup(&mut self, credential: &Credential) {
        if credential.kind != ACLS {
            return;
        }
        let consumer = credential.consumer;
        let groups = AccessGroups::of(self.credentials_of(consumer, ACLS));
        if groups.names.is_empty() {
            self.access_groups.remove(&consumer);
        } else {
            self.access_groups.insert(consumer, Arc::new(groups));
        }
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
