//! A snapshot made step by step is the one made at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use gw_balancer::Checks;
use gw_core::Kinds;
use gw_plugins::{BuildEnv, BuildError, Definition, Phase, Phases, Plugin};
use gw_router::Lookup;
use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::addresses::Addresses;
use crate::dns::{Answer, BoxFuture, ResolveError, Resolver};
use crate::probe::Prober;
use crate::settings::DnsSettings;

struct Mark;

impl Definition for Mark {
    const NAME: &'static str = "mark";
    const PRIORITY: i32 = 1;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = r#"{ "type": "object" }"#;
    type Config = Value;
    fn build(config: Value, _: &BuildEnv) -> Result<Self, BuildError> {
        match config.get("bad") {
            Some(_) => Err(BuildError::Setting {
                pointer: "/bad".into(),
                message: "bad".into(),
            }),
            None => Ok(Self),
        }
    }
}

impl Plugin for Mark {
    type State = ();
}

#[derive(Debug)]
struct Nowhere;

impl Resolver for Nowhere {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        Box::pin(async {
            Ok(Answer::addresses(
                vec![[127, 0, 0, 1].into()],
                Duration::from_secs(60),
            ))
        })
    }
}

struct Bench {
    runtime: tokio::runtime::Runtime,
    registry: Registry,
    kinds: Kinds,
    names: Arc<Names>,
    prober: Prober,
    health: HealthSettings,
    authorities: ClientAuthorities,
}

impl Bench {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let registry = Registry::builtin().with::<Mark>();
        let names = Arc::new(Names::new(
            Arc::new(Nowhere),
            runtime.handle().clone(),
            DnsSettings::default(),
            Addresses::new(Box::default()),
        ));
        Self {
            kinds: registry.kinds().unwrap(),
            names,
            prober: Prober::start(runtime.handle()),
            health: HealthSettings::default(),
            authorities: ClientAuthorities::default(),
            registry,
            runtime,
        }
    }

    fn compiler(&self) -> Compiler<'_> {
        Compiler {
            registry: &self.registry,
            names: &self.names,
            prober: &self.prober,
            health: &self.health,
            client_authorities: &self.authorities,
        }
    }

    fn put(&self, kind: Kind, number: u64, mut document: Value) -> Change {
        let fields = document.as_object_mut().unwrap();
        fields.insert("id".to_owned(), id(kind, number).to_string().into());
        fields.insert("created_at".to_owned(), (1_700_000_000 + number).into());
        fields.insert("updated_at".to_owned(), 1_700_000_000.into());
        Change::Put(
            self.kinds
                .complete(kind, fields)
                .unwrap_or_else(|e| panic!("{fields:?}: {e:?}")),
        )
    }
}

fn id(kind: Kind, number: u64) -> Uuid {
    Uuid::from_u64_pair(
        kind.name().len() as u64 * 1000 + u64::from(kind.name().as_bytes()[0]),
        number,
    )
}

fn reference(kind: Kind, number: Option<u64>) -> Value {
    number.map_or(Value::Null, |number| json!({ "id": id(kind, number) }))
}

/// Everything about a snapshot that a request can see, in a form that can be compared.
fn outline(snapshot: &Snapshot) -> BTreeMap<String, String> {
    let mut outline = BTreeMap::new();
    for host in ["", "one.test", "two.test"] {
        for path in ["/", "/a", "/a/b", "/c"] {
            let found = snapshot.router.find(&Lookup::new(&Method::GET, host, path));
            let route = found.map(|found| (found.value.label().to_owned(), found.value.route.strip_path));
            outline.insert(format!("GET {host}{path}"), format!("{route:?}"));
        }
    }
    for (id, plan) in &snapshot.services {
        let text = format!("{:?} {} {:?}", plan.service, plan.balanced, plan.cell.spec());
        outline.insert(format!("service {id}"), text);
    }
    for (id, cell) in &snapshot.cells {
        outline.insert(format!("upstream {id}"), format!("{:?}", cell.spec()));
    }
    outline.insert(
        "global".to_owned(),
        format!("{:?}", snapshot.chains.global.outline()),
    );
    for route in snapshot.config.routes() {
        outline.insert(
            format!("chain {}", route.id),
            format!("{:?}", snapshot.chain(route).outline()),
        );
    }
    let own = (
        snapshot.chains.services.len(),
        snapshot.chains.routes.len(),
        snapshot.rules.len(),
    );
    outline.insert("sizes".to_owned(), format!("{own:?} {}", snapshot.router.len()));
    outline.insert("problems".to_owned(), format!("{}", snapshot.problems.len()));
    outline
}

