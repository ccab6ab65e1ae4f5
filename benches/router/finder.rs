//! One face for ours and the rivals: a table of paths, looked up by path alone.

use std::hint::black_box;

use gw_router::{Lookup, Router, Rule};
use radix_trie::Trie;

/// A router over patterns written as `/a/{name}` and `/a/{*rest}`; its values are their positions.
pub(crate) trait Finder: Sized + 'static {
    const NAME: &'static str;

    /// The router, and the positions of the patterns that it does not take.
    fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> (Self, Vec<usize>);

    /// Which pattern matches, and the values of its parameters.
    fn answer(&self, path: &str) -> Option<(usize, Vec<String>)>;

    /// A lookup whose result nobody looks at.
    fn find(&self, path: &str);

    /// A lookup all of whose parameters are read, names and values.
    fn read(&self, path: &str) -> usize;
}

/// How long the names and values are: something that cannot be told without reading them.
fn lengths<'p>(params: impl Iterator<Item = (&'p str, &'p str)>) -> usize {
    params.map(|(name, value)| name.len() + value.len()).sum()
}

fn values<'p>(params: impl Iterator<Item = (&'p str, &'p str)>) -> Vec<String> {
    params.map(|(_, value)| value.to_owned()).collect()
}

/// The positions of the items for which `insert` says no.
fn refused<'p>(
    patterns: impl IntoIterator<Item = &'p str>,
    mut insert: impl FnMut(usize, &'p str) -> bool,
) -> Vec<usize> {
    let patterns = patterns.into_iter().enumerate();
    patterns
        .filter_map(|(position, pattern)| (!insert(position, pattern)).then_some(position))
        .collect()
}

// --- Ours ---

impl Finder for Router<usize> {
    const NAME: &'static str = "gw";

    fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> (Self, Vec<usize>) {
        let mut router = Self::new();
        let refused = refused(patterns, |position, pattern| {
            Rule::path(pattern).is_ok_and(|rule| router.insert(rule, position).is_ok())
        });
        (router, refused)
    }

    fn answer(&self, path: &str) -> Option<(usize, Vec<String>)> {
        let found = self.find(&Lookup::path_only(path))?;
        Some((*found.value, values(found.params())))
    }

    #[inline]
    fn find(&self, path: &str) {
        black_box(Self::find(self, &Lookup::path_only(path)));
    }

    #[inline]
    fn read(&self, path: &str) -> usize {
        let found = black_box(Self::find(self, &Lookup::path_only(path)));
        found.map_or(0, |found| lengths(found.params()))
    }
}

// --- Rivals ---

impl Finder for matchit::Router<usize> {
    const NAME: &'static str = "matchit";

    fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> (Self, Vec<usize>) {
        let mut router = Self::new();
        let refused = refused(patterns, |position, pattern| {
            router.insert(pattern, position).is_ok()
        });
        (router, refused)
    }

    fn answer(&self, path: &str) -> Option<(usize, Vec<String>)> {
        let found = self.at(path).ok()?;
        Some((*found.value, values(found.params.iter())))
    }

    #[inline]
    fn find(&self, path: &str) {
        let _found = black_box(self.at(path));
    }

    #[inline]
    fn read(&self, path: &str) -> usize {
        black_box(self.at(path)).map_or(0, |found| lengths(found.params.iter()))
    }
}

impl Finder for path_tree::PathTree<usize> {
    const NAME: &'static str = "path-tree";

    fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> (Self, Vec<usize>) {
        let mut tree = Self::new();
        let refused = refused(patterns, |position, pattern| {
            // It has no other way to say no than another answer, which is looked for later.
            let _id = tree.insert(&colons(pattern), position);
            true
        });
        (tree, refused)
    }

    fn answer(&self, path: &str) -> Option<(usize, Vec<String>)> {
        let (value, found) = self.find(path)?;
        Some((*value, values(found.params_iter())))
    }

    #[inline]
    fn find(&self, path: &str) {
        black_box(Self::find(self, path));
    }

    #[inline]
    fn read(&self, path: &str) -> usize {
        black_box(Self::find(self, path)).map_or(0, |(_, found)| lengths(found.params_iter()))
    }
}

impl Finder for wayfind::Router<usize> {
    const NAME: &'static str = "wayfind";

    fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> (Self, Vec<usize>) {
        let mut builder = wayfind::RouterBuilder::new();
        let refused = refused(patterns, |position, pattern| {
            let pattern = pattern.replace('{', "<").replace('}', ">");
            builder.insert(&pattern, position).is_ok()
        });
        (builder.build(), refused)
    }

    fn answer(&self, path: &str) -> Option<(usize, Vec<String>)> {
        let found = self.search(path)?;
        Some((*found.data(), values(found.parameters().iter().copied())))
    }

    #[inline]
    fn find(&self, path: &str) {
        black_box(self.search(path));
    }

    #[inline]
    fn read(&self, path: &str) -> usize {
        black_box(self.search(path)).map_or(0, |found| lengths(found.parameters().iter().copied()))
    }
}

/// A map from texts to values, for tables without parameters.
impl Finder for Trie<String, usize> {
    const NAME: &'static str = "radix_trie";

    fn new<'p>(patterns: impl IntoIterator<Item = &'p str>) -> (Self, Vec<usize>) {
        let mut trie = Self::new();
        let refused = refused(patterns, |position, pattern| {
            trie.insert(pattern.to_owned(), position).is_none()
        });
        (trie, refused)
    }

    fn answer(&self, path: &str) -> Option<(usize, Vec<String>)> {
        Some((*self.get(path)?, Vec::new()))
    }

    #[inline]
    fn find(&self, path: &str) {
        black_box(self.get(path));
    }

    #[inline]
    fn read(&self, path: &str) -> usize {
        black_box(self.get(path)).copied().unwrap_or_default()
    }
}

/// `/a/{name}/{*rest}` as `/a/:name/:rest+`.
fn colons(pattern: &str) -> String {
    let mut written = String::with_capacity(pattern.len());
    let (mut inside, mut over_several) = (false, false);
    for letter in pattern.chars() {
        match letter {
            '{' => {
                inside = true;
                written.push(':');
            }
            '}' => {
                inside = false;
                written.extend(std::mem::take(&mut over_several).then_some('+'));
            }
            '*' if inside => over_several = true,
            // It takes no such names.
            '-' if inside => written.push('_'),
            ':' | '*' | '+' | '?' => written.extend(['\\', letter]),
            _ => written.push(letter),
        }
    }
    written
}
