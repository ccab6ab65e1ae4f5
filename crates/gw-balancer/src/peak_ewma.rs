//! The faster of two: by a moving average of the time to answer that rises at once and falls slowly.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::random::Random;
use crate::target::{Eligible, eligible};
use crate::{Algorithm, Ask, Load, Rng, Target, TargetIdx};

/// Of two targets drawn by weight, the one with the smaller latency · (requests in flight + 1) / weight.
///
/// The cost is that of two draws, however many targets there are, and nothing is shared with other threads. A target of
/// which nothing is known is taken to be as fast as the one it is compared with. If the first of the two has nothing in
/// flight, weights do not count again: the draw has heeded them.
///
/// Whoever measures keeps an [`Ewma`] for each target and hands out its value by [`Load::latency`].
#[derive(Clone, Debug)]
pub struct LeastLatency(Random);

impl LeastLatency {
    /// A table over `targets`.
    pub fn new(targets: &[Target]) -> Self {
        Self::over(&eligible(targets))
    }

    pub(crate) fn over(eligible: &[Eligible]) -> Self {
        Self(Random::over(eligible))
    }

    /// Two that were not tried; `None` if there are no two.
    fn two(&self, ask: &Ask<'_>, rng: &mut Rng) -> Option<[Eligible; 2]> {
        if ask.tried.is_empty() {
            return self.0.two(rng);
        }
        let untried = |target| !ask.tried.contains(target);
        let one = self.0.draw(rng, untried)?;
        let other = self
            .0
            .draw(rng, |target| target != one.target && untried(target))?;
        Some([one, other])
    }
}

impl Algorithm for LeastLatency {
    fn pick(&self, ask: &Ask<'_>, load: &(impl Load + ?Sized), rng: &mut Rng) -> Option<TargetIdx> {
        let Some([one, other]) = self.two(ask, rng) else {
            return Some(self.0.draw(rng, |target| !ask.tried.contains(target))?.target);
        };
        let known = [one, other].map(|entry| load.latency(entry.target, ask.now));
        let latency = match known {
            [Some(one), Some(other)] => [one, other],
            [Some(known), None] | [None, Some(known)] => [known, known],
            [None, None] => [1.0, 1.0],
        };
        let in_flight = [one, other].map(|entry| f64::from(load.in_flight(entry.target)));
        let weights = match in_flight {
            [0.0, _] => [1.0, 1.0],
            _ => [one.weight as f64, other.weight as f64],
        };
        // Each cost times both weights: a product is quicker than a quotient.
        let costs = [
            latency[0] * (in_flight[0] + 1.0) * weights[1],
            latency[1] * (in_flight[1] + 1.0) * weights[0],
        ];
        Some(if costs[1] < costs[0] {
            other.target
        } else {
            one.target
        })
    }
}

/// How long a target takes for an answer: a sample above the average replaces it, one below it counts by the time since
/// the last. Without samples it falls too, so that a target that was slow once is asked again.
///
/// Any number of threads may observe and ask at once; there is no lock.
#[derive(Debug, Default)]
pub struct Ewma {
    since: OnceLock<Instant>,
    /// Seconds and time, see [`State`]; 0 while nothing is known.
    state: AtomicU64,
}

impl Ewma {
    /// Of which nothing is known.
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts an answer that took so long.
    pub fn observe(&self, took: Duration, now: Instant, decay: Duration) {
        self.update(now, took, |known, now| {
            let kept = known.kept(now, decay);
            known.seconds.mul_add(kept, took.as_secs_f32() * (1.0 - kept))
        });
    }

    /// Counts a failure, as an answer that took at least `penalty`: one that fails fast must not look fast. It never makes
    /// the average less.
    pub fn fail(&self, took: Duration, penalty: Duration, now: Instant) {
        self.update(now, took.max(penalty), |known, _| known.seconds);
    }

    /// Where nothing is known, begins with this many seconds: what is usual among its like.
    pub fn begin(&self, seconds: f64, now: Instant) {
        let at = self.clock(now);
        let begun = State {
            seconds: seconds as f32,
            at,
        };
        // If something became known meanwhile, so much the better.
        let (Ok(_) | Err(_)) = self.state.compare_exchange(0, begun.pack(), Relaxed, Relaxed);
    }

    /// In seconds; `None` while nothing is known.
    pub fn seconds(&self, now: Instant, decay: Duration) -> Option<f64> {
        let known = State::unpack(self.state.load(Relaxed))?;
        let elapsed = now.saturating_duration_since(*self.since.get()?);
        Some(f64::from(known.seconds * known.kept(ticks(elapsed), decay)))
    }

    /// A sample above what is known replaces it; what one below makes of it is the caller's.
    fn update(&self, now: Instant, took: Duration, below: impl Fn(State, u64) -> f32) {
        let (now, sample) = (self.clock(now), took.as_secs_f32());
        let update = |packed| {
            let next = match State::unpack(packed) {
                Some(known) if sample < known.seconds => State {
                    seconds: below(known, now),
                    at: known.at.max(now),
                },
                known => State {
                    seconds: sample,
                    at: known.map_or(now, |known| known.at.max(now)),
                },
            };
            Some(next.pack())
        };
        // The update is never refused.
        let (Ok(_) | Err(_)) = self.state.fetch_update(Relaxed, Relaxed, update);
    }

