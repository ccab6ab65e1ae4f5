//! Cost of a lookup and of a change in tables of several kinds, beside rival routers where they can do the same.

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use gw_router::{Lookup, Pattern, Profile, Router, Rule, RuleId};
use http::Method;
use radix_trie::Trie;

const SIZES: [(usize, &str); 3] = [(100, "100"), (10_000, "10k"), (100_000, "100k")];

/// The table of matchit's own bench: all of its routes are looked up in one iteration.
fn params(c: &mut Criterion) {
    let patterns = patterns();
    let paths: Vec<String> = patterns
        .iter()
        .map(|pattern| pattern.replace(['{', '}'], ""))
        .collect();
    let (router, mut matchit) = (gw(patterns.iter().copied()), matchit::Router::new());
    for (index, pattern) in patterns.iter().enumerate() {
        matchit
            .insert(*pattern, index)
            .expect("the rival takes its own table");
    }
    for (index, path) in paths.iter().enumerate() {
        let found = router
            .find(&Lookup::path_only(path))
            .expect("every pattern matches its own path");
        let rival = matchit.at(path).expect("and so it does for the rival");
        assert_eq!((*found.value, *rival.value), (index, index));
        assert!(found.params().eq(rival.params.iter()), "same parameters");
    }

    let mut group = c.benchmark_group("router/find/params_130");
    group.bench_function("gw", |b| {
        b.iter(|| {
            for path in &paths {
                black_box(router.find(&Lookup::path_only(black_box(path))));
            }
        });
    });
    group.bench_function("matchit", |b| {
        b.iter(|| {
            for path in &paths {
                let _found = black_box(matchit.at(black_box(path)));
            }
        });
    });
    group.finish();
}

/// Literal paths, looked up whole.
fn literal(c: &mut Criterion) {
    for (size, label) in SIZES {
        let paths: Vec<String> = (0..size).map(path).collect();
        let router = gw(paths.iter().map(String::as_str));
        let (mut matchit, mut trie) = (matchit::Router::new(), Trie::new());
        for (index, path) in paths.iter().enumerate() {
            matchit.insert(path.clone(), index).expect("distinct paths");
            trie.insert(path.clone(), index);
        }
        let asked = &paths[size * 2 / 3];
        let expected = size * 2 / 3;
        assert_eq!(
            router.find(&Lookup::path_only(asked)).map(|found| *found.value),
            Some(expected)
        );
        assert_eq!(matchit.at(asked).map(|found| *found.value), Ok(expected));
        assert_eq!(trie.get(asked), Some(&expected));

        let mut group = c.benchmark_group(format!("router/find/literal/{label}"));
        group.bench_function("gw", |b| {
            b.iter(|| router.find(&Lookup::path_only(black_box(asked))).is_some())
        });
        group.bench_function("matchit", |b| b.iter(|| matchit.at(black_box(asked)).is_ok()));
        group.bench_function("radix_trie", |b| b.iter(|| trie.get(black_box(asked)).is_some()));
        group.finish();
    }
}

/// One parameter at the end.
fn param(c: &mut Criterion) {
    for (size, label) in SIZES {
        let patterns: Vec<String> = (0..size)
            .map(|number| format!("{}/{{id}}", path(number)))
            .collect();
        let router = gw(patterns.iter().map(String::as_str));
        let mut matchit = matchit::Router::new();
        for (index, pattern) in patterns.iter().enumerate() {
            matchit.insert(pattern.clone(), index).expect("distinct patterns");
        }
        let expected = size * 2 / 3;
        let asked = format!("{}/12345", path(expected));
        let found = router
            .find(&Lookup::path_only(&asked))
            .expect("it is in the table");
        assert_eq!((*found.value, found.param("id")), (expected, Some("12345")));
        assert_eq!(matchit.at(&asked).map(|found| *found.value), Ok(expected));

        let mut group = c.benchmark_group(format!("router/find/param/{label}"));
        group.bench_function("gw", |b| {
            b.iter(|| router.find(&Lookup::path_only(black_box(&asked))).is_some())
        });
        group.bench_function("matchit", |b| b.iter(|| matchit.at(black_box(&asked)).is_ok()));
        group.finish();
    }
}

