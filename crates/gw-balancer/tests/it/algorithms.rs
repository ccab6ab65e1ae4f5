//! What every algorithm promises.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use gw_balancer::{
    Algorithm as _, Ask, Balancer, Bound, Checks, Identity, LeastLatency, LeastLoaded, LeastRequest, Load,
    MaglevPolicy, PeakEwma, Policy, Ring, RingPolicy, Rng, Slots, SlotsPolicy, Sticky, Target, TargetIdx,
    Tried,
};
use proptest::prelude::*;

/// Each policy, with how much more or less than its share a target may get of many requests.
pub(crate) fn policies() -> Vec<(Policy, f64)> {
    let ring = |identity| {
        Policy::Ring(RingPolicy {
            identity,
            bound: None,
        })
    };
    let bound = Some(Bound::default());
    vec![
        (Policy::RoundRobin, 0.0),
        (Policy::Random, 0.0),
        (Policy::LeastRequest(LeastRequest::default()), 0.0),
        (Policy::LeastRequest(LeastRequest { choices: 5 }), 0.0),
        (Policy::PeakEwma(PeakEwma::default()), 0.0),
        (ring(Identity::NginxText), 0.5),
        (ring(Identity::SocketAddr), 0.5),
        (ring(Identity::Raw), 0.5),
        (Policy::Slots(SlotsPolicy::default()), 0.1),
        (
            Policy::Slots(SlotsPolicy {
                slots: Some(10_000),
                bound,
            }),
            0.2,
        ),
        (Policy::Maglev(MaglevPolicy::default()), 0.02),
        (
            Policy::Maglev(MaglevPolicy {
                size: Some(10_007),
                bound,
            }),
            0.02,
        ),
    ]
}

fn targets(weights: &[u16]) -> Vec<Target> {
    (0..).zip(weights).map(|(i, &weight)| target(i, weight)).collect()
}

fn target(i: usize, weight: u16) -> Target {
    Target::new(format!("10.0.{}.{}:80", i / 256, i % 256), weight)
}

fn key(policy: &Policy, number: u32) -> u64 {
    policy.key(&number.to_le_bytes())
}

/// To whom the first attempts of so many requests go, one after the other.
fn firsts(policy: &Policy, targets: &[Target], requests: u32) -> Vec<usize> {
    let balancer = Balancer::new(policy, &Checks::default(), targets);
    let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(7));
    (0..requests)
        .map(|number| {
            let handle = balancer.pick(Some(key(policy, number)), &tried, now, &mut rng);
            handle.expect("somebody has weight").target().index()
        })
        .collect()
}

#[test]
fn weights_are_kept() {
    const REQUESTS: u32 = 40_000;
    for weights in [
        &[1_u16, 1, 1][..],
        &[5, 1, 1],
        &[3, 0, 2, 10],
        &[1; 30],
        &[100; 20],
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    ] {
        let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
        for (policy, slack) in policies() {
            let mut counts = vec![0_u32; weights.len()];
            for first in firsts(&policy, &targets(weights), REQUESTS) {
                counts[first] += 1;
            }
            for (count, weight) in counts.into_iter().zip(weights) {
                let share = f64::from(*weight) / total * f64::from(REQUESTS);
                // Five times what chance makes of it.
                let limit = share * slack + 5.0 * share.sqrt();
                assert!(
                    (f64::from(count) - share).abs() <= limit,
                    "{policy:?}, {weights:?}: {count} for {share}"
                );
            }
        }
    }
}

