//! Comparing languages: decided cases, and random patterns against a router that holds one of them.

use proptest::prelude::*;

use super::Language;
use crate::{Lookup, Options, Pattern, Router, Rule};

fn language(options: Options, pattern: &Pattern) -> Language {
    let router: Router<()> = Router::with_options(options);
    let (key, _) = router.key(Some(pattern));
    Language::new(&key, pattern.shape().tail, options.ignore_trailing_slash)
}

#[test]
fn a_rest_can_be_wanted() {
    let options = Options::default();
    let cases = [
        (Pattern::parse("*").unwrap(), "", "x"),
        (Pattern::prefix("/").unwrap(), "", "/x"),
        (Pattern::parse("/{*x}").unwrap(), "/", "/x"),
    ];
    for (pattern, without, with) in cases {
        let tail = pattern.shape().tail;
        let wanting = language(options, &pattern).without_empty_rest(tail);
        assert_eq!(
            (wanting.has(without), wanting.has(with)),
            (false, true),
            "{pattern:?}"
        );
    }
}

fn compare(one: &str, other: &str) -> (bool, bool, bool) {
    let read = |text: &str| match text.strip_prefix("prefix ") {
        Some(text) => Pattern::prefix(text).unwrap(),
        None => Pattern::parse(text).unwrap(),
    };
    let [one, other] = [one, other].map(|text| language(Options::default(), &read(text)));
    assert_eq!(one.meets(&other), other.meets(&one));
    (one.includes(&other), other.includes(&one), one.meets(&other))
}

#[test]
fn languages_include_and_meet_others() {
    // Whether the first includes the second, whether the second includes the first, whether they meet.
    let cases = [
        ("/a", "/a", true, true, true),
        ("/a", "/b", false, false, false),
        ("/{x}", "/a", true, false, true),
        ("/{x}", "/a/b", false, false, false),
        ("/{x}/b", "/a/{y}", false, false, true),
        ("/{x}", "/{y}", true, true, true),
        ("/a*", "/ab/{x}", true, false, true),
        ("/a/*", "/a", false, false, false),
        ("/a/*", "/a/", true, false, true),
        ("/a/{*x}", "/a/", false, false, false),
        ("/a/*", "/a/{*x}", true, false, true),
        ("*", "/a/{*x}", true, false, true),
        ("prefix /a", "/a", true, false, true),
        ("prefix /a", "/ab", false, false, false),
        ("prefix /a", "/a/*", true, false, true),
        ("prefix /a", "/a*", false, true, true),
        ("prefix /a", "prefix /a/b", true, false, true),
        ("/v{x}", "/v1", true, false, true),
        ("/v{x}", "/v", false, false, false),
        ("/{x}", "/v{x}.json", true, false, true),
        ("/{x}.json", "/v{x}.json", true, false, true),
        ("/{a}-{b}", "/{a}-{b}-{c}", true, false, true),
        ("/{a}-{b}", "/x-{b}", true, false, true),
        ("/{a}.x", "/{a}.y", false, false, false),
        ("/{*x}.js", "/a/{y}.js", true, false, true),
        ("/{*x}/a", "/{y}/{z}/a", true, false, true),
        ("/*x/a", "/a", false, false, false),
        ("/*x/a", "/{*x}/b/a", true, false, true),
        ("/{*x}/a/{*y}", "/a/a/a", true, false, true),
        ("/{*x}/a/{*y}", "/a/b/a", false, false, false),
    ];
    for (one, other, forth, back, both) in cases {
        assert_eq!(compare(one, other), (forth, back, both), "{one}; {other}");
    }
}

#[test]
fn options_are_minded() {
    let lax = Options {
        case_insensitive: true,
        ignore_trailing_slash: true,
        ..Options::default()
    };
    for (one, other) in [
        ("/a", "/A/"),
        ("/A/{x}/", "/a/{y}"),
        ("/V{x}", "/v{y}/"),
        ("/", "/"),
    ] {
        let [one, other] = [one, other].map(|text| text.parse::<Pattern>().unwrap());
        assert!(
            language(lax, &one).includes(&language(lax, &other)),
            "{one}; {other}"
        );
    }
    let [one, other] = ["/a", "/a/"].map(|text| text.parse::<Pattern>().unwrap());
    assert!(language(lax, &one).has("/a/") && language(lax, &one).has("/a"));
    assert!(!language(Options::default(), &one).meets(&language(Options::default(), &other)));
}

#[test]
fn a_hostile_pair_is_given_up() {
    let many = |count: usize| {
        format!(
            "/{}",
            (0..count).map(|at| format!("{{*w{at}}}a")).collect::<String>()
        )
    };
    let [one, other] = [many(300), many(301)].map(|text| Pattern::parse(&text).unwrap());
    let [one, other] = [one, other].map(|pattern| language(Options::default(), &pattern));
    // Whatever the answer, it comes soon; that the shorter includes the longer would take too long to find.
    assert!(!other.includes(&one));
    assert!(one.meets(&one));
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let part = prop_oneof![
        6 => prop::sample::select(&["/", "/", "/", "a", "b", "-"]).prop_map(ToOwned::to_owned),
        2 => Just("{}".to_owned()),
        1 => Just("{*}".to_owned()),
    ];
    let text = prop::collection::vec(part, 0..8).prop_map(|parts| {
        let mut text = "/".to_owned();
        for (index, part) in parts.iter().enumerate() {
            text.push_str(&part.replace('}', &format!("p{index}}}")));
        }
        text
    });
    let end = prop::sample::select(&["", "", "", "*", "/*"]);
    (text, end, any::<bool>()).prop_filter_map("not a pattern", |(text, end, whole)| {
        if whole {
            Pattern::prefix(&text).ok()
        } else {
            Pattern::parse(&format!("{text}{end}")).ok()
        }
    })
}

fn matches(options: Options, pattern: &Pattern, path: &str) -> bool {
    let mut router = Router::with_options(options);
    router.insert(Rule::any().pattern(pattern.clone()), ()).unwrap();
    router.find(&Lookup::path_only(path)).is_some()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_language_is_what_a_router_matches(
        one in pattern(),
        other in pattern(),
        ignore_trailing_slash in any::<bool>(),
        paths in prop::collection::vec("/[ab/-]{0,8}", 24),
    ) {
        let options = Options { ignore_trailing_slash, ..Options::default() };
        let (first, second) = (language(options, &one), language(options, &other));
        let (forth, both) = (first.includes(&second), first.meets(&second));
        for path in &paths {
            let (has, others) = (matches(options, &one, path), matches(options, &other, path));
            prop_assert_eq!(first.has(path), has, "{:?} {}", one, path);
            prop_assert!(!forth || has || !others, "{:?} includes {:?}, but {}", one, other, path);
            prop_assert!(both || !has || !others, "{:?} meets {:?} at {}", one, other, path);
        }
    }
}
