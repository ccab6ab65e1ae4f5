//! How a router matches, set once when it is made.

use crate::order::Profile;

/// What a router does differently from its default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// The order in which rules are ranked.
    pub profile: Profile,
    /// Whether `/A` and `/a` are one path. It concerns ASCII letters, and in regular expressions all
    /// letters; the literal head of one ends before its first letter then. Parameters are reported as the request
    /// spells them.
    pub case_insensitive: bool,
    /// Whether a path with one more slash at its end is the same, and a pattern too. It does not concern wildcards
    /// over the rest of a path, nor a slash in a pattern that is all that follows a wildcard over several segments.
    pub ignore_trailing_slash: bool,
    /// Under [`Profile::HostFirst`]: whether the next less specific host is asked if no rule of the most specific one
    /// matches. If not, the most specific host that any rule names is final.
    pub host_fallback: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::PathFirst,
            case_insensitive: false,
            ignore_trailing_slash: false,
            host_fallback: true,
        }
    }
}
