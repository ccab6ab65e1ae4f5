//! A text that a regular expression matches: of all that are possible a short and plain one.

use regex_syntax::hir::{Class, Hir, HirKind};

/// A text that `pattern` matches, from its beginning on; none if nothing plain does.
pub(super) fn sample(pattern: &str) -> Option<String> {
    let mut text = String::new();
    write(&regex_syntax::parse(pattern).ok()?, &mut text)?;
    Some(text)
}

fn write(hir: &Hir, text: &mut String) -> Option<()> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => Some(()),
        HirKind::Literal(literal) => {
            text.push_str(std::str::from_utf8(&literal.0).ok()?);
            Some(())
        }
        HirKind::Class(class) => {
            text.push(letter(class)?);
            Some(())
        }
        HirKind::Repetition(repetition) => {
            // Once, where it may be never: what it stands for is to be seen.
            let times = repetition.min.max(u32::from(repetition.max != Some(0)));
            (0..times).try_for_each(|_| write(&repetition.sub, text))
        }
        HirKind::Capture(capture) => write(&capture.sub, text),
        HirKind::Concat(parts) => parts.iter().try_for_each(|part| write(part, text)),
        HirKind::Alternation(parts) => write(parts.first()?, text),
    }
}

/// A letter or digit of a class or, failing that, whatever may stand in a path.
fn letter(class: &Class) -> Option<char> {
    let is_in = |letter: char| match class {
        Class::Unicode(class) => class
            .ranges()
            .iter()
            .any(|range| (range.start()..=range.end()).contains(&letter)),
        Class::Bytes(class) => class
            .ranges()
            .iter()
            .any(|range| (char::from(range.start())..=char::from(range.end())).contains(&letter)),
    };
    ('a'..='z')
        .chain('0'..='9')
        .chain('A'..='Z')
        .chain("-_.~/".chars())
        .find(|letter| is_in(*letter))
}

#[test]
fn a_sample_is_matched_by_what_it_was_made_for() {
    for (pattern, text) in [
        ("/a/.*", "/a/a"),
        ("/users/(?<id>\\d+)$", "/users/0"),
        ("/[a-zA-Z0-9]+$", "/a"),
        ("/v(1|2)/x{3}", "/v1/xxx"),
        ("/a(/b)?", "/a/b"),
        ("/[^/]+/z", "/a/z"),
    ] {
        assert_eq!(sample(pattern).as_deref(), Some(text), "{pattern}");
    }
}
