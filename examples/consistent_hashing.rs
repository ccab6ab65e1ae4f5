//! Tables that stick to keys, without a gateway: who owns a key, how even shares are, what moves, where retries go.

use std::time::Instant;

use gw_balancer::{
    Algorithm, Ask, Bound, Identity, Load, Maglev, Owners, Policy, Ring, RingPolicy, Rng, Slots, SlotsPolicy,
    Sticky, Target, TargetIdx, Tried,
};

/// Caches that keep what they are asked for: a key should go to the same one as long as that is there.
fn caches(count: u32) -> Vec<Target> {
    (1..=count)
        .map(|i| Target::new(format!("10.0.0.{i}:6379"), 1))
        .collect()
}

#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn main() {
    let (ten, eleven) = (caches(10), caches(11));
    let slots = Policy::Slots(SlotsPolicy::default());
    let ring = Policy::Ring(RingPolicy::default());

    // Each table alone: build it from targets, ask it for the owner of a key.
    println!(
        "{:8} {:>18} {:>34}",
        "", "busiest of ten", "keys that move for an eleventh"
    );
    let (before, after) = (Slots::new(&ten), Slots::new(&eleven));
    show("slots", &slots, |key| (before.owner(key), after.owner(key)));
    let (before, after) = (Maglev::new(&ten), Maglev::new(&eleven));
    show("Maglev", &slots, |key| (before.owner(key), after.owner(key)));
    let (before, after) = (
        Ring::new(Identity::NginxText, &ten),
        Ring::new(Identity::NginxText, &eleven),
    );
    show("ring", &ring, |key| {
        (before.owner(key as u32), after.owner(key as u32))
    });

    // With retries: the next is always the same for the same key, and nobody is asked twice.
    let table = Sticky::new(Slots::new(&ten), &ten);
    let (mut tried, mut rng) = (Tried::new(), Rng::seeded(1));
    let key = Some(slots.key(b"user-1874"));
    for attempt in 1..=3 {
        let ask = Ask {
            key,
            tried: &tried,
            now: Instant::now(),
        };
        let target = table
            .pick(&ask, &(), &mut rng)
            .expect("ten targets are not tried in three attempts");
        println!("user-1874, attempt {attempt}: {}", ten[target.index()].name);
        tried.insert(target);
    }

    // With a bound: one key that everybody asks for does not overrun its owner.
    let bounded = Sticky::new(Slots::new(&ten), &ten).bounded(Bound::percent(50));
    let mut hot = Hot { in_flight: [0; 10] };
    for _ in 0..100 {
        let ask = Ask {
            key,
            tried: &Tried::new(),
            now: Instant::now(),
        };
        let target = bounded.pick(&ask, &hot, &mut rng).expect("there is room for all");
        hot.in_flight[target.index()] += 1;
    }
    println!("100 requests at once for one key: {:?}", hot.in_flight);
    assert!(hot.in_flight.iter().all(|&count| count <= 15));

    // A table of one's own does as well: it only has to say who comes first and who next.
    let own = Sticky::new(Modulo(10), &ten);
    let ask = Ask {
        key: Some(37),
        tried: &Tried::new(),
        now: Instant::now(),
    };
    assert_eq!(own.pick(&ask, &(), &mut rng), Some(TargetIdx(7)));
}

/// How many of 100,000 keys the busiest has of its share, and how many move, in all and between those that stay.
#[expect(clippy::print_stdout, reason = "an example shows its results")]
fn show(table: &str, policy: &Policy, owners: impl Fn(u64) -> (Option<TargetIdx>, Option<TargetIdx>)) {
    let (mut counts, mut moved, mut without_need) = ([0_u32; 10], 0, 0);
    for number in 0..100_000_u32 {
        let (Some(old), Some(new)) = owners(policy.key(&number.to_le_bytes())) else {
            continue;
        };
        counts[old.index()] += 1;
        moved += u32::from(old != new);
        without_need += u32::from(old != new && new.index() < 10);
    }
    let busiest = f64::from(counts.into_iter().max().unwrap_or(0)) / 10_000.0;
    println!("{table:8} {busiest:>17.3}x {moved:>20}, {without_need:>4} of them without need");
}

/// What ten targets have in flight.
struct Hot {
    in_flight: [u32; 10],
}

impl Load for Hot {
    fn in_flight(&self, target: TargetIdx) -> u32 {
        self.in_flight.get(target.index()).copied().unwrap_or(0)
    }

    fn total_in_flight(&self) -> u64 {
        self.in_flight.iter().copied().map(u64::from).sum()
    }

    fn latency(&self, _target: TargetIdx, _now: Instant) -> Option<f64> {
        None
    }
}

/// The remainder: nearly everything moves when the number changes.
struct Modulo(u64);

impl Owners for Modulo {
    fn find(&self, key: u64, mut accept: impl FnMut(TargetIdx) -> bool) -> Option<TargetIdx> {
        let from_here = (0..self.0).map(|step| TargetIdx(((key + step) % self.0) as u32));
        from_here.into_iter().find(|target| accept(*target))
    }
}