fn change(bench: &Bench, rng: &mut fastrand::Rng) -> Change {
    let number = rng.u64(0..4);
    let maybe = |rng: &mut fastrand::Rng| rng.bool().then(|| rng.u64(0..4));
    let kinds = [
        Kind::Service,
        Kind::Route,
        Kind::Plugin,
        Kind::Upstream,
        Kind::Target,
    ];
    let kind = kinds[rng.usize(..kinds.len())];
    if rng.u8(0..4) == 0 {
        return Change::Delete(kind, id(kind, number));
    }
    let host = ["one.test", "two.test", "10.0.0.1"][rng.usize(..3)];
    let path = ["/", "/a", "/a/b"][rng.usize(..3)];
    let plugin = ["mark", "key-auth", "unheard-of"][rng.usize(..3)];
    let upstream = ["one.test", "two.test", "x.test", "y.test"][number as usize];
    let document = match kind {
        Kind::Service => json!({ "host": host, "port": 80 + number, "enabled": rng.u8(0..3) > 0 }),
        Kind::Route => {
            let protocols = [["http", "https"], ["tcp", "tls"]][usize::from(rng.u8(0..6) == 0)];
            let (paths, methods) = if protocols[0] == "tcp" {
                (Value::Null, json!({ "sources": [{ "port": 1 }] }))
            } else {
                (json!([path]), json!({}))
            };
            let mut document = json!({ "paths": paths, "protocols": protocols, "strip_path": rng.bool(),
                "service": reference(Kind::Service, maybe(rng)), "hosts": Value::Null });
            document
                .as_object_mut()
                .unwrap()
                .extend(methods.as_object().unwrap().clone());
            document
        }
        Kind::Plugin => {
            json!({ "name": plugin, "enabled": rng.u8(0..3) > 0,
            "route": reference(Kind::Route, maybe(rng)), "service": reference(Kind::Service, maybe(rng)),
            "config": { "key_names": ["apikey"] } })
        }
        Kind::Upstream => json!({ "name": upstream }),
        _ => json!({ "target": format!("10.0.0.{number}:80"), "weight": rng.u16(0..3),
            "upstream": { "id": id(Kind::Upstream, rng.u64(0..4)) } }),
    };
    bench.put(kind, number, document)
}

#[test]
fn incremental_equals_fresh() {
    let bench = Bench::new();
    let _guard = bench.runtime.enter();
    for seed in 0..40 {
        let flavor = if seed % 2 == 0 {
            RouterFlavor::Kong
        } else {
            RouterFlavor::Radix
        };
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut snapshot, mut config) = (Snapshot::empty(flavor), Config::default());
        for revision in 1..60 {
            let changes: Vec<Change> = (0..rng.usize(1..4)).map(|_| change(&bench, &mut rng)).collect();
            for change in &changes {
                config.apply(change.clone());
            }
            snapshot = snapshot.next(&bench.compiler(), config.clone(), &changes, revision);
            let fresh = Snapshot::empty(flavor).fresh(&bench.compiler(), config.clone(), revision);
            assert_eq!(
                outline(&snapshot),
                outline(&fresh),
                "seed {seed}, revision {revision}: {changes:?}"
            );
            let again = snapshot.fresh(&bench.compiler(), config.clone(), revision);
            assert_eq!(
                outline(&again),
                outline(&fresh),
                "seed {seed}, revision {revision}"
            );
        }
    }
}

