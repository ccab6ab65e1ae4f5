//! What expressions are, what they are worth, and what is refused.

use std::borrow::Cow;

use proptest::prelude::*;

use super::value::{Table, Tables, Value};
use super::{EvalError, Expression, ReadError};

/// A request with these headers and arguments.
struct Request(Vec<(&'static str, &'static str)>);

impl Tables for Request {
    fn named(&self, table: Table, name: &str) -> Value<'_> {
        if table != Table::Headers {
            return Value::Nil;
        }
        let mut values: Vec<Cow<'_, [u8]>> = Vec::new();
        values.extend(
            self.0
                .iter()
                .filter(|(key, _)| *key == name)
                .map(|(_, value)| Cow::Borrowed(value.as_bytes())),
        );
        match values.len() {
            0 => Value::Nil,
            1 => Value::Text(values.swap_remove(0)),
            _ => Value::List(values),
        }
    }

    fn numbered(&self, table: Table, number: usize) -> Value<'_> {
        match (table, number) {
            (Table::UriCaptures, 1) => Value::Text(Cow::Borrowed(b"first")),
            _ => Value::Nil,
        }
    }
}

fn request() -> Request {
    Request(vec![
        ("apikey", "sb_secret"),
        ("authorization", "Bearer abc.def"),
        ("twice", "a"),
        ("twice", "b"),
    ])
}

/// The value as text, or the error.
fn value(source: &str) -> String {
    let expression = Expression::read(source).unwrap_or_else(|error| panic!("{source}: {error}"));
    let request = request();
    match expression.run(&request) {
        Ok(value) => String::from_utf8(value.into_text().into_owned()).unwrap(),
        Err(error) => format!("! {error}"),
    }
}

#[test]
fn expressions_are_worth_what_lua_says() {
    let table = [
        // Values
        ("nil", "nil"),
        ("true", "true"),
        ("'a\\n\\65\\x42\\\"'", "a\nAB\""),
        ("\"it's\"", "it's"),
        ("1", "1"),
        ("0x1F", "31"),
        ("1e3", "1000"),
        ("0.1 + 0.2", "0.3"),
        ("1/3", "0.33333333333333"),
        ("2^53", "9.007199254741e+15"),
        ("1e100", "1e+100"),
        ("1/0", "inf"),
        ("-1e-7", "-1e-07"),
        // Tables
        ("headers.apikey", "sb_secret"),
        ("headers['apikey']", "sb_secret"),
        ("headers.nothing", "nil"),
        ("headers.twice", "a,b"),
        ("headers.twice[2]", "b"),
        ("headers.twice[3]", "nil"),
        ("#headers.twice", "2"),
        ("headers.twice == 'a'", "false"),
        ("uri_captures[1]", "first"),
        ("shared.x", "nil"),
        ("uuid", "nil"),
        ("jwt.claims", "! attempt to index a nil value"),
        ("headers.nothing.more", "! attempt to index a nil value"),
        // Operators
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("2 ^ 3 ^ 2", "512"),
        ("-2 ^ 2", "-4"),
        ("7 % 3", "1"),
        ("-7 % 3", "2"),
        ("10 - 2 - 3", "5"),
        ("'10' + 5", "15"),
        ("'a' .. 'b' .. 1", "ab1"),
        ("1 .. 2", "12"),
        ("'a' .. nil", "! attempt to concatenate a nil value"),
        ("1 + nil", "! attempt to perform arithmetic on a nil value"),
        ("'a' < 'b'", "true"),
        ("2 < 10", "true"),
        ("'2' < '10'", "false"),
        ("1 < 'a'", "! attempt to compare a string value"),
        ("nil < 1", "! attempt to compare a nil value"),
        ("1 == '1'", "false"),
        ("nil == false", "false"),
        ("nil ~= nil", "false"),
        ("not nil == true", "true"),
        ("#'abc'", "3"),
        ("false or nil", "nil"),
        ("nil and x.y", "nil"),
        ("'' and 'empty is true'", "empty is true"),
        ("0 and 'zero is true'", "zero is true"),
        ("nil or 'a' and 'b'", "b"),
        ("1 == 1 and 2 ~= 1", "true"),
        ("'a' .. 'b' == 'ab'", "true"),
        // The string library
        ("headers.authorization:sub(1, 6)", "Bearer"),
        ("headers.authorization:sub(8)", "abc.def"),
        ("headers.authorization:sub(-3)", "def"),
        ("headers.authorization:sub(-3, -2)", "de"),
        ("('abc'):sub(0)", "abc"),
        ("('abc'):sub(2, 99)", "bc"),
        ("('abc'):sub(3, 2)", ""),
        ("('abc'):sub(-99, 1)", "a"),
        ("headers.apikey:upper():len()", "9"),
        ("string.lower('ABC')", "abc"),
        ("string.sub(headers.apikey, 1, 2)", "sb"),
        ("('ab'):rep(3)", "ababab"),
        ("('abc'):reverse()", "cba"),
        ("tostring(1) .. tostring(nil)", "1nil"),
        ("tonumber('12') + 1", "13"),
        ("tonumber('x')", "nil"),
        (
            "headers.nothing:sub(1, 2)",
            "! attempt to index or call a function of a nil value",
        ),
        (
            "headers.twice:sub(1, 2)",
            "! attempt to index or call a function of a table value",
        ),
    ];
    for (source, expected) in table {
        assert_eq!(value(source), expected, "{source}");
    }
}

