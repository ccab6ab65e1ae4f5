//! How fast wrong passwords may come, by who shows them and for whom.
//!
//! By both: nobody is locked out by what others try for his name, elsewhere. And for names that there are not as for those that
//! there are: which ones there are is not told by when this is said.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::time::Instant;

use crate::limits::table::{Kept, Key, Table};

/// Bound: as many wrong passwords are taken at once, and then one for each pause.
const BURST: u64 = 20;

/// In milliseconds.
const PAUSE: u64 = 100;

/// The wrong passwords of late.
pub(super) struct Attempts {
    since: Instant,
    paces: Table<Pace>,
}

/// Until when all pauses are over, in milliseconds.
#[derive(Default)]
struct Pace(u64);

/// Where attempts come from: an address, or of IPv6 the network that one client has to itself.
struct From(IpAddr);

impl Hash for From {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self.0 {
            IpAddr::V4(address) => address.octets().hash(state),
            IpAddr::V6(address) => address.segments()[..4].hash(state),
        }
    }
}

impl Kept for Pace {
    const AT_ONCE: bool = true;

    fn is_over(&self, now: u64) -> bool {
        self.0 <= now
    }

    fn weight(&self) -> u64 {
        self.0
    }
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            since: Instant::now(),
            paces: Table::default(),
        }
    }
}

impl Attempts {
    /// Whether so many wrong ones were shown for this name, from there, that another is not looked at.
    pub(super) fn are_too_many(&self, name: &str, from: IpAddr, now: Instant) -> bool {
        let now = self.millis(now);
        let is_exceeded = |pace: &mut Pace| pace.0 > now + BURST * PAUSE;
        self.paces.with(self.key(name, from), now, is_exceeded)
    }

    /// Counts a wrong one.
    pub(super) fn count(&self, name: &str, from: IpAddr, now: Instant) {
        let now = self.millis(now);
        let later = |pace: &mut Pace| pace.0 = pace.0.max(now) + PAUSE;
        self.paces.with(self.key(name, from), now, later);
    }

    fn key(&self, name: &str, from: IpAddr) -> Key {
        self.paces.key(&(name, From(from)))
    }

    fn millis(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.since);
        u64::try_from(passed.as_millis()).unwrap_or(u64::MAX / 2)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn who_tries_many_is_slowed_down_and_nobody_else() {
        let attempts = Attempts::default();
        let start = attempts.since;
        let tries = |name: &str, from: &str, at: Instant| {
            let from = from.parse().unwrap();
            let once = |_: &usize| {
                let is_taken = !attempts.are_too_many(name, from, at);
                if is_taken {
                    attempts.count(name, from, at);
                }
                is_taken
            };
            (0..100_usize).filter(once).count()
        };
        assert_eq!(tries("ann", "10.0.0.1", start), 21);
        assert_eq!(tries("ann", "10.0.0.1", start), 0);
        assert_eq!(tries("ann", "10.0.0.2", start), 21, "another address");
        assert_eq!(tries("bob", "10.0.0.1", start), 21, "another name");
        assert_eq!(tries("ann", "2001:db8::1", start), 21);
        assert_eq!(tries("ann", "2001:db8::2:3:4:5", start), 0, "the same network");
        assert_eq!(tries("ann", "2001:db8:0:1::1", start), 21);
        assert_eq!(tries("ann", "10.0.0.1", start + Duration::from_secs(1)), 10);
        assert_eq!(tries("ann", "10.0.0.1", start + Duration::from_secs(3600)), 21);
    }
}
