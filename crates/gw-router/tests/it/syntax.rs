//! Every row of the path syntax, and every escape, by what it matches; and what is refused.

use std::error::Error;

use gw_router::{Lookup, Options, ParamSyntax, Pattern, PatternError, Router, Rule};

/// What a pattern takes of a path: its parameters, and how much of the path counts as matched.
type Taken<'a> = Option<(&'a [(&'a str, &'a str)], &'a str)>;

const fn part<'a>(params: &'a [(&'a str, &'a str)], matched: &'a str) -> Taken<'a> {
    Some((params, matched))
}

/// The whole path.
const fn all<'a>(params: &'a [(&'a str, &'a str)]) -> Taken<'a> {
    part(params, "")
}

fn check(pattern: Pattern, options: Options, path: &str, expected: Taken<'_>) {
    let text = pattern.to_string();
    let mut router = Router::with_options(options);
    router.insert(Rule::any().pattern(pattern), ()).unwrap();
    let lookup = Lookup::path_only(path);
    let found = router.find(&lookup);
    let got = found
        .as_ref()
        .map(|found| (found.params().collect::<Vec<_>>(), found.matched_path()));
    let expected = expected.map(|(params, matched)| (params.to_vec(), matched));
    assert_eq!(got, expected, "{text} on {path}");
}

#[test]
fn every_form_matches_what_it_says() {
    let cases: &[(&str, &str, Taken<'_>)] = &[
        // Literal.
        ("/a/b", "/a/b", all(&[])),
        ("/a/b", "/a/b/", None),
        ("/a/b", "/a/B", None),
        ("/", "/", all(&[])),
        // Raw prefix.
        ("/a*", "/a", part(&[], "/a")),
        ("/a*", "/ab/c", part(&[], "/a")),
        ("/a*", "/b", None),
        ("*", "/any", part(&[], "")),
        ("*", "*", part(&[], "")),
        ("*", "", None),
        // Rest of the path.
        ("/a/*", "/a/", all(&[])),
        ("/a/*", "/a/b/c", all(&[])),
        ("/a/*", "/a", None),
        ("/a/*rest", "/a/", all(&[("rest", "")])),
        ("/a/*rest", "/a/b/c", all(&[("rest", "b/c")])),
        ("/a/{*rest}", "/a/", None),
        ("/a/{*rest}", "/a/b/", all(&[("rest", "b/")])),
        ("/a{*rest}", "/ab", all(&[("rest", "b")])),
        ("/a{*rest}", "/a", None),
        // One segment.
        ("/:x/c", "/b/c", all(&[("x", "b")])),
        ("/{x}/c", "/b/c", all(&[("x", "b")])),
        ("/{x}/c", "//c", None),
        ("/{x}", "/a/b", None),
        ("/{x}", "/", None),
        ("/{x}/", "/a/", all(&[("x", "a")])),
        ("/a:x", "/a:x", all(&[])),
        // Parts of a segment.
        ("/v{x}.json", "/v1.json", all(&[("x", "1")])),
        ("/v{x}.json", "/v1.json.json", all(&[("x", "1.json")])),
        ("/v{x}.json", "/v.json", None),
        ("/v{x}", "/v1", all(&[("x", "1")])),
        ("/v{x}", "/v", None),
        ("/{a}-{b}", "/1-2-3", all(&[("a", "1-2"), ("b", "3")])),
        ("/{a}-{b}", "/1-", None),
        ("/{a}-{b}", "/-1", None),
        (
            "/{a}-{b}/{c}.{d}",
            "/1-2/3.4",
            all(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]),
        ),
        ("/{a}ab{b}", "/xabab", all(&[("a", "x"), ("b", "ab")])),
        ("/{a}aa{b}", "/xaaay", all(&[("a", "xa"), ("b", "y")])),
        ("/é{x}ü", "/éöü", all(&[("x", "ö")])),
        // Several segments, before the end.
        ("/a/*x/b", "/a//b", all(&[("x", "")])),
        ("/a/*x/b", "/a/1/b/2/b", all(&[("x", "1/b/2")])),
        ("/a/*x/b", "/a/b", None),
        ("/a/*/b", "/a/1/b", all(&[])),
        ("/a/{*x}/b", "/a//b", None),
        ("/a/{*x}/b", "/a/1/2/b", all(&[("x", "1/2")])),
        ("/{*x}.js", "/a/b.js", all(&[("x", "a/b")])),
        ("/{*x}.js", "/.js", None),
        ("/{*x}.js", "/.js.js", all(&[("x", ".js")])),
        ("/a{*x}b/c", "/a-/-b/c", all(&[("x", "-/-")])),
        (
            "/{*x}/{y}/*z",
            "/1/2/3/",
            all(&[("x", "1/2"), ("y", "3"), ("z", "")]),
        ),
        ("/{*x}/a/{*y}/b", "/a/a/a/b/b", all(&[("x", "a/a"), ("y", "b")])),
        ("/{*x}/", "/a/b/", all(&[("x", "a/b")])),
        ("/*x/", "//", all(&[("x", "")])),
        // Escapes.
        ("/{{x}}", "/{x}", all(&[])),
        (r"/\{x\}", "/{x}", all(&[])),
        (r"/\:x", "/:x", all(&[])),
        (r"/\:x", "/x", None),
        (r"/\*", "/*", all(&[])),
        (r"/\*", "/a", None),
        (r"/a\\b", r"/a\b", all(&[])),
        (r"\*", "*", all(&[])),
        (r"\*", "/", None),
        (r"/{x}\:y", "/1:y", all(&[("x", "1")])),
        ("/{x}{{y}}", "/1{y}", all(&[("x", "1")])),
        (r"/\:x*", "/:xyz", part(&[], "/:x")),
    ];
    for (text, path, expected) in cases {
        let expected = expected.map(|(params, matched)| {
            let whole = matched.is_empty() && *text != "*";
            (params, if whole { *path } else { matched })
        });
        check(Pattern::parse(text).unwrap(), Options::default(), path, expected);
    }
}

