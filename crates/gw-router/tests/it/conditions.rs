//! Conditions and expressions against a naive evaluator, their allocations, and hostile inputs.

use std::{collections::HashMap, fmt::Write, net::IpAddr, sync::LazyLock};

use allocation_counter::measure;
use gw_router::{Cidr, Condition, Expr, Facts};
use http::{HeaderMap, HeaderName, HeaderValue, Method, header::COOKIE};
use proptest::{collection::vec, prelude::*, sample::select};
use regex::Regex;
use serde_json::{Value, json};

/// A request in plain parts.
#[derive(Clone, Debug)]
struct Parts {
    /// With, for each, whether its bytes are escaped.
    args: Vec<(&'static str, &'static str, bool)>,
    headers: Vec<(&'static str, &'static str)>,
    cookies: Vec<(&'static str, &'static str)>,
    variables: HashMap<String, String>,
    method: Option<Method>,
    host: Option<&'static str>,
    path: Option<&'static str>,
    address: Option<IpAddr>,
    scheme: Option<&'static str>,
    port: Option<u16>,
}

const TEXTS: [&str; 12] = [
    "", "1", "1.0", "0x1", "-2", "x", "X", "a b", "10.0.0.1", "::1", "é", "%41+&=;",
];

/// What stands in headers and cookies.
const PLAIN: [&str; 8] = ["", "1", "1.0", "x", "X", "a b", "10.0.0.1", "%41+&="];

/// Regular expressions.
const EXPRESSIONS: [&str; 6] = ["x", "^x$", "", "[0-9]", "é|É", "[[:upper:]]"];

impl Parts {
    fn query(&self) -> String {
        let mut query = String::new();
        for (name, value, escaped) in &self.args {
            for (part, end) in [(name, '='), (value, '&')] {
                for byte in part.bytes() {
                    match byte {
                        b' ' if !escaped => query.push('+'),
                        _ if *escaped || !byte.is_ascii_alphanumeric() => {
                            write!(query, "%{byte:02x}").unwrap()
                        }
                        _ => query.push(byte.into()),
                    }
                }
                query.push(end);
            }
        }
        query
    }

    fn headers(&self) -> HeaderMap {
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        for cookies in self.cookies.chunks(2) {
            let line: Vec<_> = cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            headers.append(COOKIE, HeaderValue::from_str(&line.join("; ")).unwrap());
        }
        headers
    }

    /// The values of a variable, and whether they are a list.
    fn values(&self, name: &str) -> (Vec<String>, bool) {
        fn named<'v>(pairs: impl Iterator<Item = (&'v str, &'v str)>, name: &str) -> Vec<String> {
            let found = pairs.filter(|(found, _)| *found == name);
            found.map(|(_, value)| value.trim().to_owned()).collect()
        }
        let text = |text: Option<&str>| text.map(str::to_owned).into_iter().collect();
        let values: Vec<String> = match name {
            "host" => text(self.host),
            "uri" => text(self.path),
            "request_method" => text(self.method.as_ref().map(Method::as_str)),
            "scheme" => text(self.scheme),
            "remote_addr" => text(
                self.address
                    .map(|address| address.to_canonical().to_string())
                    .as_deref(),
            ),
            "server_port" => text(self.port.map(|port| port.to_string()).as_deref()),
            _ => {
                if let Some(name) = name.strip_prefix("http_") {
                    let headers = self.headers.iter().copied();
                    return (named(headers, &name.replace('_', "-").to_lowercase()), true);
                } else if let Some(name) = name.strip_prefix("arg_") {
                    let args = self.args.iter().find(|(found, ..)| *found == name);
                    text(args.map(|(_, value, _)| *value))
                } else if let Some(name) = name.strip_prefix("cookie_") {
                    let mut found = named(self.cookies.iter().copied(), name);
                    found.truncate(1);
                    found
                } else {
                    text(self.variables.get(name).map(String::as_str))
                }
            }
        };
        (values, false)
    }

    fn with_facts<R>(&self, test: impl FnOnce(&Facts<'_>) -> R) -> R {
        let (query, headers) = (self.query(), self.headers());
        let mut facts = Facts::new()
            .query(&query)
            .headers(&headers)
            .variables(&self.variables);
        if let Some(method) = &self.method {
            facts = facts.method(method);
        }
        if let Some(host) = self.host {
            facts = facts.host(host);
        }
        if let Some(path) = self.path {
            facts = facts.path(path);
        }
        if let Some(address) = self.address {
            facts = facts.remote_addr(address);
        }
        if let Some(scheme) = self.scheme {
            facts = facts.scheme(scheme);
        }
        if let Some(port) = self.port {
            facts = facts.server_port(port);
        }
        test(&facts)
    }
}

