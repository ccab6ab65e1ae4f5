//! Kong's paths: prefixes, longest first, and regular expressions.

use std::rc::Rc;

use gw_router::{Lookup, Pattern, Profile, Router, Rule};
use radix_trie::Trie;

use crate::case::{Case, Contender, Limit, label};
use crate::shapes::Shape;

pub(crate) fn cases(limit: Limit) -> Vec<Case> {
    let prefix = |size: usize| {
        Case::new(format!("router/kong/prefix/{}", label(size)), move || {
            prefix(size)
        })
    };
    let mut cases: Vec<Case> = limit
        .of(&[100, 10_000, 100_000])
        .into_iter()
        .map(prefix)
        .collect();
    cases.push(Case::new("router/kong/regex/1k", regex));
    cases
}

/// Beside the trie's own longest prefix and a scan.
fn prefix(size: usize) -> Vec<Contender> {
    let prefixes: Rc<[String]> = (0..size).map(|n| Shape::Literal.pattern(n)).collect();
    let router = table(prefixes.iter().map(String::as_str));
    let mut trie = Trie::new();
    for (index, prefix) in prefixes.iter().enumerate() {
        trie.insert(prefix.clone(), index);
    }
    let scanned = Rc::clone(&prefixes);
    let scan = move |asked: &str| {
        let matching = scanned
            .iter()
            .enumerate()
            .filter(|(_, prefix)| asked.starts_with(prefix.as_str()));
        matching
            .max_by_key(|(_, prefix)| prefix.len())
            .map(|(index, _)| index)
    };
    let asked: Rc<[String]> = (0..100)
        .map(|n| format!("{}/deep/below", prefixes[n * size / 100]))
        .collect();
    for path in &*asked {
        let expected = scan(path);
        assert_eq!(
            router.find(&Lookup::path_only(path)).map(|found| *found.value),
            expected
        );
        assert_eq!(trie.get_ancestor_value(path), expected.as_ref());
    }
    let mut contenders = vec![
        Contender::sweep("gw", Rc::clone(&asked), move |path| {
            std::hint::black_box(router.find(&Lookup::path_only(path)));
        }),
        Contender::sweep("radix_trie", Rc::clone(&asked), move |path| {
            std::hint::black_box(trie.get_ancestor_value(path));
        }),
    ];
    if size <= 100 {
        contenders.push(Contender::sweep("scan", asked, move |path| {
            std::hint::black_box(scan(path));
        }));
    }
    contenders
}

/// An expression with two named groups among many prefixes.
fn regex() -> Vec<Contender> {
    let prefixes: Vec<String> = (0..1000).map(|n| Shape::Literal.pattern(n)).collect();
    let expression = r"~/users/(?<user>[^/]+)/posts/(?<post>[0-9]+)$";
    let router = table(prefixes.iter().map(String::as_str).chain([expression]));
    let paths: Rc<[String]> = (0..100).map(|n| format!("/users/anna/posts/{n}")).collect();
    for (n, path) in paths.iter().enumerate() {
        let found = router.find(&Lookup::path_only(path)).expect("it matches");
        assert_eq!(
            (*found.value, found.param("post")),
            (1000, Some(n.to_string().as_str()))
        );
    }
    vec![Contender::sweep("gw", paths, move |path| {
        std::hint::black_box(router.find(&Lookup::path_only(path)));
    })]
}

fn table<'p>(paths: impl IntoIterator<Item = &'p str>) -> Router<usize> {
    let mut router = Router::with_profile(Profile::Kong);
    for (index, path) in paths.into_iter().enumerate() {
        let pattern = Pattern::kong(path).expect("a path");
        router
            .insert(Rule::any().pattern(pattern), index)
            .expect("a small rule");
    }
    router
}
