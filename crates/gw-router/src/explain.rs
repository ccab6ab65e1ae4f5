//! Why a rule wins: every candidate, with the key on which it lost or with what failed.

use std::{cmp::Ordering, fmt};

mod collect;
mod failure;

use collect::{Collected, Seen};
pub use failure::Failure;

use crate::{
    host::HostPattern,
    lookup::Lookup,
    order::RankKey,
    pattern::Pattern,
    request::Request,
    router::{Router, RuleId},
};

/// Bound: how many candidates an explanation lists.
const LISTED: usize = 100;

/// What a router thought of when it answered a lookup.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Explanation<'r, T> {
    /// The winner, then the other rules that match, the best first, then those that nearly match: the fewer things
    /// fail, the earlier. At most a hundred, none twice.
    pub candidates: Vec<Candidate<'r, T>>,
    /// How many more candidates there are.
    pub omitted: usize,
}

/// A rule one of whose paths fits the request, or that has none.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Candidate<'r, T> {
    /// The rule.
    pub id: RuleId,
    /// The value inserted with it.
    pub value: &'r T,
    /// Which of its paths fits the request; `None` if it has none.
    pub pattern: Option<&'r Pattern>,
    /// Which of its hosts matches; `None` if it has none, or if none does.
    pub host: Option<&'r HostPattern>,
    /// What became of it.
    pub verdict: Verdict<'r>,
}

/// What became of a candidate.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Verdict<'r> {
    /// [`Router::find`] answers with it.
    Won,
    /// It matches, but the winner ranks before it.
    Lost {
        /// The first key of the profile's order on which the two differ.
        by: RankKey,
    },
    /// It does not match, for each of these reasons: at least one.
    Failed(Vec<Failure<'r>>),
}

impl<T> Router<T> {
    /// Tells how [`Router::find`] comes to its answer: which rules match, on which key each lost against the winner,
    /// and which fail though one of their paths fits, and why.
    ///
    /// Time: that of looking at every rule that stands where the path leads, whatever its host and conditions; under
    /// [`Profile::HostFirst`](crate::Profile::HostFirst) where it leads under each host. It is meant for people.
    ///
    /// ```
    /// use gw_router::{Lookup, RankKey, Router, Rule, Verdict};
    /// use http::Method;
    ///
    /// let mut router = Router::new();
    /// router.insert(Rule::path("/users/*")?, "rest")?;
    /// router.insert(Rule::path("/users/{id}")?, "user")?;
    /// router.insert(Rule::path("/users/{id}")?.method(Method::POST), "change")?;
    ///
    /// let lookup = Lookup::new(&Method::GET, "example.com", "/users/7");
    /// let explanation = router.explain(&lookup);
    /// let told: Vec<_> = explanation.candidates.iter().map(ToString::to_string).collect();
    /// assert_eq!(told, [
    ///     "rule 1 (`/users/{id}`) won",
    ///     "rule 0 (`/users/*`) lost to a path that is more specific where the two part",
    ///     "rule 2 (`/users/{id}`) failed: the method is not POST",
    /// ]);
    /// assert_eq!(explanation.candidates[1].verdict, Verdict::Lost { by: RankKey::Shape });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn explain<'r>(&'r self, lookup: &Lookup<'_>) -> Explanation<'r, T> {
        let request = Request::new(lookup);
        let Collected {
            mut matching,
            mut failing,
        } = self.collect(&request);
        let profile = self.profile();
        let before =
            |one: &Seen<'r, T>, other: &Seen<'r, T>| one.standing.compare(&other.standing, profile).0;
        matching.sort_by(before);
        let near = |one: &Seen<'r, T>, other: &Seen<'r, T>| {
            let count = one.refusals.len().cmp(&other.refusals.len());
            count.then_with(|| before(one, other))
        };
        failing.sort_by(near);
        let omitted = (matching.len() + failing.len()).saturating_sub(LISTED);
        let best = matching.first().map(|seen| seen.standing);
        let candidates = matching.iter().chain(&failing).take(LISTED).map(|seen| {
            let verdict = match best {
                _ if !seen.refusals.is_empty() => Verdict::Failed(seen.failures(&request)),
                Some(best) if best.compare(&seen.standing, profile).0 == Ordering::Less => Verdict::Lost {
                    by: best.compare(&seen.standing, profile).1,
                },
                _ => Verdict::Won,
            };
            seen.candidate(verdict)
        });
        Explanation {
            candidates: candidates.collect(),
            omitted,
        }
    }
}

impl<'r, T> Explanation<'r, T> {
    /// The rule that [`Router::find`] answers with.
    pub fn winner(&self) -> Option<&Candidate<'r, T>> {
        self.candidates
            .first()
            .filter(|first| first.verdict == Verdict::Won)
    }
}

impl<T> fmt::Display for Candidate<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}", self.id)?;
        if let Some(pattern) = self.pattern {
            write!(f, " (`{pattern}`)")?;
        }
        write!(f, " {}", self.verdict)
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Won => f.write_str("won"),
            Self::Lost { by } => write!(f, "lost to {by}"),
            Self::Failed(failures) => {
                for (index, failure) in failures.iter().enumerate() {
                    f.write_str(if index == 0 { "failed: " } else { "; " })?;
                    failure.fmt(f)?;
                }
                Ok(())
            }
        }
    }
}