// --- The naive evaluator ---

/// What an expression should answer, read off its JSON each time.
fn naive(json: &Value, parts: &Parts) -> bool {
    let items = json.as_array().unwrap();
    let word = match items.first() {
        None => return true,
        Some(Value::Array(_)) => return items.iter().all(|item| naive(item, parts)),
        Some(word) => word.as_str().unwrap(),
    };
    let all = || items[1..].iter().all(|item| naive(item, parts));
    let any = || items[1..].iter().any(|item| naive(item, parts));
    match word.to_uppercase().as_str() {
        "AND" => all(),
        "!AND" => !all(),
        "OR" => any(),
        "!OR" => !any(),
        _ => match items.as_slice() {
            [_, value] => compare(word, "==", &json!(value.as_str().unwrap().to_lowercase()), parts),
            [_, operator, value] => compare(word, operator.as_str().unwrap(), value, parts),
            [_, _, operator, value] => !compare(word, operator.as_str().unwrap(), value, parts),
            _ => panic!("{json} is no condition"),
        },
    }
}

fn compare(variable: &str, operator: &str, value: &Value, parts: &Parts) -> bool {
    let (values, is_list) = parts.values(variable);
    let any = |test: &dyn Fn(&str) -> bool| values.iter().any(|found| test(found));
    let is = |found: &str, value: &Value| value.as_str() == Some(found);
    let ordered = |test: &dyn Fn(f64, f64) -> bool| {
        let bound = match value {
            Value::String(text) => to_number(text),
            other => other.as_f64(),
        };
        bound.is_some_and(|bound| any(&|found| to_number(found).is_some_and(|found| test(found, bound))))
    };
    match operator.to_lowercase().as_str() {
        "==" if value.is_null() => values.is_empty(),
        "==" if value.is_number() => any(&|found| to_number(found) == value.as_f64()),
        "==" => any(&|found| is(found, value)),
        "~=" => !compare(variable, "==", value, parts),
        ">" => ordered(&|found, bound| found > bound),
        ">=" => ordered(&|found, bound| found >= bound),
        "<" => ordered(&|found, bound| found < bound),
        "<=" => ordered(&|found, bound| found <= bound),
        "~~" => {
            let (regex, _) = &regexes()[value.as_str().unwrap()];
            any(&|found| regex.is_match(found))
        }
        "~*" => {
            let (_, regex) = &regexes()[value.as_str().unwrap()];
            any(&|found| regex.is_match(found))
        }
        "in" => any(&|found| value.as_array().unwrap().iter().any(|value| is(found, value))),
        "has" => is_list && any(&|found| is(found, value)),
        "ipmatch" => any(&|found| {
            let blocks = value
                .as_array()
                .map_or(std::slice::from_ref(value), Vec::as_slice);
            let blocks = blocks
                .iter()
                .map(|block| block.as_str().unwrap().parse::<Cidr>().unwrap());
            found
                .parse()
                .is_ok_and(|found| blocks.into_iter().any(|block| block.contains(found)))
        }),
        other => panic!("{other} is no operator"),
    }
}

/// With case and without.
fn regexes() -> &'static HashMap<&'static str, (Regex, Regex)> {
    static REGEXES: LazyLock<HashMap<&'static str, (Regex, Regex)>> = LazyLock::new(|| {
        let both = |text: &str| {
            (
                Regex::new(text).unwrap(),
                Regex::new(&format!("(?i){text}")).unwrap(),
            )
        };
        EXPRESSIONS.iter().map(|text| (*text, both(text))).collect()
    });
    &REGEXES
}