#[test]
fn patterns_match_as_luas() {
    let table = [
        ("('key=value'):match('=(.+)')", "value"),
        ("('Bearer abc'):match('^Bearer%s+(.*)$')", "abc"),
        ("('Bearer abc'):match('^%s+')", "nil"),
        ("('a1b22'):match('%d+', 3)", "22"),
        ("('abc'):match('b')", "b"),
        ("('abc'):match('()c')", "3"),
        ("('[tag]'):match('%[(%a-)%]')", "tag"),
        ("('aaa'):match('a-')", ""),
        ("('aaab'):match('a-b')", "aaab"),
        ("('x-y_z'):match('[%w_-]+')", "x-y_z"),
        ("('abc123'):match('[^%d]+')", "abc"),
        ("('b]c'):match('[]]')", "]"),
        ("('abab'):match('(ab)%1')", "ab"),
        ("('colour'):match('colou?r')", "colour"),
        ("('color'):match('colou?r')", "color"),
        ("('a.b'):find('.', 1, true)", "2"),
        ("('a.b'):find('%.')", "2"),
        ("('abc'):find('z')", "nil"),
        ("('abc'):find('', 10)", "nil"),
        ("('a b c'):gsub(' ', '')", "abc"),
        ("('a b c'):gsub(' ', '-', 1)", "a-b c"),
        ("('hello'):gsub('(l)(l)', '%2-%1')", "hel-lo"),
        ("('abc'):gsub('', '.')", ".a.b.c."),
        ("('abc'):gsub('^a', '%0%%')", "a%bc"),
        ("('a'):match('(')", "! malformed pattern"),
        ("('a'):match('[a')", "! malformed pattern"),
        ("('a'):match('%')", "! malformed pattern"),
        ("('a'):match('a)')", "! malformed pattern"),
    ];
    for (source, expected) in table {
        assert_eq!(value(source), expected, "{source}");
    }
}

#[test]
fn what_takes_an_interpreter_is_refused_by_its_place() {
    let needs = [
        ("function() return 1 end", "`function` at byte 0"),
        ("{}", "`{` at byte 0"),
        ("headers.x; y", "`;` at byte 9"),
        ("kong.client.get_ip()", "a call at byte 18"),
        ("headers.x:format(1)", "the method `format` at byte 9"),
        ("string.format('%d', 1)", "`string` at byte 0"),
        ("tostring", "`tostring` at byte 0"),
        ("('a'):sub()", "a call with these arguments"),
        ("[[text]]", "a text in long brackets"),
        ("a -- b", "a comment at byte 2"),
        ("x = 1", "`=` at byte 2"),
    ];
    for (source, expected) in needs {
        let error = Expression::read(source).unwrap_err();
        assert!(matches!(error, ReadError::NeedsLua { .. }), "{source}: {error}");
        assert!(error.to_string().contains(expected), "{source}: {error}");
    }
    for source in ["", "1 +", "(1", "headers.", "a b", "'open", "1 2", "and"] {
        let error = Expression::read(source).unwrap_err();
        assert!(
            matches!(error, ReadError::Syntax { .. } | ReadError::NeedsLua { .. }),
            "{source}: {error}"
        );
    }
}

#[test]
fn effort_is_bounded() {
    let deep = format!("{}1{}", "(".repeat(5000), ")".repeat(5000));
    let long = vec!["1"; 3000].join(" + ");
    let large = format!("'{}'", "a".repeat(20_000));
    for source in [deep, "not ".repeat(3000) + "1", long, large] {
        assert_eq!(Expression::read(&source).unwrap_err(), ReadError::TooLarge);
    }
    let run = |source: &str| {
        let expression = Expression::read(source).unwrap();
        let request = request();
        expression.run(&request).err()
    };
    assert_eq!(run("('a'):rep(1e9)"), Some(EvalError::TooMuch));
    assert_eq!(
        run("('a'):rep(60000) .. ('a'):rep(60000)"),
        Some(EvalError::TooMuch)
    );
    assert_eq!(
        run("('a'):rep(3000):match('.-.-.-.-.-b')"),
        Some(EvalError::TooMuch)
    );
    assert_eq!(
        run("('a'):rep(60000):gsub('a', ('b'):rep(1000))"),
        Some(EvalError::TooMuch)
    );
}

