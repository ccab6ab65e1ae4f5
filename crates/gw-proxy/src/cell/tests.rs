//! A cell's members are what its targets' names stand for, and their addresses are held as long as they are members.

use std::time::Duration;

use gw_balancer::{Rng, SlowStart, Tried};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::addresses::Addresses;
use crate::dns::{Answer, BoxFuture, Records, ResolveError, Resolver, Service};
use crate::settings::DnsSettings;

/// Says the same of every name; what it is can be changed.
#[derive(Debug)]
struct Says(Arc<Mutex<Records>>);

impl Resolver for Says {
    fn resolve<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Answer, ResolveError>> {
        let records = lock(&self.0).clone();
        Box::pin(async move {
            Ok(Answer {
                records,
                ttl: Duration::ZERO,
            })
        })
    }
}

struct Bench {
    runtime: Runtime,
    says: Arc<Mutex<Records>>,
    names: Arc<Names>,
    prober: Prober,
}

impl Bench {
    fn new(records: Records) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let says = Arc::new(Mutex::new(records));
        let settings = DnsSettings {
            min_ttl: Duration::from_millis(100),
            ..DnsSettings::default()
        };
        let names = Names::new(
            Arc::new(Says(Arc::clone(&says))),
            runtime.handle().clone(),
            settings,
            Addresses::new(Box::default()),
        );
        Self {
            prober: Prober::start(runtime.handle()),
            runtime,
            says,
            names: Arc::new(names),
        }
    }

    /// Lets time pass until the cell is as it should be.
    fn wait(&self, cell: &Cell, what: &str, reached: impl Fn(&Members) -> bool) {
        let waited = self.runtime.block_on(async {
            let wait = async {
                loop {
                    let changed = cell.changed().notified();
                    tokio::pin!(changed);
                    changed.as_mut().enable();
                    if reached(&cell.members()) {
                        return;
                    }
                    changed.await;
                }
            };
            tokio::time::timeout(Duration::from_secs(10), wait).await
        });
        waited.unwrap_or_else(|_| panic!("waited for {what}: {cell:?}"));
    }
}

fn place(host: &str, weight: u16, priority: u32) -> Place {
    Place {
        address: TargetAddress {
            host: host.into(),
            port: 8000,
        },
        weight,
        priority,
    }
}

fn spec(targets: Vec<Place>) -> Spec {
    Spec {
        label: "up".into(),
        policy: Policy::default(),
        checks: Checks::default(),
        probes: None,
        probe_terms: Arc::default(),
        budget: BudgetPolicy::default(),
        host_header: None,
        srv_names: false,
        upstream: true,
        targets,
    }
}

fn service(priority: u16, address: &str, port: u16, weight: u16) -> Service {
    Service {
        priority,
        address: address.parse().unwrap(),
        port,
        weight,
        host: format!("node{priority}.test").into(),
    }
}

/// Name, weight, group and `Host` of each member.
fn outline(cell: &Cell) -> Vec<String> {
    let members = cell.members();
    let shown = members.iter().map(|(index, member)| {
        let target = &members.balancer.targets()[index.index()];
        assert_eq!(target.name, member.label);
        let host = member.host(false).to_str().unwrap();
        format!("{} {} {} {host}", target.name, target.weight.0, target.priority)
    });
    shown.collect()
}

#[test]
fn services_have_their_ports_weights_and_groups() {
    let records = Records::Services(vec![
        service(10, "10.0.0.1", 9001, 3),
        service(30, "::1", 9003, 7),
        service(20, "10.0.0.2", 0, 0),
        service(20, "10.0.0.3", 80, 1),
    ]);
    let bench = Bench::new(records);
    let off = place("off.test", 0, 0);
    let cell = Cell::new(
        &bench.names,
        &bench.prober,
        spec(vec![place("app.test", 100, 5), place("10.0.0.9", 9, 0), off]),
    );
    bench.wait(&cell, "both names", |members| !members.pending);
    let expected = [
        "app.test:8000@10.0.0.1:9001 3 5 app.test:9001",
        "app.test:8000@10.0.0.2:8000 1 6 app.test:8000",
        "app.test:8000@10.0.0.3:80 1 6 app.test",
        "app.test:8000@[::1]:9003 7 7 app.test:9003",
        "10.0.0.9:8000 9 0 10.0.0.9:8000",
        "off.test:8000@10.0.0.1:9001 0 0 off.test:9001",
    ];
    assert_eq!(outline(&cell)[..6], expected);
    cell.update(Spec {
        srv_names: true,
        ..cell.spec()
    });
    assert!(
        outline(&cell)[1].ends_with(" node20.test:8000"),
        "{:?}",
        outline(&cell)
    );
    assert!(
        outline(&cell)[2].ends_with(" node20.test"),
        "{:?}",
        outline(&cell)
    );
    cell.update(Spec {
        host_header: Some("own.test".into()),
        ..cell.spec()
    });
    assert!(
        outline(&cell)[1].ends_with(" own.test:8000"),
        "{:?}",
        outline(&cell)
    );
}

