//! Conditions: one row for each rule.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Condition, Facts, Subject};
use crate::regex::RegexError;

fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
    let lines = lines.iter();
    lines
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
        .collect()
}

fn header() -> Subject {
    Condition::header(HeaderName::from_bytes(b"X-Env").unwrap())
}

#[test]
fn headers_are_compared() {
    let cases = [
        (header().equals("dev"), &["dev"][..], true),
        (header().equals("dev"), &["Dev"], false),
        (header().equals("dev"), &["dev "], false),
        (header().equals("dev"), &[], false),
        (header().equals("dev"), &["test", "dev"], true),
        (header().equals("test, dev"), &["test", "dev"], false),
        (header().equals(""), &[""], true),
        (header().equals(""), &[], false),
        (header().ignore_case().equals("dev"), &["dEV"], true),
        (header().ignore_case().equals("DEV"), &["dev"], true),
        (header().ignore_case().equals("dev"), &["dev2"], false),
        (header().one_of(["dev", "test"]), &["test"], true),
        (header().one_of(["dev", "test"]), &["live"], false),
        (header().one_of(["dev", "test"]), &["Test"], false),
        (header().ignore_case().one_of(["TEST", "dev"]), &["Test"], true),
        (header().one_of([""; 0]), &["any"], true),
        (header().one_of([""; 0]), &[], false),
        (header().matches("^d.v").unwrap(), &["dev1"], true),
        (header().matches("^d.v").unwrap(), &["DEV"], false),
        (header().matches("^d.v").unwrap(), &["a dev"], false),
        (header().matches("d.v$").unwrap(), &["test", "a dev"], true),
        (header().matches("").unwrap(), &[], false),
        (header().ignore_case().matches("^d.v").unwrap(), &["DEV"], true),
        (header().present(), &[""], true),
        (header().present(), &[], false),
        (header().absent(), &[], true),
        (header().absent(), &[""], false),
    ];
    for (condition, values, expected) in cases {
        let mut headers = headers(&[("x-env2", "dev"), ("cookie", "x-env=dev")]);
        for value in values {
            headers.append("x-env", HeaderValue::from_static(value));
        }
        let facts = Facts::new().headers(&headers).query("x-env=dev");
        assert_eq!(condition.admits(&facts), expected, "{condition}: {values:?}");
    }
}

#[test]
fn values_are_bytes() {
    let mut headers = HeaderMap::new();
    headers.insert("x-env", HeaderValue::from_bytes(b"d\xe9v").unwrap());
    let facts = Facts::new().headers(&headers);
    assert!(header().present().admits(&facts));
    assert!(header().matches("^d").unwrap().admits(&facts));
    assert!(!header().equals("dév").admits(&facts));
    assert!(
        Condition::query("a")
            .equals("é")
            .admits(&Facts::new().query("a=%C3%A9"))
    );
}

#[test]
fn kong_headers_ignore_case() {
    let kong = |values: &[&str]| Condition::kong(HeaderName::from_static("x-env"), values).unwrap();
    let cases = [
        (kong(&["dev"]), "DEV", true),
        (kong(&["dev", "Test"]), "test", true),
        (kong(&["dev"]), "devel", false),
        (kong(&["~*^d[ae]v"]), "DEVEL", true),
        (kong(&["~*^d[ae]v"]), "a dev", false),
        (kong(&["~*dev", "x"]), "dev", false),
        (kong(&["~*dev", "x"]), "~*DEV", true),
        (kong(&[]), "any", true),
    ];
    for (condition, value, expected) in cases {
        let headers = headers(&[("x-env", value)]);
        let facts = Facts::new().headers(&headers);
        assert_eq!(condition.admits(&facts), expected, "{condition}: {value}");
        assert!(!condition.admits(&Facts::new()), "{condition}");
    }
    assert!(Condition::kong(HeaderName::from_static("x-env"), &["~*("]).is_err());
}