#[test]
fn tables_are_known_before_it_runs() {
    let expression = Expression::read("headers.a or uri_captures.b").unwrap();
    assert!(expression.uses(Table::Headers) && expression.uses(Table::UriCaptures));
    assert!(!expression.uses(Table::QueryParams) && !expression.uses(Table::Shared));
}

/// An expression over numbers and truths, and what it is worth.
#[derive(Clone, Debug)]
enum Model {
    Bool(bool),
    Number(i32),
    Not(Box<Self>),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Equal(Box<Self>, Box<Self>),
}

impl Model {
    /// Written with as few brackets as the precedence of `or` < `and` < `==` < `not` allows.
    fn write(&self, least: u8) -> String {
        let (level, text) = match self {
            Self::Bool(value) => (9, value.to_string()),
            Self::Number(number) => (9, number.to_string()),
            Self::Not(operand) => (4, format!("not {}", operand.write(4))),
            Self::And(left, right) => (2, format!("{} and {}", left.write(2), right.write(3))),
            Self::Or(left, right) => (1, format!("{} or {}", left.write(1), right.write(2))),
            Self::Equal(left, right) => (3, format!("{} == {}", left.write(3), right.write(4))),
        };
        if level < least { format!("({text})") } else { text }
    }

    fn value(&self) -> Value<'static> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(f64::from(*number)),
            Self::Not(operand) => Value::Bool(!operand.value().is_true()),
            Self::And(left, right) if left.value().is_true() => right.value(),
            Self::And(left, _) => left.value(),
            Self::Or(left, _) if left.value().is_true() => left.value(),
            Self::Or(_, right) => right.value(),
            Self::Equal(left, right) => Value::Bool(left.value() == right.value()),
        }
    }
}

fn model() -> impl Strategy<Value = Model> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Model::Bool),
        (0..4i32).prop_map(Model::Number)
    ];
    leaf.prop_recursive(5, 40, 2, |inner| {
        let two = (inner.clone(), inner.clone());
        let boxed = |(left, right): (Model, Model)| (Box::new(left), Box::new(right));
        prop_oneof![
            inner.prop_map(|operand| Model::Not(Box::new(operand))),
            two.clone()
                .prop_map(boxed)
                .prop_map(|(left, right)| Model::And(left, right)),
            two.clone()
                .prop_map(boxed)
                .prop_map(|(left, right)| Model::Or(left, right)),
            two.prop_map(boxed)
                .prop_map(|(left, right)| Model::Equal(left, right)),
        ]
    })
}

proptest! {
    #[test]
    fn precedence_is_luas(model in model()) {
        let source = model.write(0);
        let expression = Expression::read(&source).unwrap();
        let request = request();
        prop_assert_eq!(expression.run(&request), Ok(model.value()), "{}", source);
    }

    #[test]
    fn nothing_panics(source in "\\PC{0,60}") {
        if let Ok(expression) = Expression::read(&source) {
            let request = request();
            drop(expression.run(&request).map(Value::into_text));
        }
    }

    #[test]
    fn nothing_likely_panics(words in prop::collection::vec(prop::sample::select(vec![
        "headers", ".", "apikey", ":", "sub", "(", ")", "1", ",", "-3", "==", "~=", "and", "or", "not", "..", "'a%'", "[", "]",
        "match", "gsub", "#", "twice", "uri_captures", "nil", "tostring", "*", "^", "'[%a-'", "'(.-)'",
    ]), 0..14)) {
        if let Ok(expression) = Expression::read(&words.join(" ")) {
            let request = request();
            drop(expression.run(&request).map(Value::into_text));
        }
    }

    #[test]
    fn sub_takes_what_a_naive_reading_takes(text in "[a-f]{0,8}", from in -10i32..10, to in -10i32..10) {
        let length = i32::try_from(text.len()).unwrap();
        let place = |at: i32| if at < 0 { length + at + 1 } else { at };
        let expected: String = (1..=length)
            .filter(|at| *at >= place(from).max(1) && *at <= place(to))
            .filter_map(|at| text.chars().nth(usize::try_from(at - 1).unwrap()))
            .collect();
        prop_assert_eq!(value(&format!("('{text}'):sub({from}, {to})")), expected);
    }

    #[test]
    fn a_plain_pattern_is_found_where_it_is(text in "[ab]{0,12}", needle in "[ab]{1,3}") {
        let expected = text.find(&needle).map_or("nil".to_owned(), |at| (at + 1).to_string());
        prop_assert_eq!(value(&format!("('{text}'):find('{needle}')")), expected.clone());
        prop_assert_eq!(value(&format!("('{text}'):find('{needle}', 1, true)")), expected);
        let replaced = text.replace(&needle, "-");
        prop_assert_eq!(value(&format!("('{text}'):gsub('{needle}', '-')")), replaced);
    }
}
