//! Any text is a pattern or refused, in every syntax; what is a pattern can be read again, and routes.

#![no_main]

use gw_router::{Lookup, Options, ParamSyntax, Pattern, PatternError, Profile, Router, Rule};
use libfuzzer_sys::fuzz_target;

const SYNTAXES: [ParamSyntax; 4] = [
    ParamSyntax::Both,
    ParamSyntax::Colon,
    ParamSyntax::Brace,
    ParamSyntax::None,
];

fuzz_target!(|input: (&str, &str)| {
    let (text, path) = input;
    for syntax in SYNTAXES {
        check(text, path, |text| Pattern::parse_with(text, syntax));
    }
    check(text, path, Pattern::prefix);
    check(text, path, Pattern::kong);
});

fn check(text: &str, path: &str, parse: impl Fn(&str) -> Result<Pattern, PatternError>) {
    let pattern = match parse(text) {
        Ok(pattern) => pattern,
        Err(error) => {
            assert!(error.to_string().contains("; "), "{error}");
            return;
        }
    };
    assert_eq!(parse(pattern.as_str()).as_ref(), Ok(&pattern));
    let names: Vec<_> = pattern.params().collect();
    assert!(names.iter().all(|name| !name.is_empty()));
    for set in [false, true] {
        let mut router = Router::with_options(Options {
            profile: if set { Profile::Kong } else { Profile::PathFirst },
            case_insensitive: set,
            ignore_trailing_slash: set,
            host_fallback: true,
        });
        let rule = Rule::any().pattern(pattern.clone());
        let id = router.insert(rule, ()).expect("one pattern is not too wide");
        for path in [path, text] {
            let Some(found) = router.find(&Lookup::path_only(path)) else {
                // A text without anything to escape is the path that it matches.
                let plain = path == text && !text.contains(['\\', '{', '}']);
                assert!(!pattern.is_literal() || !plain, "{text:?}");
                continue;
            };
            assert!(path.starts_with(found.matched_path()));
            if !pattern.is_regex() {
                assert!(found.params().map(|(name, _)| name).eq(names.iter().copied()));
            }
            for (_, value) in found.params() {
                assert!(path.contains(value));
            }
        }
        assert!(router.remove(id) && router.is_empty());
        assert!(router.find(&Lookup::path_only(text)).is_none());
    }
}