/// A request without a key is spread, whatever the policy.
#[test]
fn no_key_is_no_target_s_burden() {
    for (policy, _) in policies() {
        let balancer = Balancer::new(&policy, &Checks::default(), &targets(&[5, 1, 1]));
        let (tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(7));
        let mut counts = [0_i32; 3];
        for _ in 0..7000 {
            let handle = balancer
                .pick(None, &tried, now, &mut rng)
                .expect("all have weight");
            counts[handle.target().index()] += 1;
        }
        let exact = policy.is_keyed() || policy == Policy::RoundRobin;
        let slack = if exact { 0 } else { 200 };
        for (count, expected) in counts.into_iter().zip([5000, 1000, 1000]) {
            assert!((count - expected).abs() <= slack, "{policy:?}: {counts:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn retries_go_to_everybody_once_and_never_to_the_weightless(
        weights in prop::collection::vec(0_u16..5, 0..150),
        number in 0_u32..1000,
        keyed in any::<bool>(),
    ) {
        let list = targets(&weights);
        for (policy, _) in policies() {
            let balancer = Balancer::new(&policy, &Checks::default(), &list);
            let (mut tried, now, mut rng) = (Tried::new(), Instant::now(), Rng::seeded(u64::from(number)));
            let key = keyed.then(|| key(&policy, number));
            while let Some(handle) = balancer.pick(key, &tried, now, &mut rng) {
                let target = handle.target();
                prop_assert!(weights[target.index()] > 0, "{policy:?} picked one without weight");
                prop_assert!(tried.insert(target), "{policy:?} picked {target:?} twice");
            }
            prop_assert_eq!(tried.len(), weights.iter().filter(|&&weight| weight > 0).count(), "{:?}", policy);
        }
    }

    #[test]
    fn the_same_again_is_the_same(weights in prop::collection::vec(0_u16..9, 1..40), extra in 1_u16..9) {
        let mut list = targets(&weights);
        list.push(target(999, extra));
        for (policy, _) in policies() {
            prop_assert_eq!(firsts(&policy, &list, 300), firsts(&policy, &list, 300), "{:?}", policy);
        }
    }

    #[test]
    fn a_key_does_not_heed_the_order_of_the_list(weights in prop::collection::vec(1_u16..9, 1..40)) {
        let list = targets(&weights);
        let reversed: Vec<Target> = list.iter().rev().cloned().collect();
        for (policy, _) in policies().into_iter().filter(|(policy, _)| policy.is_keyed() && policy.bound().is_none()) {
            let mirrored: Vec<usize> =
                firsts(&policy, &reversed, 300).into_iter().map(|place| list.len() - 1 - place).collect();
            prop_assert_eq!(firsts(&policy, &list, 300), mirrored, "{:?}", policy);
        }
    }

    #[test]
    fn who_comes_or_goes_moves_little_else(weights in prop::collection::vec(1_u16..9, 2..30), place in 0_usize..30) {
        let place = place % weights.len();
        let with = targets(&weights);
        let mut without = with.clone();
        without.remove(place);
        for (policy, _) in policies().into_iter().filter(|(policy, _)| policy.is_keyed()) {
            let limit = match &policy {
                Policy::Ring(_) => 0,
                // Of 3000 keys.
                Policy::Slots(_) => 30,
                _ => 120,
            };
            let (with, without) = (firsts(&policy, &with, 3000), firsts(&policy, &without, 3000));
            let stayed = with.into_iter().zip(without).filter(|(old, _)| *old != place);
            let moved = stayed.filter(|(old, new)| old - usize::from(*old > place) != *new).count();
            prop_assert!(moved <= limit, "{policy:?}: {moved} of 3000 keys moved");
        }
    }
}

/// Who is out moves no keys but its own, and gets them back.
#[test]
fn one_that_is_out_moves_its_own_keys_only() {
    let list = targets(&[3, 1, 2, 1, 5]);
    for (policy, _) in policies().into_iter().filter(|(policy, _)| policy.is_keyed()) {
        let all = Balancer::new(&policy, &Checks::default(), &list);
        let now = Instant::now();
        all.set_health(TargetIdx(2), false, now);
        let without = all.refresh(now);
        let pick = |balancer: &Balancer, number| {
            let handle = balancer.pick(
                Some(key(&policy, number)),
                &Tried::new(),
                now,
                &mut Rng::seeded(0),
            );
            handle.expect("others are in").target().index()
        };
        let mut heirs = BTreeSet::new();
        for number in 0..3000 {
            let (owner, now) = (pick(&all, number), pick(&without, number));
            assert!(
                now == owner || owner == 2,
                "{policy:?}: key {number} moved from {owner} to {now}"
            );
            assert_ne!(now, 2, "{policy:?}");
            if owner == 2 {
                heirs.insert(now);
            }
        }
        assert_eq!(heirs.len(), 4, "{policy:?}: all take a part");
        all.set_health(TargetIdx(2), true, now);
        let again = without.refresh(now);
        assert!(
            (0..3000).all(|number| pick(&again, number) == pick(&all, number)),
            "{policy:?}"
        );
    }
}

#[test]
fn hostile_weights_leave_nobody_out_and_nothing_breaks() {
    let mut uneven = vec![1; 40];
    uneven.push(65_535);
    for weights in [&[][..], &[0, 0], &[65_535], &[1, 65_535], &uneven, &[65_535; 300]] {
        let list = targets(weights);
        for (policy, _) in policies() {
            // Of the rings, which are large here, one will do.
            if matches!(&policy, Policy::Ring(ring) if ring.identity != Identity::NginxText) {
                continue;
            }
            let balancer = Balancer::new(&policy, &Checks::default(), &list);
            let handle = balancer.pick(Some(7), &Tried::new(), Instant::now(), &mut Rng::seeded(0));
            assert_eq!(
                handle.is_some(),
                weights.iter().any(|&weight| weight > 0),
                "{policy:?} {}",
                weights.len()
            );
        }
    }
    for table in [
        Slots::new(&targets(&uneven)),
        Slots::with_slots(10, &targets(&uneven)),
    ] {
        let owners: BTreeSet<_> = (0..1 << 16).map(|slot: u64| table.owner(slot << 48)).collect();
        assert_eq!(owners.len(), uneven.len(), "each has a slot");
    }
}

#[test]
fn duplicates_are_one_target_with_both_weights() {
    let list = [
        Target::new("a:1", 1),
        Target::new("b:1", 3),
        Target::new("a:1", 2),
    ];
    for (policy, slack) in policies() {
        let firsts = firsts(&policy, &list, 12_000);
        let own = firsts.iter().filter(|&&place| place == 0).count() as f64;
        assert!(firsts.iter().all(|&place| place < 2), "{policy:?}");
        assert!((own / 6000.0 - 1.0).abs() <= slack + 0.05, "{policy:?}: {own}");
    }
}

// --- Load ---

/// Loads that a test sets.
#[derive(Default)]
struct Busy {
    in_flight: BTreeMap<u32, u32>,
    latency: BTreeMap<u32, f64>,
}

impl Load for Busy {
    fn in_flight(&self, target: TargetIdx) -> u32 {
        self.in_flight.get(&target.0).copied().unwrap_or(0)
    }

    fn total_in_flight(&self) -> u64 {
        self.in_flight.values().copied().map(u64::from).sum()
    }

    fn latency(&self, target: TargetIdx, _now: Instant) -> Option<f64> {
        self.latency.get(&target.0).copied()
    }
}

fn ask(key: Option<u64>, tried: &Tried) -> Ask<'_> {
    let now = Instant::now();
    Ask { key, tried, now }
}

#[test]
fn least_requests_fill_up_by_weight() {
    for count in [2, 16, 17, 100] {
        let weights: Vec<u16> = (0..count).map(|i| 1 + i % 3).collect();
        let table = LeastLoaded::new(&LeastRequest::default(), &targets(&weights));
        let (mut load, mut rng, tried) = (Busy::default(), Rng::seeded(1), Tried::new());
        let total: u32 = weights.iter().copied().map(u32::from).sum();
        for _ in 0..total * 30 {
            let target = table
                .pick(&ask(None, &tried), &load, &mut rng)
                .expect("all have weight");
            *load.in_flight.entry(target.0).or_default() += 1;
        }
        // Of 16 and fewer all are compared, and the result is exact.
        let slack = if count <= 16 { 1 } else { 8 };
        for (i, weight) in (0..).zip(&weights) {
            let (found, expected) = (load.in_flight(TargetIdx(i)), u32::from(*weight) * 30);
            assert!(
                found.abs_diff(expected) <= slack,
                "{count} targets: {found} for {expected}"
            );
        }
    }
}

#[test]
fn of_two_choices_the_less_busy_one_is_taken() {
    // One of fifty is swamped: it is taken only if nobody else is compared with it.
    let table = LeastLoaded::new(&LeastRequest::default(), &targets(&[1; 50]));
    let mut load = Busy::default();
    load.in_flight
        .extend((0..50).map(|i| (i, if i == 7 { 100 } else { 1 })));
    let mut rng = Rng::seeded(1);
    for _ in 0..10_000 {
        assert_ne!(
            table.pick(&ask(None, &Tried::new()), &load, &mut rng),
            Some(TargetIdx(7))
        );
    }
}

#[test]
fn the_faster_of_two_is_taken_and_the_unknown_one_is_neither() {
    let table = LeastLatency::new(&targets(&[1; 10]));
    let mut load = Busy::default();
    // One is unknown, one slow, the others alike.
    load.latency
        .extend((1..10).map(|i| (i, if i == 9 { 1.0 } else { 0.01 })));
    let (mut rng, mut counts) = (Rng::seeded(1), [0_u32; 10]);
    for _ in 0..10_000 {
        let target = table
            .pick(&ask(None, &Tried::new()), &load, &mut rng)
            .expect("all have weight");
        counts[target.index()] += 1;
    }
    assert!(counts[9] < 200, "only beside the unknown one: {counts:?}");
    assert!(
        counts.iter().take(9).all(|&count| (800..1500).contains(&count)),
        "{counts:?}"
    );
    // Requests in flight make a fast one slow.
    load.in_flight.insert(3, 1000);
    load.in_flight.extend((0..10).filter(|i| *i != 3).map(|i| (i, 1)));
    for _ in 0..1000 {
        assert_ne!(
            table.pick(&ask(None, &Tried::new()), &load, &mut rng),
            Some(TargetIdx(3))
        );
    }
}

#[test]
fn a_fast_failure_does_not_draw_requests() {
    let now = Instant::now();
    let balancer = Balancer::new(
        &Policy::PeakEwma(PeakEwma::default()),
        &Checks {
            passive: gw_balancer::health::Passive::Off,
            ..Checks::default()
        },
        &targets(&[1, 1, 1]),
    );
    let (mut rng, mut counts) = (Rng::seeded(1), [0_u32; 3]);
    for request in 0..3000 {
        let at = now + Duration::from_millis(request);
        let handle = balancer
            .pick(None, &Tried::new(), at, &mut rng)
            .expect("nobody goes out");
        counts[handle.target().index()] += 1;
        let (outcome, took) = match handle.target() {
            TargetIdx(0) => (gw_balancer::Outcome::ConnectFailed, 0),
            _ => (gw_balancer::Outcome::Status(200), 20),
        };
        handle.report(outcome, at + Duration::from_millis(took));
    }
    assert!(counts[0] < 30, "the one that fails at once gets {counts:?}");
}

#[test]
fn a_bound_lets_nobody_have_more_than_its_share() {
    let list = targets(&[1, 2, 1, 4]);
    let table = Sticky::new(Slots::new(&list), &list).bounded(Bound::percent(25));
    let (mut load, mut rng, tried) = (Busy::default(), Rng::seeded(1), Tried::new());
    // All requests stick to one key.
    for number in 1..=800 {
        let target = table
            .pick(&ask(Some(77), &tried), &load, &mut rng)
            .expect("there is room");
        *load.in_flight.entry(target.0).or_default() += 1;
        for (i, weight) in (0..).zip([1_u32, 2, 1, 4]) {
            let capacity = (number * weight * 125).div_ceil(800);
            assert!(
                load.in_flight(TargetIdx(i)) <= capacity,
                "after {number}: {:?}",
                load.in_flight
            );
        }
    }
    // Without load the bound makes no difference.
    let free = Sticky::new(Slots::new(&list), &list);
    for number in 0..1000 {
        let key = Policy::Slots(SlotsPolicy::default()).key(format!("{number}").as_bytes());
        let ask = ask(Some(key), &tried);
        assert_eq!(table.pick(&ask, &(), &mut rng), free.pick(&ask, &(), &mut rng));
    }
}

#[test]
fn the_balancer_bounds_what_it_has_in_flight() {
    let policy = Policy::Ring(RingPolicy {
        bound: Some(Bound::percent(50)),
        ..RingPolicy::default()
    });
    let balancer = Balancer::new(&policy, &Checks::default(), &targets(&[1; 10]));
    let (key, mut rng, now) = (
        policy.key(b"everybody wants this"),
        Rng::seeded(1),
        Instant::now(),
    );
    let handles: Vec<_> = (0..100)
        .filter_map(|_| balancer.pick(Some(key), &Tried::new(), now, &mut rng))
        .collect();
    assert_eq!(handles.len(), 100);
    assert!((0..10).all(|i| balancer.in_flight(TargetIdx(i)) <= 15));
    drop(handles);
    let again = balancer
        .pick(Some(key), &Tried::new(), now, &mut rng)
        .expect("there is room");
    let ring = Ring::new(Identity::NginxText, &targets(&[1; 10]));
    assert_eq!(Some(again.target()), ring.owner(key as u32));
}
