//! The policies one can choose. Configuration, no state.

use std::time::Duration;

use crate::hash;

/// How a balancer chooses among its targets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Smooth weighted round robin in nginx's order, see [`RoundRobin`](crate::RoundRobin).
    #[default]
    RoundRobin,
    /// At random by weight, see [`Random`](crate::Random).
    Random,
    /// The fewest requests in flight for its weight, see [`LeastLoaded`](crate::LeastLoaded).
    LeastRequest(LeastRequest),
    /// The faster of two, see [`LeastLatency`](crate::LeastLatency).
    PeakEwma(PeakEwma),
    /// Sticks to a key, by nginx's `hash … consistent`, see [`Ring`](crate::Ring).
    Ring(RingPolicy),
    /// Sticks to a key, with nearly even shares, see [`Slots`](crate::Slots). The best choice where no other proxy has to
    /// agree.
    Slots(SlotsPolicy),
    /// Sticks to a key, with even shares, see [`Maglev`](crate::Maglev).
    Maglev(MaglevPolicy),
}

/// The fewest requests in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeastRequest {
    /// How many targets are compared where there are too many to compare all: 2 to 8, others are brought to the nearest.
    pub choices: u8,
}

/// The faster of two, with regard to requests in flight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeakEwma {
    /// In what time a slow answer is forgotten to 37 percent.
    pub decay: Duration,
    /// What a failure counts for, unless it took longer: one that fails fast must not look fast.
    pub penalty: Duration,
}

/// The ring of nginx, Pingora and others.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingPolicy {
    /// With whom it agrees.
    pub identity: Identity,
    /// At most so much more than its share for each target.
    pub bound: Option<Bound>,
}

/// A table of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotsPolicy {
    /// How many slots, rounded up to a power of two and to eight times the number of targets; none = what the number of
    /// targets asks for. Any number will do.
    pub slots: Option<u32>,
    /// At most so much more than its share for each target.
    pub bound: Option<Bound>,
}

/// Maglev's table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaglevPolicy {
    /// How many entries, rounded up to a prime and to eight times the number of targets; none = 65,537, and 655,373 for
    /// more than 655 targets.
    pub size: Option<u32>,
    /// At most so much more than its share for each target.
    pub bound: Option<Bound>,
}

/// What of a target's name is hashed onto the ring, by the rules of those who have such a ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Identity {
    /// nginx: the text as it stands in the configuration, parted at the port.
    #[default]
    NginxText,
    /// Pingora: address and port; an IPv6 address without its brackets. A name that is no address is hashed as nginx does.
    SocketAddr,
    /// `resty.chash`, which APISIX uses: the text as a whole.
    Raw,
}

/// How much more than its share of the requests in flight a target may have before a key goes on to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    percent: u16,
}

impl Policy {
    /// Hashes what a request is to stick to, as this policy's table wants it: CRC-32 for the ring, for others XXH64.
    ///
    /// The same bytes give the same key on every machine and in every version. A request without anything to stick to has
    /// no key, which is not the key of no bytes.
    #[must_use]
    pub fn key(&self, bytes: &[u8]) -> u64 {
        match self {
            Self::Ring(_) => u64::from(hash::crc32(bytes)),
            _ => hash::xxh64(bytes),
        }
    }

    /// Whether it heeds a request's key.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        matches!(self, Self::Ring(_) | Self::Slots(_) | Self::Maglev(_))
    }

    /// The bound on a target's load, if this policy has one: then it asks for all requests in flight.
    #[must_use]
    pub fn bound(&self) -> Option<Bound> {
        match self {
            Self::Ring(RingPolicy { bound, .. })
            | Self::Slots(SlotsPolicy { bound, .. })
            | Self::Maglev(MaglevPolicy { bound, .. }) => *bound,
            Self::RoundRobin | Self::Random | Self::LeastRequest(_) | Self::PeakEwma(_) => None,
        }
    }
}

impl Default for LeastRequest {
    /// Two.
    fn default() -> Self {
        Self { choices: 2 }
    }
}

impl Default for PeakEwma {
    /// Decay in ten seconds; a failure counts for one second.
    fn default() -> Self {
        Self {
            decay: Duration::from_secs(10),
            penalty: Duration::from_secs(1),
        }
    }
}

impl Default for Bound {
    /// A quarter more.
    fn default() -> Self {
        Self::percent(25)
    }
}

impl Bound {
    /// So many percent more than its share. With less than 5 most keys move about all the time.
    #[must_use]
    pub fn percent(percent: u16) -> Self {
        Self { percent }
    }

    /// How many requests a target may have in flight, with the one that is asked for, when all have `total` with it.
    pub(crate) fn capacity(self, total: u64, weight: u64, weights: u64) -> u64 {
        let share = u128::from(total) * u128::from(weight) * (100 + u128::from(self.percent));
        let capacity = share.div_ceil((u128::from(weights) * 100).max(1));
        u64::try_from(capacity).unwrap_or(u64::MAX).max(1)
    }
}