/// Kong's prefixes, longest first, beside the trie's own longest prefix and a scan.
fn prefix(c: &mut Criterion) {
    for (size, label) in SIZES {
        let prefixes: Vec<String> = (0..size).map(path).collect();
        let router = kong(prefixes.iter().map(|prefix| kong_path(prefix)));
        let mut trie = Trie::new();
        for (index, prefix) in prefixes.iter().enumerate() {
            trie.insert(prefix.clone(), index);
        }
        let expected = size * 2 / 3;
        let asked = format!("{}/deep/below?", prefixes[expected]);
        let scan = || {
            let matching = prefixes
                .iter()
                .enumerate()
                .filter(|(_, prefix)| asked.starts_with(prefix.as_str()));
            matching
                .max_by_key(|(_, prefix)| prefix.len())
                .map(|(index, _)| index)
        };
        assert_eq!(
            router.find(&Lookup::path_only(&asked)).map(|found| *found.value),
            Some(expected)
        );
        assert_eq!(trie.get_ancestor_value(&asked), Some(&expected));
        assert_eq!(scan(), Some(expected));

        let mut group = c.benchmark_group(format!("router/find/prefix/{label}"));
        group.bench_function("gw", |b| {
            b.iter(|| router.find(&Lookup::path_only(black_box(&asked))).is_some())
        });
        group.bench_function("radix_trie", |b| {
            b.iter(|| trie.get_ancestor_value(black_box(&asked)).is_some())
        });
        if size <= 100 {
            group.bench_function("scan", |b| b.iter(scan));
        }
        group.finish();
    }
}

/// As many hosts on one path.
fn hosts(c: &mut Criterion) {
    for (size, label) in SIZES {
        let host = |number: usize| format!("tenant-{number}.example.com");
        let router = kong((0..size).map(|number| kong_path("/").host(host(number).parse().expect("a host"))));
        let expected = size * 2 / 3;
        let asked = host(expected);
        let lookup = Lookup::new(&Method::GET, &asked, "/users/7").port(80);
        assert_eq!(router.find(&lookup).map(|found| *found.value), Some(expected));
        c.bench_function(&format!("router/find/hosts/{label}"), |b| {
            b.iter(|| router.find(black_box(&lookup)).is_some());
        });
    }
}

/// A regular expression with two named groups among many rules.
fn regex(c: &mut Criterion) {
    let rules = (0..1000).map(|number| kong_path(&path(number)));
    let pattern = Pattern::kong(r"~/users/(?<user>[^/]+)/posts/(?<post>[0-9]+)$").expect("an expression");
    let router = kong(rules.chain([Rule::any().pattern(pattern)]));
    let lookup = Lookup::path_only("/users/anna/posts/12");
    let found = router.find(&lookup).expect("it matches");
    assert_eq!((*found.value, found.param("post")), (1000, Some("12")));
    c.bench_function("router/find/regex/1k", |b| {
        b.iter(|| router.find(black_box(&lookup)).is_some())
    });
}

/// One rule put in and taken out of a table that a reader holds, publication included.
fn change(c: &mut Criterion) {
    for (size, label) in SIZES {
        let mut router = kong((0..size).map(|number| kong_path(&path(number))));
        let mut published = router.clone();
        let one = |router: &mut Router<usize>, published: &mut Router<usize>| -> RuleId {
            let id = router.insert(kong_path("/team-7/new"), 7).expect("a small rule");
            *published = router.clone();
            router.remove(id).expect("just inserted");
            *published = router.clone();
            id
        };
        one(&mut router, &mut published);
        assert_eq!(published.len(), size);
        c.bench_function(&format!("router/change/{label}"), |b| {
            b.iter(|| one(&mut router, &mut published))
        });
    }
}

fn build(c: &mut Criterion) {
    let paths: Vec<String> = (0..100_000).map(path).collect();
    let rules: Vec<Rule> = paths.iter().map(|path| kong_path(path)).collect();
    assert_eq!(kong(rules.clone()).len(), rules.len());
    let mut group = c.benchmark_group("router/build");
    group.sample_size(10);
    group.bench_function("100k", |b| {
        b.iter_batched(|| rules.clone(), kong, BatchSize::PerIteration)
    });
    group.finish();
}

// --- Tables ---

fn patterns() -> Vec<&'static str> {
    let lines = include_str!("data/routes_130.txt").lines();
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(_, pattern)| pattern)
        .collect()
}

/// Paths as an API has them: few words, many numbers, shared heads.
fn path(number: usize) -> String {
    let words = ["users", "orders", "invoices", "events", "projects"];
    format!(
        "/team-{}/{}/v{}/{number}",
        number % 97,
        words[number % words.len()],
        number % 3
    )
}

fn gw<'p>(patterns: impl IntoIterator<Item = &'p str>) -> Router<usize> {
    let rules = patterns
        .into_iter()
        .map(|pattern| Rule::path(pattern).expect("a pattern"));
    table(Profile::PathFirst, rules)
}

fn kong(rules: impl IntoIterator<Item = Rule>) -> Router<usize> {
    table(Profile::Kong, rules)
}

fn kong_path(text: &str) -> Rule {
    Rule::any().pattern(Pattern::kong(text).expect("a path"))
}

fn table(profile: Profile, rules: impl IntoIterator<Item = Rule>) -> Router<usize> {
    let mut router = Router::with_profile(profile);
    for (index, rule) in rules.into_iter().enumerate() {
        router.insert(rule, index).expect("a small rule");
    }
    router
}

criterion_group!(
    benches, params, literal, param, prefix, hosts, regex, change, build
);
criterion_main!(benches);