/// Enough of a number for the texts above.
fn to_number(text: &str) -> Option<f64> {
    match text {
        "0x1" => Some(1.0),
        _ => text.trim().parse().ok(),
    }
}

// --- Random expressions and requests ---

fn parts() -> impl Strategy<Value = Parts> {
    let names = || select(&["a", "b c"][..]);
    let pairs = (
        vec((names(), select(&TEXTS[..]), any::<bool>()), 0..4),
        vec((select(&["a", "x-a"][..]), select(&PLAIN[..])), 0..4),
        vec((select(&["a", "A"][..]), select(&PLAIN[..])), 0..4),
        proptest::option::of(select(&TEXTS[..])),
    );
    let single = (
        proptest::option::of(select(vec![Method::GET, Method::POST])),
        proptest::option::of(select(&["x", "a.com"][..])),
        proptest::option::of(select(&["/x", "x"][..])),
        proptest::option::of(select(vec!["10.0.0.1", "::1", "::ffff:10.0.0.1"])),
        proptest::option::of(select(&["http", "x"][..])),
        proptest::option::of(select(&[1, 443][..])),
    );
    (pairs, single).prop_map(
        |((args, headers, cookies, variable), (method, host, path, address, scheme, port))| Parts {
            args,
            headers,
            cookies,
            variables: variable
                .map(|value| ("caller".to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            method,
            host,
            path,
            address: address.map(|address| address.parse().unwrap()),
            scheme,
            port,
        },
    )
}

fn variable() -> impl Strategy<Value = &'static str> {
    select(
        &[
            "arg_a",
            "arg_b c",
            "http_a",
            "http_X_a",
            "cookie_a",
            "cookie_A",
            "host",
            "uri",
            "request_method",
            "remote_addr",
            "scheme",
            "server_port",
            "caller",
            "missing",
        ][..],
    )
}

fn literal() -> impl Strategy<Value = Value> {
    prop_oneof![
        4 => select(&TEXTS[..]).prop_map(Value::from),
        2 => select(&[1, -2, 443][..]).prop_map(Value::from),
        1 => Just(json!(1.5)),
        1 => any::<bool>().prop_map(Value::from),
    ]
}

fn condition() -> impl Strategy<Value = Value> {
    let blocks = select(&["10.0.0.0/8", "::1", "0.0.0.0/0", "::/0"][..]).prop_map(Value::from);
    let comparison = prop_oneof![
        (
            select(&["==", "~="][..]),
            prop_oneof![6 => literal(), 1 => Just(Value::Null)]
        ),
        (
            select(&[">", ">=", "<", "<="][..]),
            prop_oneof![6 => literal(), 1 => Just(Value::Null)]
        ),
        (
            select(&["~~", "~*"][..]),
            select(&EXPRESSIONS[..]).prop_map(Value::from)
        ),
        (
            select(&["in", "IN"][..]),
            vec(literal(), 0..4).prop_map(Value::from)
        ),
        (Just("has"), literal()),
        (
            select(&["ipmatch", "IPmatch"][..]),
            prop_oneof![blocks.clone(), vec(blocks, 1..3).prop_map(Value::from)]
        ),
    ];
    prop_oneof![
        1 => (variable(), select(&["x", "X", "1"][..])).prop_map(|(name, value)| json!([name, value])),
        8 => (variable(), any::<bool>(), comparison).prop_map(|(name, negated, (operator, value))| {
            if negated { json!([name, "!", operator, value]) } else { json!([name, operator, value]) }
        }),
    ]
}

fn expression() -> impl Strategy<Value = Value> {
    let node = condition().prop_recursive(4, 24, 4, |inner| {
        let words = select(&["AND", "OR", "!AND", "!OR", "or", "!and"][..]).prop_map(Value::from);
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Value::from),
            (words, vec(inner, 2..4)).prop_map(|(word, mut operands)| {
                operands.insert(0, word);
                Value::from(operands)
            }),
        ]
    });
    vec(node, 0..4).prop_map(Value::from)
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(cases)
    }
}

