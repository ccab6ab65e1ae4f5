//! Why a router refuses a change.

use crate::router::RuleId;

/// Bound: the number of combinations of a path, a host and values of conditions in one rule, each of which has its place
/// in the tree.
pub(crate) const MAX_PLACES: usize = 1 << 16;

/// Why a rule is not inserted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InsertError {
    /// The rule has too many combinations of paths, hosts and values.
    #[error("rule combines {paths} paths, {hosts} hosts and {values} values of conditions; split it so that the product is at most {limit}", limit = MAX_PLACES)]
    TooWide {
        /// The number of its paths.
        paths: usize,
        /// The number of its hosts.
        hosts: usize,
        /// The number of combinations of values that its first conditions ask for.
        values: usize,
    },
}

/// Why a rule is not replaced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplaceError {
    /// There is no such rule.
    #[error("rule {id} is not in this router; insert it")]
    Unknown {
        /// The id that was asked for.
        id: RuleId,
    },
    /// The new rule is refused; the old one is still there.
    #[error(transparent)]
    Refused(#[from] InsertError),
}