#[test]
fn what_stays_keeps_its_state_and_what_leaves_ends_its_tenure() {
    let parse = |list: &[&str]| Records::Addresses(list.iter().map(|ip| ip.parse().unwrap()).collect());
    let bench = Bench::new(parse(&["10.0.0.1", "10.0.0.2"]));
    let cell = Cell::new(&bench.names, &bench.prober, spec(vec![place("app.test", 1, 0)]));
    let other = Cell::new(&bench.names, &bench.prober, spec(vec![place("10.0.0.1", 1, 0)]));
    bench.wait(&cell, "two addresses", |members| members.iter().count() == 2);
    let tenure = |cell: &Cell, ip: &str| {
        let ip: IpAddr = ip.parse().unwrap();
        let members = cell.members();
        members
            .iter()
            .find(|(_, member)| member.address.ip().map(|known| known.ip()) == Some(ip))
            .map(|(_, member)| member.tenure.clone())
    };
    let (one, two) = (
        tenure(&cell, "10.0.0.1").unwrap(),
        tenure(&cell, "10.0.0.2").unwrap(),
    );
    let handles: Vec<_> = (0..2)
        .filter_map(|_| {
            cell.members()
                .balancer
                .pick(None, &Tried::new(), Instant::now(), &mut Rng::seeded(1))
        })
        .collect();
    assert_eq!(handles.len(), 2, "one in flight at each");

    *lock(&bench.says) = parse(&["10.0.0.3", "10.0.0.2"]);
    bench.wait(&cell, "the third address", |members| {
        members.iter().any(|(_, member)| member.label.ends_with(".3"))
    });
    assert_eq!(
        cell.members().balancer.in_flight(TargetIdx(0)),
        1,
        "the second is still at work"
    );
    assert_eq!(cell.members().balancer.in_flight(TargetIdx(1)), 0);
    assert!(!two.is_over() && !tenure(&cell, "10.0.0.2").unwrap().is_over());
    assert!(!one.is_over(), "another cell has it");
    drop(other);
    assert!(one.is_over(), "nobody has it any more");
    drop(cell);
    assert!(two.is_over());
}

#[test]
fn the_budget_goes_on_unless_its_policy_changes() {
    let bench = Bench::new(Records::Addresses(Vec::new()));
    let cell = Cell::new(&bench.names, &bench.prober, spec(vec![place("10.0.0.1", 1, 0)]));
    let now = Instant::now();
    cell.members().budget.request(now);
    let used = cell.members().budget.usage(now);
    cell.rebuild();
    assert_eq!(cell.members().budget.usage(now), used);
    let policy = BudgetPolicy {
        min_per_second: 77,
        ..BudgetPolicy::default()
    };
    cell.update(Spec {
        budget: policy,
        ..cell.spec()
    });
    assert_eq!(cell.members().budget.policy(), &policy);
}

#[test]
fn a_slow_start_goes_on_by_itself() {
    let bench = Bench::new(Records::Addresses(Vec::new()));
    let checks = Checks {
        slow_start: Some(SlowStart {
            window: Duration::from_millis(400),
            ..SlowStart::default()
        }),
        ..Checks::default()
    };
    let targets = vec![place("10.0.0.1", 100, 0), place("10.0.0.2", 100, 0)];
    let cell = Cell::new(
        &bench.names,
        &bench.prober,
        Spec {
            checks,
            ..spec(targets)
        },
    );
    for healthy in [false, true] {
        assert!(cell.set_health("10.0.0.2:8000", None, healthy));
    }
    let share = || {
        let picks = (0..100).filter_map(|_| {
            let members = cell.members();
            members
                .balancer
                .pick(None, &Tried::new(), Instant::now(), &mut Rng::seeded(1))
        });
        picks.filter(|handle| handle.target() == TargetIdx(1)).count()
    };
    assert!(
        cell.members().balancer.next_change().is_some(),
        "the second has come back"
    );
    assert!(share() < 40, "{}", share());
    bench.runtime.block_on(async {
        let over = async {
            let mut tick = tokio::time::interval(Duration::from_millis(10));
            while cell.members().balancer.next_change().is_some() {
                tick.tick().await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), over).await;
        assert!(waited.is_ok(), "nobody refreshes it: {cell:?}");
    });
    assert_eq!(share(), 50);
}