proptest! {
    #![proptest_config(config(3000))]

    #[test]
    fn expressions_answer_as_the_naive_evaluator(json in expression(), requests in vec(parts(), 1..6)) {
        let expr = Expr::from_json(&json).unwrap();
        let again = Expr::from_json(&expr.to_json()).unwrap();
        prop_assert_eq!(&again, &expr);
        for parts in requests {
            let expected = naive(&json, &parts);
            let (got, failing) = parts.with_facts(|facts| (expr.admits(facts), expr.failing(facts)));
            prop_assert_eq!(got, expected, "{} on {:?}", json, parts);
            prop_assert_eq!(failing.is_none(), expected);
            if let Some(failing) = failing {
                prop_assert!(!naive(&failing, &parts), "{} of {} on {:?}", failing, json, parts);
            }
            let possible = expr.equalities().all(|equality| parts.with_facts(|facts| {
                let among = |value: &[u8]| equality.values.iter().any(|one| one.as_bytes() == value);
                equality.source.any_value(facts, among)
            }));
            prop_assert!(possible || !expected, "{} on {:?}", json, parts);
        }
    }

}

proptest! {
    #![proptest_config(config(500))]

    #[test]
    fn conditions_answer_as_the_same_expression(
        values in vec(select(&TEXTS[..]), 1..4),
        regex in select(&EXPRESSIONS[..]),
        requests in vec(parts(), 4),
    ) {
        let subjects = [
            (Condition::query("b c"), "arg_b c"),
            (Condition::header(HeaderName::from_static("x-a")), "http_x_a"),
            (Condition::cookie("a"), "cookie_a"),
        ];
        for (subject, variable) in subjects {
            let pairs = [
                (subject.clone().equals(values[0]), json!([variable, "==", values[0]])),
                (subject.clone().one_of(values.iter().copied()), json!([variable, "in", values])),
                (subject.clone().matches(regex).unwrap(), json!([variable, "~~", regex])),
                (subject.clone().ignore_case().matches(regex).unwrap(), json!([variable, "~*", regex])),
                (subject.clone().present(), json!([variable, "~=", null])),
                (subject.absent(), json!([variable, "==", null])),
            ];
            let both = pairs.iter().flat_map(|pair| requests.iter().map(move |parts| (pair, parts)));
            for ((condition, json), parts) in both {
                let got = parts.with_facts(|facts| condition.admits(facts));
                prop_assert_eq!(got, naive(json, parts), "{} on {:?}", condition, parts);
            }
        }
    }
}

// --- Allocations and bounds ---

/// Allocations of one check, whose answer must be `expected`.
fn allocations(admits: impl Fn() -> bool, expected: bool) -> u64 {
    // A regular expression sets up its scratch space on its first search.
    assert_eq!(admits(), expected);
    let mut got = None;
    let info = measure(|| got = Some(admits()));
    assert_eq!(got, Some(expected));
    info.count_total
}

