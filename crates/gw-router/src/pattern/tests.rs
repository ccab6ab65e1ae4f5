//! What patterns mean, are refused for, and are written as.

use super::{MAX_PATTERN, ParamSyntax, Pattern, PatternError, Tail};
use crate::RegexError;

#[test]
fn patterns_have_the_parameters_they_name() {
    let cases: &[(&str, &[&str], bool)] = &[
        ("/", &[], true),
        ("/a/b", &[], true),
        ("/a:b", &[], true),
        (r"/\:a", &[], true),
        (r"/a\*", &[], true),
        (r"\*", &[], true),
        ("/{{a}}", &[], true),
        (r"/a\\b", &[], true),
        ("*", &[], false),
        ("/a*", &[], false),
        ("/a/*", &[], false),
        ("/{a}", &["a"], false),
        ("/:a/x/{b}/", &["a", "b"], false),
        ("/a/*rest", &["rest"], false),
        ("/:a/{*rest}", &["a", "rest"], false),
        ("/a{*rest}", &["rest"], false),
        ("/:a.b-c_d", &["a.b-c_d"], false),
        ("/a{b}", &["b"], false),
        ("/v{a}.json", &["a"], false),
        ("/{a}-{b}.{c}", &["a", "b", "c"], false),
        ("/a/*rest/b", &["rest"], false),
        ("/*/b/{c}", &["c"], false),
        ("/{*a}.js", &["a"], false),
        ("/{*a}/x/{*b}", &["a", "b"], false),
        (r"/\{a\}", &[], true),
    ];
    for (text, params, literal) in cases {
        let pattern = Pattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pattern.params().collect::<Vec<_>>(), *params, "{text}");
        assert_eq!(pattern.is_literal(), *literal, "{text}");
        assert_eq!(pattern.to_string().parse(), Ok(pattern), "{text}");
    }
}

#[test]
fn escapes_stand_for_the_character() {
    for (text, length) in [(r"/\:a", 3), ("/{{a}}", 4), (r"/a\*", 3), (r"/a\\", 3)] {
        assert_eq!(Pattern::parse(text).unwrap().shape().literal, length, "{text}");
    }
}

#[test]
fn mistakes_are_named_with_their_place() {
    let text = Box::<str>::from;
    let name = |pattern: &str, name: &str| PatternError::Name {
        text: pattern.into(),
        name: name.into(),
    };
    let cases = [
        ("", PatternError::NotAbsolute { text: text("") }),
        ("a", PatternError::NotAbsolute { text: text("a") }),
        ("{*a}", PatternError::NotAbsolute { text: text("{*a}") }),
        (
            "/{a",
            PatternError::Brace {
                text: text("/{a"),
                at: 1,
            },
        ),
        (
            "/{*a",
            PatternError::Brace {
                text: text("/{*a"),
                at: 1,
            },
        ),
        (
            "/a}",
            PatternError::Brace {
                text: text("/a}"),
                at: 2,
            },
        ),
        ("/{}", name("/{}", "")),
        ("/:", name("/:", "")),
        ("/{*}", name("/{*}", "")),
        ("/{a b}", name("/{a b}", "a b")),
        ("/:a:b", name("/:a:b", "a:b")),
        ("/*a b", name("/*a b", "a b")),
        ("/*{a}", name("/*{a}", "{a}")),
        (
            "/:a/{a}",
            PatternError::DuplicateParam {
                text: text("/:a/{a}"),
                name: text("a"),
            },
        ),
        (
            "/:a/*a",
            PatternError::DuplicateParam {
                text: text("/:a/*a"),
                name: text("a"),
            },
        ),
        (
            "/{a}{b}",
            PatternError::Adjacent {
                text: text("/{a}{b}"),
                at: 4,
            },
        ),
        (
            "/{a}*",
            PatternError::Adjacent {
                text: text("/{a}*"),
                at: 4,
            },
        ),
        (
            "/{*a}{b}",
            PatternError::Adjacent {
                text: text("/{*a}{b}"),
                at: 5,
            },
        ),
        (
            "/{*a}*",
            PatternError::Adjacent {
                text: text("/{*a}*"),
                at: 5,
            },
        ),
        (
            "/{a}-{*b}",
            PatternError::SharedSegment {
                text: text("/{a}-{*b}"),
                at: 5,
            },
        ),
        (
            "/{a}b*",
            PatternError::SharedSegment {
                text: text("/{a}b*"),
                at: 5,
            },
        ),
        (
            "/a*b",
            PatternError::NotLast {
                text: text("/a*b"),
                at: 2,
            },
        ),
        (
            "/a*/b",
            PatternError::NotLast {
                text: text("/a*/b"),
                at: 2,
            },
        ),
        (
            r"/\a",
            PatternError::Backslash {
                text: text(r"/\a"),
                at: 1,
            },
        ),
        (
            "/\\",
            PatternError::Backslash {
                text: text("/\\"),
                at: 1,
            },
        ),
    ];
    for (pattern, error) in cases {
        assert_eq!(Pattern::parse(pattern), Err(error), "{pattern}");
    }
    let long = format!("/{}", "a".repeat(MAX_PATTERN));
    assert_eq!(
        Pattern::parse(&long),
        Err(PatternError::TooLong {
            length: MAX_PATTERN + 1
        })
    );
    assert_eq!(
        Pattern::kong(&long),
        Err(PatternError::TooLong {
            length: MAX_PATTERN + 1
        })
    );
}