#[test]
fn what_does_not_change_is_shared() {
    let bench = Bench::new();
    let _guard = bench.runtime.enter();
    let mut config = Config::default();
    let service = |number| bench.put(Kind::Service, number, json!({ "host": "10.0.0.1", "port": 80 }));
    let mut changes = vec![service(0), service(1)];
    changes.push(bench.put(
        Kind::Plugin,
        0,
        json!({ "name": "mark", "config": {}, "service": reference(Kind::Service, Some(0)) }),
    ));
    changes
        .iter()
        .for_each(|change| drop(config.apply(change.clone())));
    let before = Snapshot::empty(RouterFlavor::Kong).next(&bench.compiler(), config.clone(), &changes, 1);
    let change = [service(1)];
    config.apply(change[0].clone());
    let after = before.next(&bench.compiler(), config, &change, 2);
    let plan = |snapshot: &Snapshot, number| {
        Arc::clone(snapshot.service(Id::from(id(Kind::Service, number))).unwrap())
    };
    assert!(Arc::ptr_eq(&plan(&before, 0), &plan(&after, 0)));
    assert!(!Arc::ptr_eq(&plan(&before, 1), &plan(&after, 1)));
    assert!(
        Arc::ptr_eq(&plan(&before, 1).cell, &plan(&after, 1).cell),
        "its host has not changed"
    );
    let chain = |snapshot: &Snapshot| Arc::clone(&snapshot.chains.services[&Id::from(id(Kind::Service, 0))]);
    assert!(Arc::ptr_eq(&chain(&before), &chain(&after)));
    assert!(Arc::ptr_eq(before.global_chain(), after.global_chain()));
}

#[test]
fn what_cannot_compile_keeps_its_last_good_version() {
    let bench = Bench::new();
    let _guard = bench.runtime.enter();
    let mut config = Config::default();
    let plugin = |config: Value| bench.put(Kind::Plugin, 0, json!({ "name": "mark", "config": config }));
    let mut snapshot = Snapshot::empty(RouterFlavor::Kong);
    for (revision, (document, kept, running)) in (1..).zip([
        (json!({ "bad": 1 }), Some(false), 0),
        (json!({}), None, 1),
        (json!({ "bad": 1 }), Some(true), 1),
        (json!({}), None, 1),
    ]) {
        let change = [plugin(document)];
        config.apply(change[0].clone());
        snapshot = snapshot.next(&bench.compiler(), config.clone(), &change, revision);
        let problem = snapshot.problems().next();
        assert_eq!(problem.map(|problem| problem.kept), kept, "revision {revision}");
        assert_eq!(
            snapshot.global_chain().outline().len(),
            running,
            "revision {revision}"
        );
    }
    let gone = [Change::Delete(Kind::Plugin, id(Kind::Plugin, 0))];
    config.apply(gone[0].clone());
    let snapshot = snapshot.next(&bench.compiler(), config, &gone, 9);
    assert_eq!(
        (snapshot.global_chain().outline().len(), snapshot.instances.len()),
        (0, 0)
    );
}

#[test]
fn an_upstream_of_a_plugin_keeps_its_cell() {
    let bench = Bench::new();
    let split = |nodes: &[&str], enabled: bool| {
        let arms = nodes
            .iter()
            .map(|node| json!({ "upstream": { "nodes": { *node: 1 } } }));
        let rules = json!([{ "weighted_upstreams": arms.collect::<Vec<_>>() }]);
        let document = json!({ "name": "traffic-split", "enabled": enabled, "config": { "rules": rules } });
        bench.put(Kind::Plugin, 0, document)
    };
    let plugin = Id::from(id(Kind::Plugin, 0));
    let mut config = Config::default();
    let mut snapshot = Snapshot::empty(RouterFlavor::default());
    let mut step = |change: Change| {
        config.apply(change.clone());
        snapshot = snapshot.next(
            &bench.compiler(),
            config.clone(),
            &[change],
            snapshot.revision + 1,
        );
        let instance = snapshot.instances.get(&plugin);
        let ids: Vec<_> = instance.map_or_else(Vec::new, |instance| {
            instance.upstreams.iter().map(|own| own.upstream.id).collect()
        });
        let cell = |id: &Id<Upstream>| Arc::clone(snapshot.own_upstream(*id).expect("compiled").1);
        (ids.iter().map(cell).collect::<Vec<_>>(), ids)
    };
    let (first, ids) = step(split(&["10.0.0.1:80", "10.0.0.2:80"], true));
    assert_eq!(first.len(), 2);
    assert_eq!(first[0].members().balancer.targets().len(), 1);
    // Another entity changes, then the plugin itself: who is asked next and what is known of them stays.
    let (second, _) = step(bench.put(Kind::Upstream, 1, json!({ "name": "other.test" })));
    let (third, same) = step(split(&["10.0.0.3:80", "10.0.0.2:80"], true));
    assert_eq!(ids, same);
    for cells in [&second, &third] {
        assert!(
            cells
                .iter()
                .zip(&first)
                .all(|(now, before)| Arc::ptr_eq(now, before))
        );
    }
    assert_eq!(&*third[0].spec().targets[0].address.host, "10.0.0.3");
    // What it has no longer is gone.
    let (fourth, _) = step(split(&["10.0.0.3:80"], true));
    assert!(fourth.len() == 1 && Arc::ptr_eq(&fourth[0], &first[0]));
    assert!(step(split(&["10.0.0.3:80"], false)).0.is_empty());
    assert!(ids.iter().all(|id| snapshot.own_upstream(*id).is_none()));
}

