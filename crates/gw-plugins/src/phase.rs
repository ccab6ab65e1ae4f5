//! The phases of a request in which a plugin may run.

use std::fmt;

/// One phase; requests go through them in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before anything is decided about the request; instances bound to nothing only.
    Rewrite,
    /// The request's head is known; may answer in the upstream's place.
    Access,
    /// The response's head is known.
    HeaderFilter,
    /// A chunk of the response's body passes.
    BodyFilter,
    /// The exchange is over.
    Log,
}

impl Phase {
    const ALL: [Self; 5] = [
        Self::Rewrite,
        Self::Access,
        Self::HeaderFilter,
        Self::BodyFilter,
        Self::Log,
    ];

    /// The name used in documents.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rewrite => "rewrite",
            Self::Access => "access",
            Self::HeaderFilter => "header_filter",
            Self::BodyFilter => "body_filter",
            Self::Log => "log",
        }
    }
}

/// A set of phases.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Phases(u8);

impl Phases {
    /// The set of these phases.
    #[must_use]
    pub const fn of(phases: &[Phase]) -> Self {
        let mut set = 0;
        let mut position = 0;
        while position < phases.len() {
            set |= 1 << phases[position] as u8;
            position += 1;
        }
        Self(set)
    }

    /// Whether `phase` is in the set.
    #[must_use]
    pub const fn contains(self, phase: Phase) -> bool {
        self.0 & (1 << phase as u8) != 0
    }

    /// The phases, in the order of a request.
    pub fn iter(self) -> impl Iterator<Item = Phase> {
        Phase::ALL.into_iter().filter(move |phase| self.contains(*phase))
    }
}

impl fmt::Debug for Phases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