#[test]
fn arguments_are_compared() {
    let arg = || Condition::query("name");
    let cases = [
        (arg().equals("jack"), "name=jack", true),
        (arg().equals("jack"), "name=Jack", false),
        (arg().equals("jack"), "Name=jack", false),
        (arg().equals("jack"), "", false),
        (arg().equals("jack"), "names=jack&rename=jack", false),
        (arg().equals("jack o"), "name=jack+o", true),
        (arg().equals("jack o"), "n%61me=jack%20o", true),
        (arg().equals("jack o"), "name=jack%2520o", false),
        (arg().equals("jack"), "name=jill&name=jack", false),
        (arg().any_occurrence().equals("jack"), "name=jill&name=jack", true),
        (
            arg().any_occurrence().one_of(["jack", "joe"]),
            "name=a&name=joe",
            true,
        ),
        (arg().one_of(["jack", "j&j"]), "name=j%26j", true),
        (arg().one_of(["jack", "j&j"]), "name=j&j", false),
        (arg().ignore_case().one_of(["JACK", "joe"]), "name=j%61Ck", true),
        (arg().matches("^j.ck$").unwrap(), "name=j%40ck", true),
        (arg().matches("^j.ck$").unwrap(), "name=jill&name=jack", false),
        (
            arg().any_occurrence().matches("^j.ck$").unwrap(),
            "name=jill&name=jack",
            true,
        ),
        (arg().present(), "name", true),
        (arg().present(), "a&name=", true),
        (arg().equals(""), "name", true),
        (arg().absent(), "names", true),
        (arg().absent(), "name", false),
    ];
    for (condition, query, expected) in cases {
        assert_eq!(
            condition.admits(&Facts::new().query(query)),
            expected,
            "{condition}: {query}"
        );
    }
}

#[test]
fn cookies_are_compared() {
    let cookie = || Condition::cookie("sid");
    let cases = [
        (cookie().equals("1"), "sid=1", true),
        (cookie().equals("1"), "a=b; sid=1", true),
        (cookie().equals("1"), "SID=1", false),
        (cookie().equals("1"), "sid=2; sid=1", false),
        (cookie().any_occurrence().equals("1"), "sid=2; sid=1", true),
        (cookie().equals("a b"), "sid=a+b", false),
        (cookie().equals("%41"), "sid=%41", true),
        (cookie().matches("^[0-9]+$").unwrap(), "sid=12", true),
        (cookie().present(), "sid=", true),
        (cookie().absent(), "asid=1", true),
    ];
    for (condition, line, expected) in cases {
        let headers = headers(&[("cookie", line)]);
        assert_eq!(
            condition.admits(&Facts::new().headers(&headers)),
            expected,
            "{condition}: {line}"
        );
    }
    let headers = headers(&[("cookie", "a=b"), ("cookie", "sid=1")]);
    assert!(cookie().equals("1").admits(&Facts::new().headers(&headers)));
}

#[test]
fn what_is_not_given_is_absent() {
    for subject in [header(), Condition::query("a"), Condition::cookie("a")] {
        let facts = Facts::new();
        assert!(!subject.clone().equals("").admits(&facts));
        assert!(!subject.clone().matches("").unwrap().admits(&facts));
        assert!(!subject.clone().present().admits(&facts));
        assert!(subject.absent().admits(&facts));
    }
}

#[test]
fn equalities_are_told() {
    let condition = Condition::query("a").ignore_case().one_of(["B", "a", "b"]);
    let equality = condition.equality().unwrap();
    assert_eq!(equality.source, condition.source());
    assert_eq!(equality.values, ["a".into(), "b".into()]);
    assert!(equality.ignore_case);
    for other in [
        Condition::query("a").present(),
        Condition::query("a").absent(),
        Condition::query("a").one_of([""; 0]),
        Condition::query("a").matches("a").unwrap(),
    ] {
        assert_eq!(other.equality(), None, "{other}");
    }
}

