//! Random rules and requests, drawn from few names so that they meet often.

use std::{collections::HashMap, sync::LazyLock};

use gw_router::{HeaderRule, HostPattern, Lookup, Pattern, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use proptest::{collection::vec, prelude::*, sample::select};

/// A rule as plain data, from which the router's rule is made and the oracle reads.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) paths: Vec<PathSpec>,
    pub(crate) hosts: Vec<HostSpec>,
    pub(crate) methods: Vec<Method>,
    pub(crate) headers: Vec<(&'static str, Vec<&'static str>)>,
    pub(crate) snis: Vec<&'static str>,
    pub(crate) priority: i64,
    pub(crate) regex_priority: i64,
    pub(crate) age: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum PathSpec {
    /// Segments, of which `None` is a parameter, then what follows the last.
    Native(Vec<Option<&'static str>>, Rest),
    Prefix(String),
    /// An expression and its literal head.
    Regex(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rest {
    Nothing,
    Slash,
    /// `*` right after the last byte, which is not a parameter.
    Raw,
    /// `/*rest`
    CatchAll,
    /// `/{*rest}`
    AtLeastOne,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct HostSpec {
    /// `a.com`, `*.a.com`, `a.*` or `*`.
    pub(crate) name: &'static str,
    pub(crate) port: Option<u16>,
}

#[derive(Clone, Debug)]
pub(crate) struct RequestSpec {
    pub(crate) method: Method,
    pub(crate) host: &'static str,
    pub(crate) port: Option<u16>,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) sni: Option<&'static str>,
}

const SEGMENTS: [&str; 5] = ["a", "b", "ab", "abc", "é"];
pub(crate) const REGEXES: [(&str, &str); 8] = [
    (r"/a", "/a"),
    (r"/ab?", "/a"),
    (r"/(?<p0>[^/]+)$", "/"),
    (r"/a/(?<p0>[a-z]+)/(?<p1>.*)", "/a/"),
    (r"/(?:a|b)/", "/"),
    (r"/ab(?<p0>c)?", "/ab"),
    (r"/a|/b", "/"),
    (r"/a/b+$", "/a/b"),
];
const HOSTS: [&str; 8] = [
    "a.com", "b.a.com", "*.a.com", "*.com", "a.*", "b.a.*", "*", "c.org",
];
const ASKED: [&str; 10] = [
    "",
    "a.com",
    "A.COM",
    "b.a.com",
    "c.b.a.com",
    "a.com:80",
    "b.a.com:81",
    "a.org",
    "c.org.",
    "me@a.com",
];

/// Compiling takes longer than everything else in these tests together.
static COMPILED: LazyLock<HashMap<&str, Pattern>> = LazyLock::new(|| {
    REGEXES
        .iter()
        .map(|(text, _)| (*text, Pattern::kong(&format!("~{text}")).unwrap()))
        .collect()
});

impl PathSpec {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Prefix(text) => text.clone(),
            Self::Regex(text, _) => format!("~{text}"),
            Self::Native(segments, rest) => {
                let mut text = String::new();
                for (index, segment) in segments.iter().enumerate() {
                    let segment = segment.map_or_else(|| format!("{{p{index}}}"), ToOwned::to_owned);
                    text.push_str(&format!("/{segment}"));
                }
                match rest {
                    Rest::Nothing if segments.is_empty() => text.push('/'),
                    Rest::Nothing => {}
                    Rest::Slash => text.push('/'),
                    Rest::Raw => text.push('*'),
                    Rest::CatchAll => text.push_str("/*rest"),
                    Rest::AtLeastOne => text.push_str("/{*rest}"),
                }
                text
            }
        }
    }

    fn pattern(&self) -> Pattern {
        match self {
            Self::Native(..) => Pattern::parse(&self.text()).unwrap(),
            Self::Prefix(text) => Pattern::kong(text).unwrap(),
            Self::Regex(text, _) => COMPILED[text].clone(),
        }
    }
}

impl Spec {
    pub(crate) fn rule(&self) -> Rule {
        let mut rule = Rule::any()
            .priority(self.priority)
            .regex_priority(self.regex_priority)
            .age(self.age);
        for path in &self.paths {
            rule = rule.pattern(path.pattern());
        }
        for host in &self.hosts {
            let port = host.port.map(|port| format!(":{port}")).unwrap_or_default();
            rule = rule.host(format!("{}{port}", host.name).parse::<HostPattern>().unwrap());
        }
        for method in &self.methods {
            rule = rule.method(method.clone());
        }
        for (name, values) in &self.headers {
            rule = rule.header(HeaderRule::new(HeaderName::from_static(name), values));
        }
        for sni in &self.snis {
            rule = rule.sni(sni.parse().unwrap());
        }
        rule
    }
}

impl RequestSpec {
    pub(crate) fn lookup(&self) -> Lookup<'_> {
        let mut lookup = Lookup::new(&self.method, self.host, &self.path).headers(&self.headers);
        if let Some(port) = self.port {
            lookup = lookup.port(port);
        }
        match self.sni {
            Some(sni) => lookup.sni(sni),
            None => lookup,
        }
    }
}

fn native() -> impl Strategy<Value = PathSpec> {
    let segment = prop_oneof![2 => select(&SEGMENTS).prop_map(Some), 1 => Just(None)];
    let rest = select(&[
        Rest::Nothing,
        Rest::Nothing,
        Rest::Slash,
        Rest::Raw,
        Rest::CatchAll,
        Rest::AtLeastOne,
    ]);
    (vec(segment, 0..4), rest).prop_map(|(segments, rest)| {
        let rest = match (rest, segments.last()) {
            (Rest::Raw, None | Some(None)) => Rest::CatchAll,
            (rest, _) => rest,
        };
        PathSpec::Native(segments, rest)
    })
}

fn kong() -> impl Strategy<Value = PathSpec> {
    let prefix = (vec(select(&SEGMENTS), 0..3), any::<bool>()).prop_map(|(segments, slash)| {
        let mut text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if slash || text.is_empty() {
            text.push('/');
        }
        PathSpec::Prefix(text)
    });
    let regex = select(&REGEXES).prop_map(|(text, head)| PathSpec::Regex(text, head));
    prop_oneof![2 => prefix, 1 => regex]
}

fn few<S: Strategy>(item: S, most: usize) -> impl Strategy<Value = Vec<S::Value>>
where
    S::Value: Clone,
{
    prop_oneof![2 => Just(Vec::new()), 1 => vec(item, 1..=most)]
}

/// Paths of both syntaxes, mostly of the one given.
pub(crate) fn spec(mostly_kong: bool) -> impl Strategy<Value = Spec> {
    let (natives, kongs) = if mostly_kong { (1, 8) } else { (8, 1) };
    let path = prop_oneof![natives => native(), kongs => kong()];
    let port = prop_oneof![3 => Just(None), 1 => select(&[80_u16, 81]).prop_map(Some)];
    let host = (select(&HOSTS), port).prop_map(|(name, port)| HostSpec { name, port });
    let methods = [Method::GET, Method::POST, Method::from_bytes(b"PURGE").unwrap()];
    let header = (select(&["x-a", "x-b"]), vec(select(&["1", "2"]), 0..2));
    (
        prop_oneof![1 => Just(Vec::new()), 8 => vec(path, 1..4)],
        few(host, 3),
        few(select(methods.to_vec()), 2),
        prop_oneof![4 => Just(Vec::new()), 1 => vec(header, 1..3)],
        prop_oneof![6 => Just(Vec::new()), 1 => vec(select(&["a.com", "*.a.com"]), 1..2)],
        prop_oneof![4 => Just(0_i64), 1 => -1..2_i64],
        0..3_i64,
        0..3_u64,
    )
        .prop_map(
            |(paths, hosts, methods, headers, snis, priority, regex_priority, age)| Spec {
                paths,
                hosts,
                methods,
                headers,
                snis,
                priority,
                regex_priority,
                age,
            },
        )
}

pub(crate) fn request() -> impl Strategy<Value = RequestSpec> {
    let segment = prop_oneof![8 => select(&SEGMENTS), 1 => Just(""), 1 => Just("zz")];
    let path = (vec(segment, 0..5), any::<bool>()).prop_map(|(segments, slash)| {
        let mut path: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if slash || path.is_empty() {
            path.push('/');
        }
        path
    });
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::from_bytes(b"PURGE").unwrap(),
    ];
    (
        select(methods.to_vec()),
        select(&ASKED),
        select(&[None, Some(80_u16)]),
        path,
        vec((select(&["x-a", "x-b"]), select(&["1", "2"])), 0..3),
        select(&[None, Some("a.com"), Some("x.a.com")]),
    )
        .prop_map(|(method, host, port, path, pairs, sni)| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            RequestSpec {
                method,
                host,
                port,
                path,
                headers,
                sni,
            }
        })
}