#[test]
fn members_follow_names_and_weights() {
    let bench = Bench::new();
    let place = |host: &str, weight| Place {
        address: TargetAddress {
            host: host.into(),
            port: 80,
        },
        weight,
        priority: 0,
    };
    let targets = vec![place("10.0.0.9", 5), place("app.test", 7)];
    let spec = Spec {
        label: "up".into(),
        checks: Checks::default(),
        policy: gw_balancer::Policy::default(),
        probes: None,
        probe_terms: Arc::default(),
        budget: gw_balancer::BudgetPolicy::default(),
        host_header: None,
        srv_names: false,
        upstream: true,
        targets,
    };
    let cell = Cell::new(&bench.names, &bench.prober, spec.clone());
    assert!(cell.members().pending);
    assert_eq!(
        cell.members().balancer.targets().len(),
        1,
        "addresses need no look-up"
    );
    bench.runtime.block_on(async {
        let changed = cell.changed().notified();
        if cell.members().pending {
            changed.await;
        }
    });
    let members = cell.members();
    let seen: Vec<_> = members
        .balancer
        .targets()
        .iter()
        .map(|target| (&*target.name, target.weight.0))
        .collect();
    assert_eq!(seen, [("10.0.0.9:80", 5), ("app.test:80@127.0.0.1", 7)]);
    let member = members.member(gw_balancer::TargetIdx(1)).unwrap();
    assert_eq!(member.address, SocketAddr::from(([127, 0, 0, 1], 80)));
    assert_eq!(member.host(false), "app.test");
    assert_eq!(bench.names.known(), 1);
}

#[test]
fn what_changes_leave_behind_is_nothing() {
    const ROUTES: u64 = 600;
    let bench = Bench::new();
    let route = |number: u64, path: String| {
        let document = json!({ "paths": [path], "service": reference(Kind::Service, Some(number % 7)) });
        bench.put(Kind::Route, number, document)
    };
    let service = |number: u64, timeout: u64| {
        let document =
            json!({ "name": format!("s{number}"), "host": "127.0.0.1", "port": 9, "read_timeout": timeout });
        bench.put(Kind::Service, number, document)
    };
    let (mut snapshot, mut config) = (Snapshot::empty(RouterFlavor::Kong), Config::default());
    let mut make = |changes: Vec<Change>| {
        for change in &changes {
            config.apply(change.clone());
        }
        let (next, revision) = (config.clone(), snapshot.revision + 1);
        snapshot = snapshot.next(&bench.compiler(), next, &changes, revision);
    };
    make((0..7).map(|number| service(number, 1)).collect());
    make(
        (0..ROUTES)
            .map(|number| route(number, format!("/s{}/r{number}", number / 100)))
            .collect(),
    );
    // Each round ends where it began: with a route more and again without it, another moved there and back.
    let mut round = |number: u64| {
        let moved = number * 101 % ROUTES;
        let home = format!("/s{}/r{moved}", moved / 100);
        make(vec![route(ROUTES, format!("/new/{number}"))]);
        make(vec![route(moved, format!("/moved/{number}"))]);
        make(vec![service(moved % 7, number + 2)]);
        make(vec![route(moved, home), service(moved % 7, 1)]);
        make(vec![Change::Delete(Kind::Route, id(Kind::Route, ROUTES))]);
    };
    // Maps may be of another shape after all routes were moved once, and of the same ever after.
    (0..2 * ROUTES).for_each(&mut round);
    let left = allocation_counter::measure(|| (2 * ROUTES..3 * ROUTES).for_each(&mut round));
    assert!(left.count_total > 10 * ROUTES, "it was counted: {left:?}");
    assert_eq!((left.count_current, left.bytes_current), (0, 0));
}
