//! Tables of any size, each with a shape that is hard in another way.

use gw_router::{HostPattern, Pattern, Profile, Router, Rule};

/// A kind of table, and of requests to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Paths of an API, without parameters.
    Literal,
    /// A parameter between literals of which each is another.
    Param,
    /// The same with numbers of six digits, scattered: paths are as long in a small table as in a large one.
    Even,
    /// Ten paths for each host, under the profile in which the path decides first.
    Host,
    /// The same where the host decides first.
    HostFirst,
    /// Literals and parameters overlap at every segment; the route is behind the last combination that is tried.
    Worst,
    /// The table of [`Shape::Param`], asked for what is not there but at the last byte.
    Miss,
}

/// A host and a path.
pub(crate) type Request = (String, String);

impl Shape {
    pub(crate) const ALL: [Self; 7] = [
        Self::Literal,
        Self::Param,
        Self::Even,
        Self::Host,
        Self::HostFirst,
        Self::Worst,
        Self::Miss,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Literal => "literal",
            Self::Param => "param",
            Self::Even => "even",
            Self::Host => "host",
            Self::HostFirst => "host_first",
            Self::Worst => "worst",
            Self::Miss => "miss",
        }
    }

    pub(crate) fn profile(self) -> Profile {
        match self {
            Self::HostFirst => Profile::HostFirst,
            _ => Profile::PathFirst,
        }
    }

    /// The path of a route.
    pub(crate) fn pattern(self, n: usize) -> String {
        match self {
            Self::Literal => {
                let words = ["users", "orders", "invoices", "events", "projects"];
                format!("/team-{}/{}/v{}/{n}", n % 97, words[n % words.len()], n % 3)
            }
            Self::Param | Self::Miss => format!("/api/v{n}/svc{n}/items/{{id}}/r{n}"),
            Self::Even => {
                let n = scattered(n);
                format!("/api/v{n}/svc{n}/items/{{id}}/r{n}")
            }
            Self::Host | Self::HostFirst => format!("/v{}/items/{{id}}", n % 10),
            Self::Worst => {
                let segment = |bit: usize, literal: &'static str, param: &'static str| match n >> bit & 1 {
                    0 => param,
                    _ => literal,
                };
                let (a, b) = (segment(0, "a", "{a}"), segment(1, "b", "{b}"));
                let (c, d) = (segment(2, "c", "{c}"), segment(3, "d", "{d}"));
                format!("/{a}/{b}/{c}/{d}/r{n}")
            }
        }
    }

    /// The rule of a route.
    pub(crate) fn rule(self, n: usize) -> Rule {
        let pattern = Pattern::parse(&self.pattern(n)).expect("a pattern of ours");
        let rule = Rule::any().pattern(pattern);
        match self {
            Self::Host | Self::HostFirst => rule.host(host(n).parse::<HostPattern>().expect("a host")),
            _ => rule,
        }
    }

    /// What is asked for to find a route, or, where the shape says so, nothing.
    pub(crate) fn request(self, n: usize) -> Request {
        let path = match self {
            Self::Literal => self.pattern(n),
            Self::Param => format!("/api/v{n}/svc{n}/items/12345/r{n}"),
            Self::Even => {
                let n = scattered(n);
                format!("/api/v{n}/svc{n}/items/12345/r{n}")
            }
            Self::Miss => format!("/api/v{n}/svc{n}/items/12345/r{n}-"),
            Self::Host | Self::HostFirst => format!("/v{}/items/12345", n % 10),
            Self::Worst => format!("/a/b/c/d/r{}", last(n)),
        };
        let host = match self {
            Self::Host | Self::HostFirst => host(n),
            _ => String::new(),
        };
        (host, path)
    }

    /// What a table of ours says to the request for a route.
    pub(crate) fn expected(self, n: usize) -> Option<usize> {
        match self {
            Self::Miss => None,
            Self::Worst => Some(last(n)),
            _ => Some(n),
        }
    }

    /// A table of ours, whose values are the numbers of its routes.
    pub(crate) fn table(self, size: usize) -> Router<usize> {
        let mut router = Router::with_profile(self.profile());
        self.grow(&mut router, size);
        router
    }

    /// Adds the routes that a table lacks.
    pub(crate) fn grow(self, router: &mut Router<usize>, size: usize) {
        for n in router.len()..size {
            router.insert(self.rule(n), n).expect("a small rule");
        }
    }
}

fn host(n: usize) -> String {
    format!("tenant-{}.example.com", n / 10)
}

/// The route near this one that stands behind parameters only.
fn last(n: usize) -> usize {
    n & !15
}

/// Six digits, others for each number below a million.
fn scattered(n: usize) -> String {
    format!("{:06}", n * 611_953 % 1_000_000)
}
