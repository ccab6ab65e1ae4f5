//! What entities are called whose objects have any id, or none.

use std::collections::HashSet;

/// The names that are taken.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<(&'static str, String)>,
}

impl Names {
    /// A name that no other entity of this list has: this one, or one that begins so.
    pub(super) fn unique(&mut self, list: &'static str, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 1;
        while !self.taken.insert((list, name.clone())) {
            number += 1;
            name = format!("{wanted}-{number}");
        }
        name
    }
}

/// A text as the name of a route or a service, as far as it can be one.
pub(super) fn label(text: &str) -> Option<String> {
    let fitting = |letter: char| match letter {
        letter if letter.is_alphanumeric() || "._~-".contains(letter) => letter,
        _ => '-',
    };
    let name: String = text.trim().chars().map(fitting).collect();
    let name = name.trim_matches('-');
    (!name.is_empty()).then(|| name.to_owned())
}

/// A text as the name of an upstream, which is a host name; `kind` goes before a number.
pub(super) fn host_label(kind: &str, text: &str) -> String {
    let fitting = |letter: char| match letter {
        letter if letter.is_ascii_alphanumeric() || "._-".contains(letter) => letter,
        _ => '-',
    };
    let name: String = text.chars().map(fitting).collect();
    let name = name.trim_matches(['.', '-']);
    match name {
        "" => kind.to_owned(),
        digits if digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            format!("{kind}-{digits}")
        }
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_what_they_name() {
        for (text, route, upstream) in [
            ("web1-route", Some("web1-route"), "web1-route"),
            ("1", Some("1"), "upstream-1"),
            ("10.0.0.1", Some("10.0.0.1"), "upstream-10.0.0.1"),
            ("My route: a/b", Some("My-route--a-b"), "My-route--a-b"),
            ("路由", Some("路由"), "upstream"),
            ("(/)", None, "upstream"),
            ("a_b.", Some("a_b."), "a_b"),
        ] {
            assert_eq!(label(text).as_deref(), route, "{text}");
            assert_eq!(host_label("upstream", text), upstream, "{text}");
        }
    }

    #[test]
    fn no_name_is_given_twice() {
        let mut names = Names::default();
        let mut name = |list| names.unique(list, "a");
        assert_eq!(
            [name("routes"), name("routes"), name("services")],
            ["a", "a-2", "a"]
        );
        assert_eq!(name("routes"), "a-3");
    }
}