    fn clock(&self, now: Instant) -> u64 {
        ticks(now.saturating_duration_since(*self.since.get_or_init(|| now)))
    }
}

/// The median of what is known, in seconds: what a new target begins with.
pub fn median(known: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut known: Vec<f64> = known.into_iter().collect();
    let middle = known.len() / 2;
    if known.is_empty() {
        return None;
    }
    Some(*known.select_nth_unstable_by(middle, f64::total_cmp).1)
}

/// In 24 bits a positive number of seconds, in 40 bits when it was so: both change together.
#[derive(Clone, Copy)]
struct State {
    /// Above zero.
    seconds: f32,
    /// In milliseconds since the first sample.
    at: u64,
}

const AT_BITS: u32 = 40;

impl State {
    /// Note: a positive `f32` without its sign and its seven lowest bits still has five digits.
    fn pack(self) -> u64 {
        let seconds = self.seconds.clamp(1e-9, f32::MAX).to_bits() >> 7;
        (u64::from(seconds) << AT_BITS) | self.at.min((1 << AT_BITS) - 1)
    }

    fn unpack(packed: u64) -> Option<Self> {
        if packed == 0 {
            return None;
        }
        Some(Self {
            seconds: f32::from_bits(((packed >> AT_BITS) as u32) << 7),
            at: packed & ((1 << AT_BITS) - 1),
        })
    }

    /// How much of the average still counts.
    fn kept(self, now: u64, decay: Duration) -> f32 {
        let elapsed = now.saturating_sub(self.at);
        if elapsed == 0 {
            return 1.0;
        }
        (-(elapsed as f32) / 1e3 / decay.as_secs_f32().max(1e-3)).exp()
    }
}

fn ticks(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DECAY: Duration = Duration::from_secs(10);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn check(ewma: &Ewma, now: Instant, expected: f64) {
        let found = ewma.seconds(now, DECAY).unwrap();
        assert!((found / expected - 1.0).abs() < 1e-3, "{found} is not {expected}");
    }

    #[test]
    fn it_rises_at_once_and_falls_slowly() {
        let (ewma, start) = (Ewma::new(), Instant::now());
        assert_eq!(ewma.seconds(start, DECAY), None);
        ewma.observe(ms(100), start, DECAY);
        check(&ewma, start, 0.1);
        ewma.observe(ms(400), start + ms(1), DECAY);
        check(&ewma, start + ms(1), 0.4);
        // A decay later 63 percent of the way to the new sample are made.
        ewma.observe(ms(100), start + ms(10_001), DECAY);
        check(&ewma, start + ms(10_001), 0.1 + 0.3 * (-1_f64).exp());
        // And without samples it falls to nothing.
        check(
            &ewma,
            start + ms(20_001),
            (0.1 + 0.3 * (-1_f64).exp()) * (-1_f64).exp(),
        );
    }

    #[test]
    fn a_fast_failure_is_never_rewarded() {
        let (ewma, start) = (Ewma::new(), Instant::now());
        ewma.observe(ms(200), start, DECAY);
        let mut before = 0.2;
        for turn in 1..20 {
            let now = start + ms(turn * 500);
            ewma.fail(ms(1), ms(1000), now);
            let after = ewma.seconds(now, DECAY).unwrap();
            assert!(after >= before, "{after} after {before}");
            before = after;
        }
        check(&ewma, start + ms(19 * 500), 1.0);
        ewma.fail(ms(3000), ms(1000), start);
        check(&ewma, start, 3.0);
    }

    #[test]
    fn a_newcomer_begins_with_the_median_and_what_is_known_stands() {
        let (ewma, start) = (Ewma::new(), Instant::now());
        ewma.begin(0.25, start);
        check(&ewma, start, 0.25);
        ewma.begin(9.0, start);
        check(&ewma, start, 0.25);
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
    }

    #[test]
    fn extremes_neither_panic_nor_become_unknown() {
        let start = Instant::now();
        for took in [Duration::ZERO, Duration::MAX] {
            for decay in [Duration::ZERO, Duration::MAX] {
                let ewma = Ewma::new();
                ewma.observe(took, start + ms(5), decay);
                ewma.observe(took, start, decay);
                ewma.observe(took, start + Duration::from_secs(3_000_000_000), decay);
                assert!(ewma.seconds(start, decay).is_some_and(f64::is_finite));
            }
        }
    }

    #[test]
    fn threads_agree_on_the_peak() {
        let (ewma, start) = (Ewma::new(), Instant::now());
        ewma.observe(ms(1), start, DECAY);
        std::thread::scope(|scope| {
            for thread in 0..4_u64 {
                let ewma = &ewma;
                scope.spawn(move || {
                    (0..1000).for_each(|turn| ewma.observe(ms(1 + (turn + thread) % 50), start, DECAY))
                });
            }
        });
        check(&ewma, start, 0.050);
    }
}
