//! Expressions: one row for each operator, edge and refusal.

use std::{collections::HashMap, error::Error};

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::{Expr, ExprOptions};
use crate::condition::{Facts, VariableValue, Variables};

/// One condition on a request that is only a query string.
fn check(cases: impl IntoIterator<Item = (Value, &'static str, bool)>) {
    for (condition, query, expected) in cases {
        let expr = read(json!([condition]));
        assert_eq!(
            expr.admits(&Facts::new().query(query)),
            expected,
            "{condition} on {query:?}"
        );
        let Some((variable, rest)) = condition.as_array().and_then(|items| items.split_first()) else {
            panic!("{condition} is no condition");
        };
        if rest.len() != 2 {
            continue;
        }
        let negated: Value = [variable, &json!("!"), &rest[0], &rest[1]]
            .into_iter()
            .cloned()
            .collect();
        let negated = read(json!([negated]));
        assert_eq!(
            negated.admits(&Facts::new().query(query)),
            !expected,
            "{negated} on {query:?}"
        );
    }
}

fn read(json: Value) -> Expr {
    let expr = Expr::from_json(&json).unwrap_or_else(|error| panic!("{json}: {error}"));
    let again = Expr::from_json(&expr.to_json()).unwrap_or_else(|error| panic!("{expr}: {error}"));
    assert_eq!(again, expr, "{json}: a second time");
    expr
}

#[test]
fn equal() {
    check([
        (json!(["arg_k", "==", "v"]), "k=v", true),
        (json!(["arg_k", "==", "v"]), "k=V", false),
        (json!(["arg_k", "==", "v"]), "k=vv", false),
        (json!(["arg_k", "==", "v"]), "", false),
        (json!(["arg_k", "==", ""]), "k=", true),
        (json!(["arg_k", "==", ""]), "", false),
        (json!(["arg_k", "==", "a b"]), "k=a+b", true),
        (json!(["arg_k", "==", "é"]), "k=%C3%A9", true),
        (json!(["arg_k", "==", 5]), "k=5", true),
        (json!(["arg_k", "==", 5]), "k=5.0", true),
        (json!(["arg_k", "==", 5]), "k=%205", true),
        (json!(["arg_k", "==", 5.5]), "k=5.50", true),
        (json!(["arg_k", "==", 16]), "k=0x10", true),
        (json!(["arg_k", "==", 0]), "k=-0", true),
        (json!(["arg_k", "==", 5]), "k=6", false),
        (json!(["arg_k", "==", 5]), "k=five", false),
        (json!(["arg_k", "==", 5]), "k=", false),
        (json!(["arg_k", "==", 5]), "", false),
        (json!(["arg_k", "==", "5"]), "k=5", true),
        (json!(["arg_k", "==", "5"]), "k=5.0", false),
        (json!(["arg_k", "==", true]), "k=true", false),
        (json!(["arg_k", "==", null]), "", true),
        (json!(["arg_k", "==", null]), "k=", false),
        (json!(["arg_k", "==", null]), "k", false),
    ]);
}

#[test]
fn not_equal() {
    check([
        (json!(["arg_k", "~=", "v"]), "k=v", false),
        (json!(["arg_k", "~=", "v"]), "k=w", true),
        (json!(["arg_k", "~=", "v"]), "", true),
        (json!(["arg_k", "~=", 18]), "k=18", false),
        (json!(["arg_k", "~=", 18]), "k=18.0", false),
        (json!(["arg_k", "~=", 18]), "k=16", true),
        (json!(["arg_k", "~=", 18]), "k=aa", true),
        (json!(["arg_k", "~=", 18]), "", true),
        (json!(["arg_k", "~=", "18"]), "k=18", false),
        (json!(["arg_k", "~=", "18"]), "k=18.0", true),
        (json!(["arg_k", "~=", false]), "k=false", true),
        (json!(["arg_k", "~=", null]), "k=v", true),
        (json!(["arg_k", "~=", null]), "k=", true),
        (json!(["arg_k", "~=", null]), "", false),
    ]);
}

#[test]
fn ordered() {
    check([
        (json!(["arg_k", ">", 10]), "k=11", true),
        (json!(["arg_k", ">", 10]), "k=10", false),
        (json!(["arg_k", ">", 10]), "k=9", false),
        (json!(["arg_k", ">", 9]), "k=10", true),
        (json!(["arg_k", ">", "9"]), "k=10", true),
        (json!(["arg_k", ">", -1.5]), "k=-1", true),
        (json!(["arg_k", ">", 10]), "", false),
        (json!(["arg_k", ">", 10]), "k=", false),
        (json!(["arg_k", ">", 10]), "k=x", false),
        (json!(["arg_k", ">", "x"]), "k=11", false),
        (json!(["arg_k", ">", null]), "k=11", false),
        (json!(["arg_k", ">", true]), "k=11", false),
        (json!(["arg_k", ">=", 10]), "k=10", true),
        (json!(["arg_k", ">=", 10]), "k=9.9", false),
        (json!(["arg_k", ">=", "2"]), "k=2", true),
        (json!(["arg_k", ">=", 10]), "", false),
        (json!(["arg_k", "<", 10]), "k=9", true),
        (json!(["arg_k", "<", 10]), "k=10", false),
        (json!(["arg_k", "<", 10]), "k=1e1", false),
        (json!(["arg_k", "<", 10]), "", false),
        (json!(["arg_k", "<=", 10]), "k=10", true),
        (json!(["arg_k", "<=", 10]), "k=11", false),
        (json!(["arg_k", "<=", 10]), "", false),
        (json!(["arg_k", "<=", 10]), "k=ten", false),
    ]);
}

#[test]
fn matches() {
    check([
        (json!(["arg_k", "~~", "b+"]), "k=abbc", true),
        (json!(["arg_k", "~~", "^b+"]), "k=abbc", false),
        (json!(["arg_k", "~~", "b+"]), "k=ABBC", false),
        (json!(["arg_k", "~~", "a b"]), "k=a%20b", true),
        (json!(["arg_k", "~~", "[a-z]{1,4}"]), "", false),
        (json!(["arg_k", "~~", ""]), "k=", true),
        (json!(["arg_k", "~~", ""]), "", false),
        (json!(["arg_k", "~*", "b+"]), "k=ABBC", true),
        (json!(["arg_k", "~*", "É"]), "k=%C3%A9", true),
        (json!(["arg_k", "~*", "^b+"]), "k=ABBC", false),
        (json!(["arg_k", "~*", "b+"]), "", false),
    ]);
}

#[test]
fn an_invalid_regex_matches_nothing_if_lenient() {
    for (operator, expected) in [(vec!["~~"], false), (vec!["~*"], false), (vec!["!", "~~"], true)] {
        let mut condition = vec![json!("arg_k")];
        condition.extend(operator.into_iter().map(Value::from));
        condition.push(json!("(?=a)"));
        let json = json!([condition]);
        assert!(Expr::from_json(&json).is_err());
        let expr = Expr::from_json_with(&json, ExprOptions::new().lenient_regex()).unwrap();
        assert_eq!(expr.admits(&Facts::new().query("k=a")), expected, "{json}");
        assert_eq!(expr.to_json(), json);
    }
}

#[test]
fn any_of() {
    check([
        (json!(["arg_k", "in", ["1", "2"]]), "k=1", true),
        (json!(["arg_k", "in", ["1", "2"]]), "k=2", true),
        (json!(["arg_k", "in", ["1", "2"]]), "k=4", false),
        (json!(["arg_k", "in", ["1", "2"]]), "k=1.0", false),
        (json!(["arg_k", "in", ["1", "2"]]), "", false),
        (json!(["arg_k", "in", [1, 2]]), "k=1", false),
        (json!(["arg_k", "in", [1, "1"]]), "k=1", true),
        (json!(["arg_k", "in", [true]]), "k=true", false),
        (json!(["arg_k", "in", ["a b", "c"]]), "k=a+b", true),
        (json!(["arg_k", "in", []]), "k=", false),
        (json!(["arg_k", "in", []]), "", false),
    ]);
}

#[test]
fn ip_match() {
    let loopback = json!(["arg_k", "ipmatch", "127.0.0.1"]);
    let blocks = json!(["arg_k", "ipmatch", ["10.0.0.0/8", "fe80::/10"]]);
    check([
        (loopback.clone(), "k=127.0.0.1", true),
        (loopback.clone(), "k=::ffff:127.0.0.1", true),
        (loopback.clone(), "k=127.0.0.2", false),
        (loopback.clone(), "k=localhost", false),
        (loopback, "", false),
        (blocks.clone(), "k=10.1.2.3", true),
        (blocks.clone(), "k=fe80%3A%3A1", true),
        (blocks.clone(), "k=11.1.2.3", false),
        (blocks, "k=", false),
        (json!(["arg_k", "ipmatch", ["0.0.0.0/0"]]), "k=::1", false),
    ]);
}

#[test]
fn operators_are_in_any_case() {
    check([
        (json!(["arg_k", "IN", ["1"]]), "k=1", true),
        (json!(["arg_k", "IpMatch", "::1"]), "k=::1", true),
        (json!(["arg_k", "Has", "1"]), "k=1", false),
    ]);
    let groups = json!(["or", ["arg_k", "a"], ["!and", ["arg_k", "b"], ["arg_l", "b"]]]);
    assert!(!read(groups).admits(&Facts::new().query("k=b&l=b")));
}

#[test]
fn the_short_form_is_equality_in_lower_case() {
    check([
        (json!(["arg_k", "v"]), "k=v", true),
        (json!(["arg_k", "V"]), "k=v", true),
        (json!(["arg_k", "V"]), "k=V", false),
        (json!(["arg_k", "v"]), "", false),
        (json!(["arg_k", "É"]), "k=%C3%89", true),
        (json!(["arg_k", 5]), "k=5", true),
        (json!(["arg_k", 5.0]), "k=5", true),
        (json!(["arg_k", 5]), "k=5.0", false),
        (json!(["arg_k", "!"]), "k=!", true),
        (json!(["arg_k", "=="]), "", true),
        (json!(["arg_k", "=="]), "k=", false),
        (json!(["arg_k", "~="]), "k=", true),
        (json!(["arg_k", "~="]), "", false),
    ]);
}

/// A request with everything in it.
fn with_request(test: impl FnOnce(&Facts<'_>)) {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("x-env-name", "dev"),
        ("x-env-name", "2"),
        ("cookie", "sid=a=b; Sid=1"),
    ] {
        headers.append(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    let variables = HashMap::from([
        ("consumer".to_owned(), "jack".to_owned()),
        ("arg_x".to_owned(), "1".to_owned()),
    ]);
    let facts = Facts::new()
        .method(&Method::GET)
        .host("foo.com")
        .path("/a/b")
        .query("name=jack&name=jill&Name=joe")
        .headers(&headers)
        .remote_addr("::ffff:10.0.0.1".parse().unwrap())
        .scheme("https")
        .server_port(443)
        .variables(&variables);
    test(&facts);
}

#[test]
fn variables() {
    let cases = [
        (json!(["arg_name", "==", "jack"]), true),
        (json!(["arg_name", "==", "jill"]), false),
        (json!(["arg_Name", "==", "joe"]), true),
        (json!(["arg_x", "==", null]), true),
        (json!(["http_x_env_name", "==", "dev"]), true),
        (json!(["http_X_Env_Name", "==", "dev"]), true),
        (json!(["http_x-env-name", "==", "dev"]), true),
        (json!(["http_x_env_name", "==", "DEV"]), false),
        (json!(["http_x_env_name", "==", 2.0]), true),
        (json!(["http_x_env_name", "~=", "2"]), false),
        (json!(["http_x_env_name", "~=", "3"]), true),
        (json!(["http_x_env_name", ">", 1]), true),
        (json!(["http_x_env_name", "has", "2"]), true),
        (json!(["http_x_env_name", "has", 2]), false),
        (json!(["http_x_env_name", "has", "3"]), false),
        (json!(["http_x_env", "==", null]), true),
        (json!(["cookie_sid", "==", "a=b"]), true),
        (json!(["cookie_Sid", "==", 1]), true),
        (json!(["cookie_SID", "==", null]), true),
        (json!(["host", "==", "foo.com"]), true),
        (json!(["host", "==", "Foo.com"]), false),
        (json!(["host", "~~", r"\.com$"]), true),
        (json!(["uri", "==", "/a/b"]), true),
        (json!(["uri", "has", "/a/b"]), false),
        (json!(["request_method", "in", ["GET", "POST"]]), true),
        (json!(["request_method", "==", "get"]), false),
        (json!(["remote_addr", "==", "10.0.0.1"]), true),
        (json!(["remote_addr", "==", 10]), false),
        (json!(["remote_addr", "~~", r"^10\."]), true),
        (json!(["remote_addr", "ipmatch", "10.0.0.0/8"]), true),
        (json!(["remote_addr", "ipmatch", "::ffff:10.0.0.0/104"]), true),
        (json!(["remote_addr", "in", ["10.0.0.1"]]), true),
        (json!(["scheme", "==", "https"]), true),
        (json!(["server_port", "==", "443"]), true),
        (json!(["server_port", "==", 443]), true),
        (json!(["server_port", ">", 80]), true),
        (json!(["server_port", "in", [443]]), false),
        (json!(["server_port", "in", ["443"]]), true),
        (json!(["server_port", "ipmatch", "10.0.0.1"]), false),
        (json!(["consumer", "==", "jack"]), true),
        (json!(["consumer", "has", "jack"]), false),
        (json!(["Consumer", "==", null]), true),
        (json!(["REMOTE_ADDR", "==", null]), true),
    ];
    with_request(|facts| {
        for (condition, expected) in cases {
            let expr = read(json!([condition]));
            assert_eq!(expr.admits(facts), expected, "{condition}");
        }
    });
}

#[test]
fn variables_that_are_not_given_are_absent() {
    for name in [
        "arg_a",
        "http_a",
        "cookie_a",
        "host",
        "uri",
        "request_method",
        "remote_addr",
        "scheme",
        "server_port",
        "other",
    ] {
        let cases = [
            (json!([name, "==", null]), true),
            (json!([name, "~=", null]), false),
            (json!([name, "==", ""]), false),
            (json!([name, "~=", ""]), true),
            (json!([name, "~~", ""]), false),
            (json!([name, "!", "~~", ""]), true),
            (json!([name, "!", ">", 0]), true),
            (json!([name, "in", [""]]), false),
            (json!([name, "!", "in", [""]]), true),
            (json!([name, "has", ""]), false),
            (json!([name, "ipmatch", ["0.0.0.0/0", "::/0"]]), false),
            (json!([name, "!", "ipmatch", "::/0"]), true),
        ];
        for (condition, expected) in cases {
            let expr = read(json!([condition]));
            assert_eq!(expr.admits(&Facts::new()), expected, "{condition}");
        }
    }
}

#[test]
fn any_occurrence_makes_lists_of_arguments_and_cookies() {
    let cases = [
        (json!(["arg_k", "==", "2"]), true),
        (json!(["arg_k", "~=", "2"]), false),
        (json!(["arg_k", "~=", "3"]), true),
        (json!(["arg_k", ">", 1]), true),
        (json!(["arg_k", "has", "2"]), true),
        (json!(["arg_k", "has", "3"]), false),
        (json!(["arg_k", "in", ["2", "3"]]), true),
        (json!(["cookie_k", "has", "4"]), true),
        (json!(["cookie_k", "==", "4"]), true),
    ];
    let headers = HeaderMap::from_iter([(http::header::COOKIE, HeaderValue::from_static("k=3; k=4"))]);
    let facts = Facts::new().query("k=1&k=2").headers(&headers);
    for (condition, expected) in cases {
        let options = ExprOptions::new().any_occurrence();
        let expr = Expr::from_json_with(&json!([condition]), options).unwrap();
        assert_eq!(expr.admits(&facts), expected, "{condition}");
    }
}

struct Typed;

impl Variables for Typed {
    fn value(&self, name: &str) -> Option<VariableValue<'_>> {
        Some(match name {
            "number" => VariableValue::Number(5.0),
            "nan" => VariableValue::Number(f64::NAN),
            "yes" => VariableValue::Bool(true),
            "text" => "5".into(),
            "owned" => "5".to_owned().into(),
            "empty" => VariableValue::List(Vec::new()),
            "list" => VariableValue::List(vec![
                "a".into(),
                VariableValue::Number(1.0),
                VariableValue::Bool(true),
                VariableValue::List(vec!["b".into()]),
            ]),
            _ => return None,
        })
    }
}

#[test]
fn typed_variables_are_compared_by_type() {
    let cases = [
        (json!(["number", "==", 5]), true),
        (json!(["number", "==", "5"]), false),
        (json!(["number", "in", [5]]), true),
        (json!(["number", "in", ["5"]]), false),
        (json!(["number", "<=", 5]), true),
        (json!(["number", "~~", "5"]), false),
        (json!(["nan", "==", 0]), false),
        (json!(["nan", "<", 0]), false),
        (json!(["nan", "~=", null]), true),
        (json!(["yes", "==", true]), true),
        (json!(["yes", "==", false]), false),
        (json!(["yes", "==", "true"]), false),
        (json!(["yes", "in", [true]]), true),
        (json!(["yes", "==", 1]), false),
        (json!(["text", "==", 5]), true),
        (json!(["text", "in", [5]]), false),
        (json!(["owned", "in", ["5"]]), true),
        (json!(["text", "has", "5"]), false),
        (json!(["list", "has", "a"]), true),
        (json!(["list", "has", 1]), true),
        (json!(["list", "has", "1"]), false),
        (json!(["list", "has", true]), true),
        (json!(["list", "has", "b"]), false),
        (json!(["list", "!", "has", "b"]), true),
        (json!(["list", "==", "a"]), false),
        (json!(["list", "~=", "a"]), true),
        (json!(["list", "in", ["a"]]), false),
        (json!(["list", ">", 0]), false),
        (json!(["list", "~~", "a"]), false),
        (json!(["list", "ipmatch", "::/0"]), false),
        (json!(["empty", "has", "a"]), false),
        (json!(["empty", "~=", null]), true),
        (json!(["missing", "has", "a"]), false),
        (json!(["missing", "==", null]), true),
    ];
    for (condition, expected) in cases {
        let expr = read(json!([condition]));
        let facts = Facts::new().variables(&Typed);
        assert_eq!(expr.admits(&facts), expected, "{condition}");
    }
}

#[test]
fn groups() {
    let a = || json!(["arg_a", "==", "1"]);
    let b = || json!(["arg_b", "==", "1"]);
    // What each holds for: neither, only `a`, only `b`, both.
    let cases = [
        (json!([]), [true, true, true, true], 0),
        (json!([a()]), [false, true, false, true], 1),
        (json!([[a()]]), [false, true, false, true], 1),
        (json!([a(), b()]), [false, false, false, true], 2),
        (json!([[a(), b()]]), [false, false, false, true], 2),
        (json!(["AND", a(), b()]), [false, false, false, true], 2),
        (
            json!([a(), ["AND", b(), [a(), b()]]]),
            [false, false, false, true],
            4,
        ),
        (json!(["OR", a(), b()]), [false, true, true, true], 1),
        (json!([["OR", a(), b()]]), [false, true, true, true], 1),
        (json!([["OR", a(), b()], a()]), [false, true, false, true], 2),
        (json!(["!AND", a(), b()]), [true, true, true, false], 1),
        (json!(["!OR", a(), b()]), [true, false, false, false], 1),
        (
            json!(["OR", [a(), b()], ["!OR", a(), b()]]),
            [true, false, false, true],
            1,
        ),
        (
            json!(["!OR", ["!AND", a(), b()], [a()]]),
            [false, false, false, false],
            1,
        ),
        (
            json!(["!AND", ["OR", a(), b()], ["!AND", a(), b()]]),
            [true, false, false, true],
            1,
        ),
    ];
    for (json, expected, conditions) in cases {
        let expr = read(json.clone());
        let got = ["", "a=1", "b=1", "a=1&b=1"].map(|query| expr.admits(&Facts::new().query(query)));
        assert_eq!(got, expected, "{json}");
        assert_eq!(expr.conditions(), conditions, "{json}");
    }
    assert_eq!(Expr::default(), read(json!([])));
}

#[test]
fn refusals() {
    let deep = (0..32).fold(json!(["arg_a", "1"]), |inner, _| json!([inner]));
    let cases = [
        (json!(null), "expression: null is not a condition"),
        (json!({}), "expression: an object is not a condition"),
        (
            json!(["arg_a", "==", "1"]),
            "expression: a single condition is not wrapped",
        ),
        (
            json!([1, ["arg_a", "1"]]),
            "expression: a single condition is not wrapped",
        ),
        (json!([[]]), "at [0]: empty list"),
        (
            json!(["OR", ["arg_a", "1"]]),
            "expression: `OR` joins 1 conditions",
        ),
        (json!(["!and"]), "expression: `!AND` joins 0 conditions"),
        (
            json!(["OR", ["arg_a", "1"], ["AND"]]),
            "at [2]: `AND` joins 0 conditions",
        ),
        (
            json!([["arg_a", "1"], "x"]),
            "at [1]: a string is not a condition",
        ),
        (json!([["arg_a", "1"], null]), "at [1]: null is not a condition"),
        (json!([["arg_a"]]), "at [0]: condition has no operator"),
        (json!([["arg_a", null]]), "at [0]: condition has no operator"),
        (json!([["arg_a", ["1"]]]), "at [0]: condition has no operator"),
        (json!([["arg_a", "IN"]]), "at [0]: operator `in` has no value"),
        (json!([["arg_a", ">"]]), "at [0]: operator `>` has no value"),
        (
            json!([["arg_a", "=", "1"]]),
            "at [0][1]: there is no operator `=`",
        ),
        (
            json!([["arg_a", "!", "=="]]),
            "at [0][1]: there is no operator `!`",
        ),
        (
            json!([["arg_a", 5, "1"]]),
            "at [0][1]: a number is not an operator",
        ),
        (
            json!([["arg_a", "!", "=", "1"]]),
            "at [0][2]: there is no operator `=`",
        ),
        (
            json!([["!", "arg_a", "==", "1"]]),
            "at [0]: condition has four elements without `!`",
        ),
        (
            json!([["arg_a", "==", "1", "2"]]),
            "at [0]: condition has four elements without `!`",
        ),
        (
            json!([["arg_a", "in", "1", "2", "3"]]),
            "at [0]: condition has 5 elements",
        ),
        (json!([[5, "==", "1"]]), "at [0][0]: a number is not a variable"),
        (json!([[null, "==", "1"]]), "at [0][0]: null is not a variable"),
        (json!([["", "==", "1"]]), "at [0][0]: variable `` names nothing"),
        (
            json!([["arg_", "==", "1"]]),
            "at [0][0]: variable `arg_` names nothing",
        ),
        (
            json!([["cookie_", "==", "1"]]),
            "at [0][0]: variable `cookie_` names nothing",
        ),
        (
            json!([["http_", "==", "1"]]),
            "at [0][0]: variable `http_` names nothing",
        ),
        (
            json!([["http_a b", "==", "1"]]),
            "at [0][0]: variable `http_a b` names nothing",
        ),
        (
            json!([["arg_a", "==", ["1"]]]),
            "at [0][2]: operator `==` cannot take a list",
        ),
        (
            json!([["arg_a", "~=", {}]]),
            "at [0][2]: operator `~=` cannot take an object",
        ),
        (
            json!([["arg_a", ">", [1]]]),
            "at [0][2]: operator `>` cannot take a list",
        ),
        (
            json!([["arg_a", "~~", 1]]),
            "at [0][2]: operator `~~` cannot take a number",
        ),
        (
            json!([["arg_a", "~*", "a("]]),
            "at [0][2]: value is not a regular expression",
        ),
        (
            json!([["arg_a", "in", "1"]]),
            "at [0][2]: operator `in` cannot take a string",
        ),
        (
            json!([["arg_a", "in", ["1", null]]]),
            "at [0][2][1]: operator `in` cannot take null",
        ),
        (
            json!([["arg_a", "has", ["1"]]]),
            "at [0][2]: operator `has` cannot take a list",
        ),
        (
            json!([["arg_a", "has", null]]),
            "at [0][2]: operator `has` cannot take null",
        ),
        (
            json!([["arg_a", "ipmatch", null]]),
            "at [0][2]: operator `ipmatch` cannot take null",
        ),
        (
            json!([["arg_a", "ipmatch", []]]),
            "at [0][2]: operator `ipmatch` cannot take an empty list",
        ),
        (
            json!([["arg_a", "ipmatch", ""]]),
            "at [0][2]: value of `ipmatch` is not usable",
        ),
        (
            json!(["OR", ["arg_a", "1"], ["arg_a", "!", "ipmatch", ["::1", "x"]]]),
            "at [2][3][1]: value of `ipmatch` is not usable",
        ),
        (
            json!([["arg_a", "ipmatch", ["::1", 1]]]),
            "at [0][2][1]: operator `ipmatch` cannot take a number",
        ),
        (deep, "lists nest deeper than 32"),
    ];
    for (json, expected) in cases {
        let error = Expr::from_json(&json).expect_err(&json.to_string());
        assert!(error.to_string().contains(expected), "{json}: {error}");
        assert!(error.to_string().contains("; "), "{json}: {error} has no remedy");
    }
}

#[test]
fn the_cause_of_a_refusal_is_its_source() {
    let error = Expr::from_json(&json!([["arg_a", "~~", "ab("]])).unwrap_err();
    assert_eq!(error.place.positions(), [0, 2]);
    let source = error.source().map(ToString::to_string);
    assert!(
        source.is_some_and(|source| source.starts_with("at byte 2:")),
        "{error}"
    );
    let error = Expr::from_json(&json!([["arg_a", "ipmatch", "x"]])).unwrap_err();
    let source = error.source().map(ToString::to_string);
    assert!(
        source.is_some_and(|source| source.starts_with("remote address `x`")),
        "{error}"
    );
}

#[test]
fn sizes_are_bounded() {
    type Build = fn(usize) -> Value;
    let bounds: [(usize, Build); 4] = [
        (32, |count| {
            (1..count).fold(json!(["arg_a", "1"]), |inner, _| json!([inner]))
        }),
        (1024, |count| (0..count).map(|_| json!(["arg_a", "1"])).collect()),
        (32, |count| {
            (0..count).map(|_| json!(["arg_a", "~~", "1"])).collect()
        }),
        (1 << 16, |count| {
            let values: Value = (1..count).map(|value| Value::from(value.to_string())).collect();
            json!([["arg_a", "in", values], ["remote_addr", "ipmatch", ["::1"]]])
        }),
    ];
    for (bound, build) in bounds {
        let result = Expr::from_json(&build(bound));
        assert!(result.is_ok(), "{bound}: {:?}", result.err());
        let error = Expr::from_json(&build(bound + 1)).unwrap_err();
        assert!(error.to_string().contains(&bound.to_string()), "{error}");
    }
}

#[test]
fn the_normal_form() {
    let cases = [
        (
            json!(["or", ["arg_a", "X"], ["arg_b", "IN", ["b", 1, "a"]]]),
            json!(["OR", ["arg_a", "==", "x"], ["arg_b", "in", ["a", "b", 1]]]),
        ),
        (
            json!([
                ["uri", "~~", "^/a"],
                ["arg_a", "!", "==", 1.0],
                ["host", "!", "~=", null]
            ]),
            json!([["host", "==", null], ["arg_a", "~=", 1], ["uri", "~~", "^/a"]]),
        ),
        (
            json!([["http_X-A", ">", "5"], ["http_a", "!", "HAS", true]]),
            json!([["http_a", "!", "has", true], ["http_x_a", ">", "5"]]),
        ),
        (
            json!([["remote_addr", "ipmatch", "10.1.2.3/8"]]),
            json!([["remote_addr", "ipmatch", ["10.0.0.0/8"]]]),
        ),
        (
            json!([["arg_a", "==", 1e300], ["arg_a", "<", null]]),
            json!([["arg_a", "==", 1e300], ["arg_a", "<", null]]),
        ),
    ];
    for (json, expected) in cases {
        let expr = read(json.clone());
        assert_eq!(expr.to_json(), expected, "{json}");
        assert_eq!(expr.to_string(), expected.to_string(), "{json}");
    }
}

#[test]
fn equalities_are_told() {
    let expr = read(json!([
        ["arg_a", "==", "x"],
        ["http_x_a", "in", ["b", "a", 1]],
        ["cookie_c", "==", "y"],
        ["arg_b", "==", 5],
        ["arg_c", "~=", "x"],
        ["arg_d", "!", "in", ["x"]],
        ["arg_e", "==", null],
        ["host", "==", "a.com"],
        ["OR", ["arg_f", "==", "x"], ["arg_g", "==", "x"]],
    ]));
    let told = expr.equalities().map(|equality| {
        format!(
            "{} {:?} {}",
            equality.source, equality.values, equality.ignore_case
        )
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            r#"header `x-a` ["a", "b"] false"#,
            r#"query argument `a` ["x"] false"#,
            r#"cookie `c` ["y"] false"#,
        ]
    );
}

#[test]
fn what_fails_and_what_is_needed_is_told() {
    let expr = read(json!([
        ["consumer", "==", "jack"],
        ["arg_a", "==", "1"],
        ["OR", ["plan", ">", 1], ["consumer", "~~", "^j"]],
    ]));
    assert_eq!(
        expr.caller_variables().collect::<Vec<_>>(),
        ["consumer", "plan", "consumer"]
    );
    let variables = HashMap::from([("consumer".to_owned(), "jack".to_owned())]);
    let facts = Facts::new().variables(&variables);
    assert_eq!(expr.failing(&facts), Some(json!(["arg_a", "==", "1"])));
    assert_eq!(expr.failing(&facts.query("a=1")), None);
}