#[test]
fn kong_reads_prefixes_as_plain_bytes() {
    for text in ["/", "/a", "/a/", "/a*", "/{a}", "/:a", r"/\"] {
        let pattern = Pattern::kong(text).unwrap();
        assert_eq!(pattern.shape().tail, Tail::Prefix, "{text}");
        assert_eq!(usize::from(pattern.shape().literal), text.len(), "{text}");
        assert_eq!(pattern.params().count(), 0, "{text}");
    }
    assert_ne!(Pattern::kong("/a").unwrap(), Pattern::parse("/a").unwrap());
    for text in ["", "a", "~a", "~", "~^/a"] {
        assert_eq!(
            Pattern::kong(text),
            Err(PatternError::NotKong { text: text.into() }),
            "{text}"
        );
    }
}

#[test]
fn the_literal_head_of_an_expression_is_found() {
    let cases = [
        (r"~/users/(?<id>\d+)$", "/users/", &["id"][..]),
        (r"~/a", "/a", &[]),
        (r"~/a\.b", "/a.b", &[]),
        (r"~/a?b", "/", &[]),
        (r"~/(?:v1|v2)/x", "/v", &[]),
        (r"~/a|/b", "/", &[]),
        (r"~/(?i)ab", "/", &[]),
        (r"~/a+", "/a", &[]),
        (r"~/(?<one>[^/]+)/x/(?P<two>.*)", "/", &["one", "two"]),
        (r"~/\/x", "//x", &[]),
    ];
    for (text, head, params) in cases {
        let pattern = Pattern::kong(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pattern.regex().unwrap().head(), head.as_bytes(), "{text}");
        assert_eq!(pattern.params().collect::<Vec<_>>(), params, "{text}");
        assert!(pattern.is_regex() && !pattern.is_literal());
    }
}

#[test]
fn a_broken_expression_is_refused_with_its_place() {
    let refused = |text: &str| match Pattern::kong(text) {
        Err(PatternError::Regex { source, .. }) => source,
        other => panic!("{text}: {other:?}"),
    };
    assert!(matches!(refused("~/a("), RegexError::Syntax { at: 2, .. }));
    assert!(matches!(refused("~/(?=a)"), RegexError::Syntax { at: 1, .. }));
    assert!(matches!(refused(r"~/(a)\1"), RegexError::Syntax { at: 4, .. }));
    assert!(matches!(refused(r"~/(?:\w{1000}){1000}"), RegexError::TooLarge));
}

#[test]
fn spellings_that_are_not_chosen_stand_for_themselves() {
    let cases = [
        (ParamSyntax::Both, "/:a/{b}", &["a", "b"][..]),
        (ParamSyntax::Colon, "/:a/{b}/{{c", &["a"]),
        (ParamSyntax::Brace, "/:a/{b}", &["b"]),
        (ParamSyntax::None, "/:a/{b}", &[]),
        (ParamSyntax::None, "/:a/*b", &["b"]),
    ];
    for (syntax, text, params) in cases {
        let pattern = Pattern::parse_with(text, syntax).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(pattern.params().collect::<Vec<_>>(), params, "{text} {syntax:?}");
    }
    assert_ne!(
        Pattern::parse_with("/:a", ParamSyntax::None),
        Pattern::parse("/:a")
    );
}

#[test]
fn a_prefix_of_segments_ends_without_a_star() {
    for text in ["/", "/a", "/a/", "/a/{b}", "/{a}.json/"] {
        let pattern = Pattern::prefix(text).unwrap();
        assert_eq!(pattern.shape().tail, Tail::Segments, "{text}");
        assert!(!pattern.is_literal());
    }
    for (text, at) in [("/a*", 2), ("/a/*", 3), ("/a/{*b}", 4)] {
        let error = PatternError::NotLast {
            text: text.into(),
            at,
        };
        assert_eq!(Pattern::prefix(text), Err(error), "{text}");
    }
}