#[test]
fn a_prefix_ends_with_a_segment() {
    let cases: &[(&str, &str, Taken<'_>)] = &[
        ("/a", "/a", part(&[], "/a")),
        ("/a", "/a/", part(&[], "/a")),
        ("/a", "/a/x", part(&[], "/a")),
        ("/a", "/ab", None),
        ("/a/", "/a", part(&[], "/a")),
        ("/a/", "/a/x", part(&[], "/a")),
        ("/a/", "/ab", None),
        ("/", "/", part(&[], "")),
        ("/", "/a", part(&[], "")),
        ("/", "*", None),
        ("/", "", None),
        ("/{x}", "/a/b", part(&[("x", "a")], "/a")),
        ("/{x}", "/", None),
        ("/{x}.js", "/a.js/b", part(&[("x", "a")], "/a.js")),
        ("/{x}.js", "/a.jsx", None),
        ("/*x/b", "/a/b/c", part(&[("x", "a")], "/a/b")),
        ("/*x/b", "/a/bc", None),
    ];
    for (text, path, expected) in cases {
        check(
            Pattern::prefix(text).unwrap(),
            Options::default(),
            path,
            *expected,
        );
    }
}

#[test]
fn a_slash_at_the_end_is_ignored_on_demand() {
    let options = Options {
        ignore_trailing_slash: true,
        ..Options::default()
    };
    type Params = &'static [(&'static str, &'static str)];
    let cases: &[(&str, &str, Option<Params>)] = &[
        ("/a", "/a/", Some(&[])),
        ("/a/", "/a", Some(&[])),
        ("/a/", "/a/", Some(&[])),
        ("/a", "/a//", None),
        ("/a", "/", None),
        ("/", "/", Some(&[])),
        ("/", "//", Some(&[])),
        ("/", "///", None),
        ("/{x}", "/a/", Some(&[("x", "a")])),
        ("/{x}/", "/a", Some(&[("x", "a")])),
        ("/{x}-{y}/", "/a-b", Some(&[("x", "a"), ("y", "b")])),
        ("/{x}-{y}", "/a-b/", Some(&[("x", "a"), ("y", "b")])),
        ("/*x/b", "/a/b/", Some(&[("x", "a")])),
        ("/*x/b/", "/a/b", Some(&[("x", "a")])),
        // Not where a wildcard over several segments is concerned.
        ("/a/*x", "/a", None),
        ("/a/*x", "/a/b/", Some(&[("x", "b/")])),
        ("/a/{*x}", "/a/", None),
        ("/a/{*x}/", "/a/b", None),
        ("/a/{*x}/", "/a/b/", Some(&[("x", "b")])),
        ("/a/{*x}/", "/a/b//", Some(&[("x", "b/")])),
    ];
    for (text, path, params) in cases {
        check(
            Pattern::parse(text).unwrap(),
            options,
            path,
            params.map(|params| (params, *path)),
        );
    }
}

#[test]
fn case_is_ignored_on_demand() {
    let options = Options {
        case_insensitive: true,
        ..Options::default()
    };
    let cases: &[(Pattern, &str, Taken<'_>)] = &[
        (
            Pattern::parse("/Ab/{x}").unwrap(),
            "/aB/Cd",
            part(&[("x", "Cd")], "/aB/Cd"),
        ),
        (
            Pattern::parse("/{x}.JS").unwrap(),
            "/A.js",
            part(&[("x", "A")], "/A.js"),
        ),
        (
            Pattern::parse("/*X/b").unwrap(),
            "/A/B",
            part(&[("X", "A")], "/A/B"),
        ),
        (Pattern::parse("/é").unwrap(), "/É", None),
        (Pattern::prefix("/A").unwrap(), "/a/x", part(&[], "/a")),
        (Pattern::kong("/A").unwrap(), "/ab", part(&[], "/a")),
        (
            Pattern::kong("~/A(?<x>B+)").unwrap(),
            "/abBc",
            part(&[("x", "bB")], "/abB"),
        ),
        (Pattern::kong("~/(?-i:A)b").unwrap(), "/aB", None),
        (Pattern::kong("~/(?-i:A)b").unwrap(), "/AB", part(&[], "/AB")),
    ];
    for (pattern, path, expected) in cases {
        check(pattern.clone(), options, path, *expected);
    }
}

#[test]
fn spellings_that_are_not_chosen_stand_for_themselves() {
    let cases: &[(ParamSyntax, &str, &str, Taken<'_>)] = &[
        (
            ParamSyntax::Both,
            "/:a/{b}",
            "/1/2",
            part(&[("a", "1"), ("b", "2")], "/1/2"),
        ),
        (
            ParamSyntax::Colon,
            "/:a/{b}",
            "/1/{b}",
            part(&[("a", "1")], "/1/{b}"),
        ),
        (ParamSyntax::Colon, "/{{", "/{{", part(&[], "/{{")),
        (
            ParamSyntax::Brace,
            "/:a/{b}",
            "/:a/2",
            part(&[("b", "2")], "/:a/2"),
        ),
        (ParamSyntax::None, "/:a/{b}", "/:a/{b}", part(&[], "/:a/{b}")),
        (ParamSyntax::None, "/{*a}", "/{*a}", None),
        (
            ParamSyntax::None,
            "/:a/*b",
            "/:a/x/y",
            part(&[("b", "x/y")], "/:a/x/y"),
        ),
        (ParamSyntax::None, r"/\{\:\*", "/{:*", part(&[], "/{:*")),
    ];
    for (syntax, text, path, expected) in cases {
        match Pattern::parse_with(text, *syntax) {
            Ok(pattern) => check(pattern, Options::default(), path, *expected),
            Err(error) => assert!(expected.is_none(), "{text}: {error}"),
        }
    }
}

#[test]
fn what_is_refused_says_where_and_what_to_do() {
    let cases: &[(&str, &str)] = &[
        ("", "path `` does not start with `/`; write `/`"),
        ("a", "path `a` does not start with `/`; write `/a`"),
        ("*a", "path `*a` does not start with `/`; write `/*a`"),
        (
            "/{a",
            "path `/{a` has a single brace at byte 1; double it to mean the character itself",
        ),
        (
            "/a}",
            "path `/a}` has a single brace at byte 2; double it to mean the character itself",
        ),
        (
            "/{}",
            "path `/{}` has `` as a parameter name; use letters, digits, `_`, `-` and `.`",
        ),
        (
            "/{*}",
            "path `/{*}` has `` as a parameter name; use letters, digits, `_`, `-` and `.`",
        ),
        (
            "/:",
            "path `/:` has `` as a parameter name; use letters, digits, `_`, `-` and `.`",
        ),
        (
            "/{a/b}",
            "path `/{a/b}` has `a/b` as a parameter name; use letters, digits, `_`, `-` and `.`",
        ),
        (
            "/{é}",
            "path `/{é}` has `é` as a parameter name; use letters, digits, `_`, `-` and `.`",
        ),
        (
            "/**",
            "path `/**` has `*` as a parameter name; use letters, digits, `_`, `-` and `.`",
        ),
        (
            "/{a}/:a",
            "path `/{a}/:a` names parameter `a` twice; give each parameter its own name",
        ),
        (
            "/{a}/*a/b",
            "path `/{a}/*a/b` names parameter `a` twice; give each parameter its own name",
        ),
        (
            "/{a}{b}",
            "path `/{a}{b}` has a wildcard right behind another at byte 4; put text between them",
        ),
        (
            "/{*a}{b}",
            "path `/{*a}{b}` has a wildcard right behind another at byte 5; put text between them",
        ),
        (
            "/{a}{*b}",
            "path `/{a}{*b}` has a wildcard right behind another at byte 4; put text between them",
        ),
        (
            "/{a}-{*b}",
            "path `/{a}-{*b}` has a parameter and a wildcard over several segments in one segment, the second at byte 5; put a slash between them",
        ),
        (
            "/{*a}.{b}/c",
            "path `/{*a}.{b}/c` has a parameter and a wildcard over several segments in one segment, the second at byte 6; put a slash between them",
        ),
        (
            "/a*/b",
            r"path `/a*/b` has a `*` at byte 2 that cannot stand there; put it last, name it as in `{*rest}`, or write `\*` for the character",
        ),
        (
            r"/\a",
            r"path `/\a` has a backslash at byte 1 that escapes nothing; write `\\` for the character",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(Pattern::parse(text).unwrap_err().to_string(), *expected, "{text}");
    }
    for text in ["/a*", "/a/*", "/*a", "/{*a}/", "/a/*/", "*"] {
        assert!(
            matches!(Pattern::prefix(text), Err(PatternError::NotLast { .. })),
            "{text}"
        );
    }
    let longest = format!("/{}", "a".repeat(4_095));
    assert!(
        Pattern::parse(&longest).is_ok()
            && Pattern::prefix(&longest).is_ok()
            && Pattern::kong(&longest).is_ok()
    );
    let error = Pattern::parse(&(longest + "a")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "path pattern of 4097 bytes is too long; the limit is 4096"
    );
    for text in ["", "a", "~a", "~^/a", "*"] {
        assert!(
            matches!(Pattern::kong(text), Err(PatternError::NotKong { .. })),
            "{text}"
        );
    }
    let error = Pattern::kong("~/a(").unwrap_err();
    assert_eq!(
        error.to_string(),
        "path `~/a(` is not a valid regular expression; correct it or drop the `~`"
    );
    assert_eq!(
        error.source().map(ToString::to_string).as_deref(),
        Some("at byte 2: unclosed group")
    );
}

#[test]
fn every_group_is_told_with_its_name_or_without() -> Result<(), Box<dyn Error>> {
    type Groups<'a> = &'a [(&'a str, Option<&'a str>)];
    let cases: [(Pattern, &str, Groups<'_>); 4] = [
        (
            Pattern::parse("/a/{x}/*")?,
            "/a/1/2/3",
            &[("x", Some("1")), ("", Some("2/3"))],
        ),
        (Pattern::parse("/a")?, "/a", &[]),
        (
            Pattern::kong("~/(a|b)/(?<id>\\d+)(/c)?")?,
            "/b/7",
            &[("", Some("b")), ("id", Some("7")), ("", None)],
        ),
        (
            Pattern::kong("~/(é)(.*)")?,
            "/éa",
            &[("", Some("é")), ("", Some("a"))],
        ),
    ];
    for (pattern, path, expected) in cases {
        let text = pattern.to_string();
        let mut router = Router::new();
        router.insert(Rule::any().pattern(pattern), ())?;
        let lookup = Lookup::path_only(path);
        let found = router.find(&lookup).ok_or(text)?;
        assert_eq!(found.captures(), expected, "{path}");
    }
    Ok(())
}