#[test]
fn checks_allocate_nothing() {
    let variables = HashMap::from([("caller".to_owned(), "x".to_owned())]);
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("1"));
    headers.append("x-a", HeaderValue::from_static("X"));
    headers.append(COOKIE, HeaderValue::from_static("b=2; a=1"));
    let facts = Facts::new()
        .method(&Method::GET)
        .host("a.com")
        .path("/a/b")
        .query("%62=2&a=x+%C3%A9&%61=2&n=1%30")
        .headers(&headers)
        .remote_addr("fe80::1234:5678:9abc:def0".parse().unwrap())
        .scheme("https")
        .server_port(65535)
        .variables(&variables);
    let expressions = [
        json!([["arg_a", "==", "x é"], ["arg_n", "==", 10], ["arg_b", "==", "2"]]),
        json!([["arg_a", "~*", "É$"], ["arg_a", "!", "~~", "É$"]]),
        json!([["arg_a", "in", ["x é", "y", 1]], ["arg_n", ">", 9]]),
        json!([
            ["http_x_a", "==", 1],
            ["http_X_A", "has", "X"],
            ["http_x_a", "~~", "X"]
        ]),
        json!([["cookie_a", "==", "1"], ["cookie_c", "==", null]]),
        json!([
            ["remote_addr", "ipmatch", ["::/0", "fe80::/10"]],
            ["remote_addr", "~~", "def0$"]
        ]),
        json!([["remote_addr", "in", ["fe80::1234:5678:9abc:def0", "::1"]]]),
        json!([
            ["server_port", "==", "65535"],
            ["server_port", "<=", 65535],
            ["server_port", "~~", "^6"]
        ]),
        json!([
            "!OR",
            ["host", "~=", "a.com"],
            ["!AND", ["uri", "~~", "b$"], ["scheme", "==", "https"]]
        ]),
        json!([["request_method", "in", ["GET", "HEAD"]], ["caller", "==", "x"]]),
    ];
    for json in expressions {
        let expr = Expr::from_json(&json).unwrap();
        assert_eq!(allocations(|| expr.admits(&facts), true), 0, "{json}");
    }
    let header = || Condition::header(HeaderName::from_static("x-a"));
    let conditions = [
        (header().equals("X"), true),
        (header().ignore_case().one_of(["x", "y"]), true),
        (header().matches("^Y").unwrap(), false),
        (Condition::query("a").one_of(["x é", "y"]), true),
        (Condition::query("a").any_occurrence().equals("2"), true),
        (Condition::query("a").ignore_case().matches("É").unwrap(), true),
        (Condition::cookie("a").one_of(["1", "2"]), true),
        (Condition::cookie("c").absent(), true),
    ];
    for (condition, expected) in conditions {
        assert_eq!(
            allocations(|| condition.admits(&facts), expected),
            0,
            "{condition}"
        );
    }
}

#[test]
fn a_long_request_costs_its_length_once() {
    // Were the cost quadratic, each of these would take an hour.
    const LENGTH: usize = 512 << 10;
    let queries = [
        ("&".repeat(LENGTH), false),
        ("a".repeat(LENGTH), false),
        ("b&".repeat(LENGTH / 2), false),
        ("%".repeat(LENGTH), false),
        ("%6".repeat(LENGTH / 2), false),
        (format!("{}a=x", "=&".repeat(LENGTH / 2)), true),
        (format!("a={}", "%78".repeat(LENGTH / 3)), true),
    ];
    let expr = Expr::from_json(&json!([["arg_a", "~~", "^x"]])).unwrap();
    let equal = Expr::from_json(&json!([["arg_a", "==", "x"]])).unwrap();
    for (query, expected) in &queries {
        let facts = Facts::new().query(query);
        assert_eq!(expr.admits(&facts), *expected);
        assert_eq!(allocations(|| equal.admits(&facts), query.ends_with("a=x")), 0);
    }
    let mut headers = HeaderMap::new();
    let line = format!("{}a=x", "=;".repeat(LENGTH / 2));
    headers.insert(COOKIE, HeaderValue::from_str(&line).unwrap());
    let cookie = Condition::cookie("a").equals("x");
    assert_eq!(
        allocations(|| cookie.admits(&Facts::new().headers(&headers)), true),
        0
    );
}

#[test]
fn a_deep_document_is_refused_on_a_small_stack() {
    let small = std::thread::Builder::new().stack_size(256 << 10);
    let thread = small.spawn(|| {
        // As deep as a document from JSON text can be.
        let deep = (0..127).fold(json!(["arg_a", "x"]), |inner, _| json!([inner]));
        assert!(Expr::from_json(&deep).is_err());
        let word = |inner| json!(["!OR", ["arg_b", "y"], inner]);
        let deepest = (1..32).fold(json!(["arg_a", "x"]), |inner, _| word(inner));
        let expr = Expr::from_json(&deepest).unwrap();
        // An odd number of negations.
        assert!(!expr.admits(&Facts::new().query("a=x")));
        assert!(expr.admits(&Facts::new().query("a=y")));
        assert!(Expr::from_json(&expr.to_json()).is_ok());
    });
    thread.unwrap().join().unwrap();
}
