//! Random rules and requests, drawn from few names so that they meet often.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    sync::LazyLock,
};

use gw_router::{Condition, Endpoint, Expr, HostPattern, Lookup, Options, Profile, RegexError, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{collection::vec, option, prelude::*, sample::select};

use crate::paths::{PathSpec, asked_path, kong_path, native_path};

/// A rule as plain data, from which the router's rule is made and the oracle reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spec {
    pub(crate) paths: Vec<PathSpec>,
    pub(crate) hosts: Vec<HostSpec>,
    pub(crate) methods: Vec<Method>,
    pub(crate) conditions: Vec<ConditionSpec>,
    pub(crate) expression: Option<usize>,
    pub(crate) remotes: Vec<&'static str>,
    pub(crate) snis: Vec<&'static str>,
    pub(crate) sources: Vec<EndpointSpec>,
    pub(crate) destinations: Vec<EndpointSpec>,
    pub(crate) filter: Option<FilterSpec>,
    pub(crate) priority: i64,
    pub(crate) regex_priority: i64,
    pub(crate) age: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HostSpec {
    /// `a.com`, `*.a.com`, `a.*`, `*` or `[::1]`.
    pub(crate) name: &'static str,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Debug)]
pub(crate) struct ConditionSpec {
    pub(crate) of: Of,
    pub(crate) name: &'static str,
    /// Whether any occurrence counts, of what counts once.
    pub(crate) any: bool,
    pub(crate) ignore_case: bool,
    pub(crate) test: TestSpec,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Of {
    Header,
    Query,
    Cookie,
}

#[derive(Clone, Debug)]
pub(crate) enum TestSpec {
    OneOf(Vec<&'static str>),
    Matches(&'static str),
    Present,
    Absent,
}

/// A network and a port, of which one may be missing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct EndpointSpec {
    pub(crate) network: Option<&'static str>,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum FilterSpec {
    /// The path has more than four bytes.
    LongPath,
    /// The lookup has a query string.
    HasQuery,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RequestSpec {
    pub(crate) method: Option<Method>,
    pub(crate) host: &'static str,
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) cookies: Vec<(&'static str, &'static str)>,
    /// Decoded; `None` where the lookup is told of no query string.
    pub(crate) query: Option<Vec<(&'static str, &'static str)>>,
    pub(crate) remote: Option<IpAddr>,
    pub(crate) source: Option<SocketAddr>,
    pub(crate) destination: Option<SocketAddr>,
    pub(crate) sni: Option<&'static str>,
    pub(crate) plaintext: bool,
}

/// What a lookup borrows from.
pub(crate) struct Wire {
    headers: HeaderMap,
    query: Option<String>,
}

/// An expression, how many conditions it counts for, and what it means.
pub(crate) struct ExprSpec {
    json: &'static str,
    pub(crate) conditions: usize,
    pub(crate) holds: fn(&RequestSpec) -> bool,
}

pub(crate) const EXPRESSIONS: [ExprSpec; 7] = [
    ExprSpec {
        json: "[]",
        conditions: 0,
        holds: |_| true,
    },
    ExprSpec {
        json: r#"[["arg_a", "==", "1"]]"#,
        conditions: 1,
        holds: |request| request.first(Of::Query, "a") == Some("1"),
    },
    ExprSpec {
        json: r#"[["arg_a", "in", ["1", "2"]], ["http_x_a", "==", "1"], ["cookie_c", "==", "1"]]"#,
        conditions: 3,
        holds: |request| {
            matches!(request.first(Of::Query, "a"), Some("1" | "2"))
                && request.values(Of::Header, "x-a").contains(&"1")
                && request.first(Of::Cookie, "c") == Some("1")
        },
    },
    ExprSpec {
        json: r#"[["OR", ["arg_a", "==", "2"], ["http_x_b", "==", "1"]]]"#,
        conditions: 1,
        holds: |request| {
            request.first(Of::Query, "a") == Some("2") || request.values(Of::Header, "x-b").contains(&"1")
        },
    },
    ExprSpec {
        json: r#"[["arg_b", "~=", "1"], ["request_method", "==", "GET"]]"#,
        conditions: 2,
        holds: |request| request.first(Of::Query, "b") != Some("1") && request.method == Some(Method::GET),
    },
    ExprSpec {
        json: r#"[["arg_a", "in", []]]"#,
        conditions: 1,
        holds: |_| false,
    },
    ExprSpec {
        json: r#"[["!OR", ["arg_a", "==", "1"], ["uri", "==", "/a"]]]"#,
        conditions: 1,
        holds: |request| request.first(Of::Query, "a") != Some("1") && request.path != "/a",
    },
];

/// Compiling takes longer than everything else in these tests together.
static COMPILED: LazyLock<Vec<Expr>> = LazyLock::new(|| {
    EXPRESSIONS
        .iter()
        .map(|spec| Expr::from_json(&serde_json::from_str(spec.json).unwrap()).unwrap())
        .collect()
});
pub(crate) const VALUE_REGEXES: [&str; 3] = ["^1", "[2x]$", "X"];
type MatchingKey = (Of, &'static str, bool, bool, &'static str);

/// Every condition with an expression.
static MATCHING: LazyLock<HashMap<MatchingKey, Condition>> = LazyLock::new(|| {
    let mut all = HashMap::new();
    for (of, name) in SUBJECTS {
        for (any, ignore_case) in [(false, false), (false, true), (true, false), (true, true)] {
            for regex in VALUE_REGEXES {
                let spec = ConditionSpec {
                    of,
                    name,
                    any,
                    ignore_case,
                    test: TestSpec::Matches(regex),
                };
                all.insert((of, name, any, ignore_case, regex), spec.compiled().unwrap());
            }
        }
    }
    all
});

const SUBJECTS: [(Of, &str); 6] = [
    (Of::Header, "x-a"),
    (Of::Header, "x-b"),
    (Of::Query, "a"),
    (Of::Query, "b"),
    (Of::Cookie, "c"),
    (Of::Cookie, "d"),
];
/// Of requests and of rules alike.
const VALUES: [&str; 5] = ["1", "2", "x", "X", "1 +2"];
const HOSTS: [&str; 10] = [
    "a.com",
    "b.a.com",
    "*.a.com",
    "*.com",
    "a.*",
    "b.a.*",
    "*",
    "c.org",
    "*.b.a.com",
    "[::1]",
];
const ASKED: [&str; 14] = [
    "",
    "a.com",
    "A.COM",
    "b.a.com",
    "c.b.a.com",
    "a.com:80",
    "a.com.:80",
    "b.a.com:81",
    "a.org",
    "c.org.",
    "me@a.com",
    "[::1]",
    "[0:0::1]:80",
    "a.com:",
];
const REMOTES: [&str; 8] = [
    "10.0.0.0/8",
    "10.1.7.7/16",
    "10.1.2.3",
    "0.0.0.0/0",
    "::/0",
    "fe80::/10",
    "::ffff:10.1.2.0/120",
    "fe80::1",
];
const CLIENTS: [&str; 6] = [
    "10.1.2.3",
    "10.1.9.9",
    "11.0.0.1",
    "::ffff:10.1.2.4",
    "fe80::1",
    "::1",
];
const ENDS: [&str; 4] = [
    "10.1.2.3:80",
    "10.1.2.3:81",
    "[fe80::1]:80",
    "[::ffff:10.0.0.1]:81",
];

impl Spec {
    pub(crate) fn rule(&self) -> Rule {
        let mut rule = Rule::any()
            .priority(self.priority)
            .regex_priority(self.regex_priority)
            .age(self.age)
            .remotes(self.remotes.iter().map(|remote| remote.parse().unwrap()));
        for path in &self.paths {
            rule = rule.pattern(path.pattern());
        }
        for host in &self.hosts {
            rule = rule.host(host.text().parse::<HostPattern>().unwrap());
        }
        for method in &self.methods {
            rule = rule.method(method.clone());
        }
        for condition in &self.conditions {
            rule = rule.condition(condition.condition());
        }
        if let Some(index) = self.expression {
            rule = rule.expression(COMPILED[index].clone());
        }
        for sni in &self.snis {
            rule = rule.sni(sni.parse().unwrap());
        }
        for source in &self.sources {
            rule = rule.source(source.endpoint());
        }
        for destination in &self.destinations {
            rule = rule.destination(destination.endpoint());
        }
        match self.filter {
            None => rule,
            Some(FilterSpec::LongPath) => rule.filter(|lookup| lookup.path.len() > 4),
            Some(FilterSpec::HasQuery) => rule.filter(|lookup| lookup.query.is_some()),
        }
    }
}

impl HostSpec {
    pub(crate) fn text(&self) -> String {
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}{port}", self.name)
    }
}

impl ConditionSpec {
    fn condition(&self) -> Condition {
        match self.test {
            TestSpec::Matches(regex) => {
                MATCHING[&(self.of, self.name, self.any, self.ignore_case, regex)].clone()
            }
            _ => self.compiled().unwrap(),
        }
    }

    fn compiled(&self) -> Result<Condition, RegexError> {
        let mut subject = match self.of {
            Of::Header => Condition::header(HeaderName::from_static(self.name)),
            Of::Query => Condition::query(self.name),
            Of::Cookie => Condition::cookie(self.name),
        };
        if self.any {
            subject = subject.any_occurrence();
        }
        if self.ignore_case {
            subject = subject.ignore_case();
        }
        Ok(match &self.test {
            TestSpec::OneOf(values) => subject.one_of(values.iter().copied()),
            TestSpec::Matches(regex) => subject.matches(regex)?,
            TestSpec::Present => subject.present(),
            TestSpec::Absent => subject.absent(),
        })
    }
}

impl EndpointSpec {
    fn endpoint(&self) -> Endpoint {
        match (self.network.map(|network| network.parse().unwrap()), self.port) {
            (Some(network), Some(port)) => Endpoint::network(network).with_port(port),
            (Some(network), None) => Endpoint::network(network),
            (None, port) => Endpoint::port(port.unwrap_or(80)),
        }
    }
}

impl RequestSpec {
    /// Every value, in order.
    pub(crate) fn values(&self, of: Of, name: &str) -> Vec<&'static str> {
        let pairs = match of {
            Of::Header => self.headers.as_slice(),
            Of::Cookie => self.cookies.as_slice(),
            Of::Query => self.query.as_deref().unwrap_or_default(),
        };
        let named = pairs.iter().filter(|(known, _)| *known == name);
        named.map(|(_, value)| *value).collect()
    }

    fn first(&self, of: Of, name: &str) -> Option<&'static str> {
        self.values(of, name).first().copied()
    }

    pub(crate) fn wire(&self) -> Wire {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        // Two lines, as some clients send.
        for cookies in self.cookies.chunks(2) {
            let pairs: Vec<_> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            headers.append(http::header::COOKIE, pairs.join("; ").parse().unwrap());
        }
        let query = self.query.as_ref().map(|pairs| {
            let pairs = pairs.iter().map(|(name, value)| {
                format!(
                    "{name}={}",
                    value.replace('+', "%2b").replace(' ', "+").replace('x', "%78")
                )
            });
            pairs.collect::<Vec<_>>().join("&")
        });
        Wire { headers, query }
    }

    pub(crate) fn lookup<'q>(&'q self, wire: &'q Wire) -> Lookup<'q> {
        let mut lookup = Lookup::path_only(&self.path).host(self.host);
        if !wire.headers.is_empty() {
            lookup = lookup.headers(&wire.headers);
        }
        if let Some(method) = &self.method {
            lookup = lookup.method(method);
        }
        if let Some(query) = &wire.query {
            lookup = lookup.query(query);
        }
        if let Some(port) = self.port {
            lookup = lookup.port(port);
        }
        if let Some(remote) = self.remote {
            lookup = lookup.remote_addr(remote);
        }
        if let Some(source) = self.source {
            lookup = lookup.source(source);
        }
        if let Some(destination) = self.destination {
            lookup = lookup.destination(destination);
        }
        if let Some(sni) = self.sni {
            lookup = lookup.sni(sni);
        }
        if self.plaintext {
            lookup.plaintext()
        } else {
            lookup
        }
    }
}

/// Mostly nothing.
fn few<S: Strategy>(item: S, of: u32, most: usize) -> impl Strategy<Value = Vec<S::Value>>
where
    S::Value: Clone,
{
    prop_oneof![of - 1 => Just(Vec::new()), 1 => vec(item, 1..=most)]
}

fn condition() -> impl Strategy<Value = ConditionSpec> {
    let test = prop_oneof![
        6 => vec(select(&VALUES), 1..3).prop_map(TestSpec::OneOf),
        1 => select(&VALUE_REGEXES).prop_map(TestSpec::Matches),
        1 => Just(TestSpec::Present),
        1 => Just(TestSpec::Absent),
    ];
    let rarely = || prop::bool::weighted(0.2);
    (select(&SUBJECTS), rarely(), rarely(), test).prop_map(|((of, name), any, ignore_case, test)| {
        ConditionSpec {
            of,
            name,
            any,
            ignore_case,
            test,
        }
    })
}

fn endpoint() -> impl Strategy<Value = EndpointSpec> {
    let network = option::of(select(&REMOTES));
    let port = option::of(select(&[80_u16, 81]));
    (network, port).prop_map(|(network, port)| EndpointSpec {
        network,
        port: port.or(network.is_none().then_some(80)),
    })
}

/// Paths of both syntaxes, mostly of the one given.
pub(crate) fn spec(mostly_kong: bool, prioritised: bool) -> impl Strategy<Value = Spec> {
    let (natives, kongs) = if mostly_kong { (1, 8) } else { (8, 1) };
    let path = prop_oneof![natives => native_path(), kongs => kong_path()];
    let port = prop_oneof![3 => Just(None), 1 => select(&[80_u16, 81]).prop_map(Some)];
    let host = (select(&HOSTS), port).prop_map(|(name, port)| HostSpec { name, port });
    let priority = prop_oneof![
        8 => Just(0_i64),
        4 => -1..2_i64,
        1 => select(&[i64::MIN, i64::MIN + 1, -40_000, -32_767, 32_766, 32_767, 40_000, i64::MAX]),
    ];
    let priority = if prioritised {
        priority.boxed()
    } else {
        Just(0).boxed()
    };
    let ranks = (priority, 0..3_i64, 0..3_u64);
    let matched = (
        prop_oneof![1 => Just(Vec::new()), 8 => vec(path, 1..4)],
        few(host, 3, 3),
        few(select(methods().to_vec()), 4, 2),
        few(condition(), 3, 4),
        option::weighted(0.2, 0..EXPRESSIONS.len()),
    );
    let connection = (
        few(select(&REMOTES), 6, 3),
        few(select(&["a.com", "*.a.com"]), 12, 1),
        few(endpoint(), 16, 2),
        few(endpoint(), 16, 2),
        option::weighted(0.1, select(&[FilterSpec::LongPath, FilterSpec::HasQuery])),
    );
    (matched, connection, ranks).prop_map(|(matched, connection, ranks)| {
        let (paths, hosts, methods, conditions, expression) = matched;
        let (remotes, snis, sources, destinations, filter) = connection;
        let (priority, regex_priority, age) = ranks;
        Spec {
            paths,
            hosts,
            methods,
            conditions,
            expression,
            remotes,
            snis,
            sources,
            destinations,
            filter,
            priority,
            regex_priority,
            age,
        }
    })
}

fn methods() -> [Method; 4] {
    let other = |name: &[u8]| Method::from_bytes(name).unwrap();
    [Method::GET, Method::POST, other(b"PURGE"), other(b"LOCK")]
}

pub(crate) fn request() -> impl Strategy<Value = RequestSpec> {
    let pairs = |of: Of| {
        let names: Vec<_> = SUBJECTS
            .iter()
            .filter(|(one, _)| *one == of)
            .map(|(_, name)| *name)
            .collect();
        vec((select(names), select(&VALUES)), 0..4)
    };
    let end = || option::of(select(&ENDS).prop_map(|end| end.parse().unwrap()));
    let path = (
        option::weighted(0.95, select(methods().to_vec())),
        select(&ASKED),
        select(&[None, Some(80_u16)]),
        asked_path(),
    );
    let carried = (pairs(Of::Header), pairs(Of::Cookie), option::of(pairs(Of::Query)));
    let connection = (
        option::of(select(&CLIENTS)),
        end(),
        end(),
        select(&[None, Some("a.com"), Some("X.a.com."), Some("b.org")]),
        prop::bool::weighted(0.1),
    );
    (path, carried, connection).prop_map(|(asked, carried, connection)| {
        let (method, host, port, path) = asked;
        let (headers, cookies, query) = carried;
        let (remote, source, destination, sni, plaintext) = connection;
        RequestSpec {
            method,
            host,
            port,
            path,
            headers,
            cookies,
            query,
            remote: remote.map(|remote| remote.parse().unwrap()),
            source,
            destination,
            sni,
            plaintext,
        }
    })
}

/// All profiles, and every option of each.
pub(crate) fn options(profiles: &'static [Profile]) -> impl Strategy<Value = Options> {
    let rarely = || prop::bool::weighted(0.3);
    (select(profiles), rarely(), rarely(), any::<bool>()).prop_map(
        |(profile, case_insensitive, ignore_trailing_slash, host_fallback)| Options {
            profile,
            case_insensitive,
            ignore_trailing_slash,
            host_fallback,
        },
    )
}
