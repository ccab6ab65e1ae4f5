//! Real route tables, and the paths that are asked of them.

use std::collections::HashSet;

/// The routes of one API.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) name: &'static str,
    /// `METHOD PATTERN` in each line.
    text: &'static str,
    /// Whether wildcards over several segments stand before the end of patterns.
    pub(crate) wild: bool,
}

pub(crate) const TABLES: [Table; 11] = [
    table("matchit_130", include_str!("../data/matchit_130.txt")),
    table("path_tree_315", include_str!("../data/path_tree_315.txt")),
    GITHUB,
    table("kubernetes", include_str!("../data/kubernetes.txt")),
    table("gitlab", include_str!("../data/gitlab.txt")),
    Table {
        wild: true,
        ..table("gitlab_midwild", include_str!("../data/gitlab_midwild.txt"))
    },
    table("stripe", include_str!("../data/stripe.txt")),
    table("discord", include_str!("../data/discord.txt")),
    table("okta", include_str!("../data/okta.txt")),
    table("digitalocean", include_str!("../data/digitalocean.txt")),
    table("openai", include_str!("../data/openai.txt")),
];

pub(crate) const GITHUB: Table = table("github", include_str!("../data/github.txt"));

const fn table(name: &'static str, text: &'static str) -> Table {
    Table {
        name,
        text,
        wild: false,
    }
}

impl Table {
    /// Methods and patterns.
    pub(crate) fn routes(&self) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
        self.text.lines().filter_map(|line| line.split_once(' '))
    }

    /// The patterns in the order of the table, none twice, whatever its parameters are called.
    pub(crate) fn patterns(&self) -> Vec<&'static str> {
        let mut seen = HashSet::new();
        let patterns = self.routes().map(|(_, pattern)| pattern);
        patterns
            .filter(|pattern| seen.insert(nameless(pattern)))
            .collect()
    }
}

/// The pattern with its parameters unnamed.
pub(crate) fn nameless(pattern: &str) -> String {
    let mut text = String::with_capacity(pattern.len());
    let mut inside = false;
    for letter in pattern.chars() {
        inside &= letter != '}';
        if !inside || letter == '*' {
            text.push(letter);
        }
        inside |= letter == '{';
    }
    text
}

/// A path that a pattern matches: a parameter is its name, the rest of a path two segments.
pub(crate) fn path_of(pattern: &str) -> String {
    pattern.replace("{*", "some/").replace(['{', '}'], "")
}
