//! What is timed: picks by each algorithm and of a whole balancer, and the making of tables.

use std::hint::black_box;
use std::time::{Duration, Instant};

use gw_balancer::{
    Algorithm, Ask, Balancer, Bound, Checks, Identity, LeastLatency, LeastLoaded, LeastRequest, Maglev,
    MaglevPolicy, Outcome, Owners, PeakEwma, Policy, Random, Ring, RingPolicy, Rng, RoundRobin, Slots,
    SlotsPolicy, Sticky, Target, TargetIdx, Tried,
};

use rustix::time::{ClockId, clock_gettime};

use crate::flat::{Flat, equal, targets};
use crate::others::{Naive, pingora};

/// One operation, done with tables of several sizes.
pub(crate) struct Case {
    pub(crate) name: String,
    sizes: Vec<usize>,
    make: Box<dyn Fn(usize) -> Contender>,
}

/// One size of a case.
pub(crate) struct Contender {
    pub(crate) size: usize,
    /// How many operations a pass is.
    pub(crate) operations: usize,
    pub(crate) pass: Box<dyn FnMut() -> Duration>,
}

/// Picks of a pass.
const PICKS: usize = 8192;

impl Case {
    /// Makes its tables; each asserts that it answers as it should.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        self.sizes.iter().map(|&size| (self.make)(size)).collect()
    }

    fn new(name: &str, sizes: &[usize], make: impl Fn(usize) -> Contender + 'static) -> Self {
        Self {
            name: format!("balancer/{name}"),
            sizes: sizes.to_vec(),
            make: Box::new(make),
        }
    }
}

pub(crate) fn all(sizes: &[usize]) -> Vec<Case> {
    let mut cases = vec![
        algorithm("round_robin", sizes, RoundRobin::new),
        algorithm("random", sizes, Random::new),
        algorithm("least_request", sizes, |targets| {
            LeastLoaded::new(&LeastRequest::default(), targets)
        }),
        algorithm("peak_ewma", sizes, LeastLatency::new),
        algorithm("slots", sizes, |targets| sticky(Slots::new, targets)),
        algorithm("slots_bounded", sizes, |targets| {
            sticky(Slots::new, targets).bounded(Bound::percent(100))
        }),
        algorithm("maglev", sizes, |targets| sticky(Maglev::new, targets)),
        algorithm("ring", sizes, |targets| {
            sticky(|targets| Ring::new(Identity::NginxText, targets), targets)
        }),
        algorithm("no_key", sizes, |targets| {
            sticky(Maglev::new, targets).without_key()
        }),
    ];
    cases.push(Case::new("ring_pingora", sizes, |size| {
        let ring = pingora(&targets(size));
        let keys = keys(&Policy::default());
        let text: Vec<[u8; 8]> = keys.iter().map(|key| key.to_le_bytes()).collect();
        passes(size, PICKS, move || {
            text.iter()
                .filter(|key| ring.node(black_box(*key)).is_some())
                .count()
        })
    }));
    cases.push(Case::new("round_robin_nginx_loop", sizes, |size| {
        let mut naive = Naive::new(&targets(size));
        let table = RoundRobin::new(&targets(size));
        let tried = Tried::new();
        for _ in 0..1000 {
            let ask = Ask {
                key: None,
                tried: &tried,
                now: Instant::now(),
            };
            assert_eq!(
                table.pick(&ask, &(), &mut Rng::seeded(0)),
                naive.pick(),
                "the same sequence"
            );
        }
        let picks = (PICKS * 10 / size.max(10)).max(64);
        passes(size, picks, move || {
            (0..picks).filter(|_| naive.pick().is_some()).count()
        })
    }));
    for (label, policy) in policies() {
        cases.push(whole(label, policy.clone(), sizes));
        cases.push(building(label, policy, sizes));
    }
    cases.push(retry(sizes));
    cases.push(report(sizes));
    cases
}