#[test]
fn sources_hand_out_decoded_values() {
    let values = |subject: Subject| {
        let mut headers = headers(&[("x-env", "a+b"), ("cookie", "a=%41; a=b")]);
        headers.append("x-env", HeaderValue::from_static("c"));
        let facts = Facts::new().headers(&headers).query("a=%41+&a=b");
        let mut values = Vec::new();
        subject.present().source().any_value(&facts, |value| {
            values.push(String::from_utf8(value.to_vec()).unwrap());
            false
        });
        values
    };
    assert_eq!(values(header()), ["a+b", "c"]);
    assert_eq!(values(Condition::query("a")), ["A "]);
    assert_eq!(values(Condition::query("a").any_occurrence()), ["A ", "b"]);
    assert_eq!(values(Condition::cookie("a")), ["%41"]);
    assert_eq!(values(Condition::cookie("a").any_occurrence()), ["%41", "b"]);
    assert_eq!(values(Condition::cookie("b")), [""; 0]);
}

#[test]
fn conditions_are_told() {
    let cases = [
        (header().equals("a"), "header `x-env` is `a`"),
        (
            header().ignore_case().one_of(["b", "A"]),
            "header `x-env` is one of `a`, `b` in any case",
        ),
        (
            Condition::query("q").matches("^a").unwrap(),
            "query argument `q` matches `^a`",
        ),
        (
            Condition::cookie("c").ignore_case().matches("a").unwrap(),
            "cookie `c` matches `a` in any case",
        ),
        (Condition::cookie("c").present(), "cookie `c` is present"),
        (Condition::query("q").absent(), "query argument `q` is absent"),
    ];
    for (condition, expected) in cases {
        assert_eq!(condition.to_string(), expected);
    }
}

#[test]
fn equal_conditions_are_those_that_ask_the_same() {
    let one = || Condition::query("q");
    assert_eq!(one().one_of(["a", "b"]), one().one_of(["b", "a", "b"]));
    assert_eq!(one().matches("a").unwrap(), one().matches("a").unwrap());
    assert_ne!(
        one().matches("a").unwrap(),
        one().ignore_case().matches("a").unwrap()
    );
    assert_ne!(one().matches("a").unwrap(), one().matches("b").unwrap());
    assert_ne!(one().equals("a"), one().any_occurrence().equals("a"));
    assert_ne!(one().equals("a"), one().ignore_case().equals("a"));
    assert_ne!(one().present(), Condition::cookie("q").present());
}

#[test]
fn an_error_counts_from_the_start_of_the_expression() {
    for subject in [header(), header().ignore_case()] {
        let error = subject.matches("ab(").unwrap_err();
        assert!(matches!(error, RegexError::Syntax { at: 2, .. }), "{error}");
    }
    let error = header().matches(r"(\w{999}){999}").unwrap_err();
    assert_eq!(error, RegexError::TooLarge);
}

#[test]
fn cheap_conditions_cost_less() {
    let equality = header().equals("a").cost();
    assert!(header().present().cost() < equality);
    assert!(equality < header().matches("a").unwrap().cost());
    assert!(equality < Condition::query("a").equals("a").cost());
}

#[test]
fn every_line_of_a_header_counts_however_many_others_there_are() {
    for others in 0..20 {
        let mut headers = HeaderMap::new();
        for number in 0..others {
            let name: HeaderName = format!("x-other-{number}").parse().unwrap();
            headers.append(name, HeaderValue::from_static("b"));
        }
        let name = HeaderName::from_static("x-own");
        let condition = Condition::header(name.clone()).equals("b");
        let met = |headers: &HeaderMap| condition.admits(&Facts::new().headers(headers));
        assert!(!met(&headers), "{others}");
        headers.append(name.clone(), HeaderValue::from_static("a"));
        assert!(!met(&headers), "{others}");
        headers.append(name.clone(), HeaderValue::from_static("b"));
        assert!(met(&headers), "{others}");
    }
}
