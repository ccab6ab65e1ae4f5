//! A wall clock that is read once a second, and in between told by the steady one.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

/// For so long the steady clock is believed: if the wall clock is set, that is noticed after this.
const BELIEVED: Duration = Duration::from_secs(1);

/// One worker's. Threads that share a worker's number may set it at once: each then sets what is true.
#[derive(Debug)]
pub(crate) struct WallClock {
    /// What moments are counted from.
    start: Instant,
    /// From the start to when the wall clock was read, in nanoseconds; this and no earlier moment is the last that it tells.
    read: AtomicU64,
    /// Wall time of the start as it was then, in nanoseconds since 1970.
    began: AtomicU64,
}

impl WallClock {
    pub(crate) fn new() -> Self {
        let clock = Self {
            start: Instant::now(),
            read: AtomicU64::new(0),
            began: AtomicU64::new(0),
        };
        clock.set();
        clock
    }

    /// What the wall clock showed at a moment that has just been, to within what the clocks differ in a second.
    pub(crate) fn at(&self, moment: Instant) -> SystemTime {
        let since = nanos(moment.saturating_duration_since(self.start));
        if since.saturating_sub(self.read.load(Relaxed)) > nanos(BELIEVED) {
            self.set();
        }
        let unix = self.began.load(Relaxed).saturating_add(since);
        SystemTime::UNIX_EPOCH + Duration::from_nanos(unix)
    }

    fn set(&self) {
        let (wall, read) = (SystemTime::now(), nanos(self.start.elapsed()));
        let unix = nanos(wall.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default());
        self.began.store(unix.saturating_sub(read), Relaxed);
        self.read.store(read, Relaxed);
    }
}

/// Nanoseconds; those of 584 years at most.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_tells_what_the_wall_clock_shows() {
        let clock = WallClock::new();
        let before = SystemTime::now();
        let told = clock.at(Instant::now());
        // The clock of the system may be set meanwhile, by a little.
        let off = told
            .duration_since(before)
            .unwrap_or_else(|error| error.duration());
        assert!(off < Duration::from_secs(60), "{off:?}");
        let moment = Instant::now();
        assert_eq!(
            clock.at(moment + Duration::from_millis(250)),
            clock.at(moment) + Duration::from_millis(250)
        );
    }

    #[test]
    fn what_it_was_told_long_ago_is_not_believed() {
        let clock = WallClock::new();
        clock.began.store(0, Relaxed); // as if somebody had since set the wall clock
        let year = Duration::from_secs(365 * 86_400);
        assert!(clock.at(Instant::now()) < SystemTime::UNIX_EPOCH + year);
        let later = clock.at(Instant::now() + BELIEVED * 2);
        assert!(later > SystemTime::UNIX_EPOCH + 40 * year);
    }
}