/// Each policy, by the name of its algorithm.
pub(crate) fn policies() -> [(&'static str, Policy); 7] {
    [
        ("round_robin", Policy::RoundRobin),
        ("random", Policy::Random),
        ("least_request", Policy::LeastRequest(LeastRequest::default())),
        ("peak_ewma", Policy::PeakEwma(PeakEwma::default())),
        ("slots", Policy::Slots(SlotsPolicy::default())),
        ("maglev", Policy::Maglev(MaglevPolicy::default())),
        ("ring", Policy::Ring(RingPolicy::default())),
    ]
}

fn sticky<O: Owners>(owners: impl Fn(&[Target]) -> O, targets: &[Target]) -> Sticky<O> {
    Sticky::new(owners(targets), targets)
}

/// Asks an algorithm without a key, whatever it is asked with.
struct WithoutKey<A>(A);

trait Unkeyed: Sized {
    fn without_key(self) -> WithoutKey<Self> {
        WithoutKey(self)
    }
}

impl<A: Algorithm> Unkeyed for A {}

impl<A: Algorithm> Algorithm for WithoutKey<A> {
    fn pick(
        &self,
        ask: &Ask<'_>,
        load: &(impl gw_balancer::Load + ?Sized),
        rng: &mut Rng,
    ) -> Option<TargetIdx> {
        self.0.pick(&Ask { key: None, ..*ask }, load, rng)
    }
}

/// Keys that are all over the table.
pub(crate) fn keys(policy: &Policy) -> Vec<u64> {
    (0..PICKS as u64)
        .map(|number| policy.key(&number.to_le_bytes()))
        .collect()
}

/// A pick from a table, with loads in one list.
fn algorithm<A: Algorithm + 'static>(
    name: &str,
    sizes: &[usize],
    table: impl Fn(&[Target]) -> A + 'static,
) -> Case {
    Case::new(name, sizes, move |size| {
        let (table, load, keys) = (
            table(&targets(size)),
            Flat::new(size),
            keys(&Policy::Maglev(MaglevPolicy::default())),
        );
        let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(1));
        passes(size, PICKS, move || {
            let pick = |key: &&u64| {
                let ask = Ask {
                    key: Some(**key),
                    tried: &tried,
                    now,
                };
                black_box(table.pick(black_box(&ask), &load, &mut rng)).is_some()
            };
            keys.iter().filter(pick).count()
        })
    })
}

/// A pick of a whole balancer, with its handle's end.
fn whole(label: &str, policy: Policy, sizes: &[usize]) -> Case {
    Case::new(&format!("pick/{label}"), sizes, move |size| {
        let (balancer, keys) = (
            Balancer::new(&policy, &Checks::default(), &targets(size)),
            keys(&policy),
        );
        let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(1));
        passes(size, PICKS, move || {
            let pick = |key: &&u64| {
                balancer
                    .pick(Some(**key), black_box(&tried), now, &mut rng)
                    .is_some()
            };
            keys.iter().filter(pick).count()
        })
    })
}

/// A table made anew when the list has changed.
fn building(label: &str, policy: Policy, sizes: &[usize]) -> Case {
    Case::new(&format!("rebuild/{label}"), sizes, move |size| {
        let (list, policy, checks) = (equal(size), policy.clone(), Checks::default());
        let (balancer, now) = (Balancer::new(&policy, &checks, &list), Instant::now());
        passes(size, 1, move || {
            usize::from(
                !balancer
                    .rebuild(&policy, &checks, black_box(&list), now)
                    .0
                    .is_empty(),
            )
        })
    })
}

fn retry(sizes: &[usize]) -> Case {
    Case::new("retry", sizes, |size| {
        let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets(size));
        let (mut tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(1));
        tried.insert(TargetIdx(0));
        let handle = balancer.pick(None, &tried, now, &mut rng).expect("two are left");
        assert_ne!(handle.target(), TargetIdx(0), "not the tried one");
        let picks = 1000;
        passes(size, picks, move || {
            (0..picks)
                .filter(|_| balancer.pick(None, black_box(&tried), now, &mut rng).is_some())
                .count()
        })
    })
}

/// A report that changes nothing.
fn report(sizes: &[usize]) -> Case {
    Case::new("report", sizes, |size| {
        let balancer = Balancer::new(&Policy::RoundRobin, &Checks::default(), &targets(size));
        let now = Instant::now();
        let handle = balancer
            .pick(None, &Tried::new(), now, &mut Rng::seeded(1))
            .expect("all are in");
        passes(size, PICKS, move || {
            (0..PICKS)
                .filter(|_| handle.report(black_box(Outcome::Status(200)), now).is_none())
                .count()
        })
    })
}

/// Passes whose every operation must succeed, in processor time: what other programs take does not count.
fn passes(size: usize, operations: usize, mut succeeded: impl FnMut() -> usize + 'static) -> Contender {
    let pass = move || {
        let start = processor_time();
        let count = succeeded();
        let took = processor_time().saturating_sub(start);
        assert_eq!(count, operations, "each operation succeeds");
        took
    };
    Contender {
        size,
        operations,
        pass: Box::new(pass),
    }
}

/// What this thread has had.
fn processor_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(now.tv_sec).unwrap_or(0),
        u32::try_from(now.tv_nsec).unwrap_or(0),
    )
}
