//! Readers beside a writer: each sees the table before a change or after it, never in between.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use gw_router::{Condition, Lookup, Profile, Router, Rule, RuleId};
use http::Method;

type Row = (
    &'static str,
    &'static str,
    Option<&'static str>,
    &'static str,
    &'static str,
    &'static str,
);

/// Rules that stand at all kinds of places, and a request that only the rule at the same position matches.
const RULES: [Row; 9] = [
    ("/literal", "", None, "/literal", "", ""),
    ("/users/{id}", "", None, "/users/7", "", ""),
    ("/users/{id}/posts", "", None, "/users/7/posts", "", ""),
    ("/files/{name}.{ext}", "", None, "/files/a.b", "", ""),
    ("/tree/*path/end", "", None, "/tree/a/b/end", "", ""),
    ("/all/{*rest}", "", None, "/all/x/y", "", ""),
    ("/host", "a.com", None, "/host", "a.com:80", ""),
    ("/host", "*.b.com", None, "/host", "x.b.com", ""),
    ("/value", "", Some("2"), "/value", "", "v=2"),
];

fn rule(position: usize) -> Rule {
    let (path, host, value, ..) = RULES[position];
    let mut rule = Rule::path(path).unwrap();
    if !host.is_empty() {
        rule = rule.host(host.parse().unwrap());
    }
    match value {
        Some(value) => rule.condition(Condition::query("v").equals(value)),
        None => rule,
    }
}

fn find(router: &Router<usize>, position: usize) -> Option<usize> {
    let (.., path, host, query) = RULES[position];
    let lookup = Lookup::new(&Method::GET, host, path).query(query);
    router.find(&lookup).map(|found| *found.value)
}

/// The version that a table is of: all rules agree on it, and one rule is at one place only.
fn version(router: &Router<usize>) -> usize {
    let versions: Vec<_> = (0..RULES.len()).map(|position| find(router, position)).collect();
    let first = versions[0].expect("the first rule is always there");
    assert_eq!(versions, vec![Some(first); RULES.len()], "a mix of versions");
    let at = |path| router.find(&Lookup::path_only(path)).map(|found| *found.value);
    let expected = if first % 2 == 0 {
        (Some(first), None)
    } else {
        (None, Some(first))
    };
    assert_eq!(
        (at("/even"), at("/odd")),
        expected,
        "the moving rule of version {first}"
    );
    first
}

fn moving(version: usize) -> Rule {
    Rule::path(if version.is_multiple_of(2) {
        "/even"
    } else {
        "/odd"
    })
    .unwrap()
}

#[test]
fn a_reader_sees_one_version_while_a_writer_changes_every_rule() {
    const VERSIONS: usize = 200;
    for profile in [Profile::PathFirst, Profile::HostFirst, Profile::Kong] {
        let mut router = Router::with_profile(profile);
        let ids: Vec<RuleId> = (0..RULES.len())
            .map(|position| router.insert(rule(position), 0).unwrap())
            .collect();
        let mover = router.insert(moving(0), 0).unwrap();
        let published = Mutex::new(router.clone());
        let (done, read) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut last = 0;
                    while !done.load(Ordering::Acquire) {
                        let router = published.lock().unwrap().clone();
                        let seen = version(&router);
                        assert!(seen >= last, "version {seen} after {last}");
                        last = seen;
                        // The writer has gone on meanwhile; this table has not.
                        assert_eq!(version(&router), seen);
                        read.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
            let writer = scope.spawn(|| {
                let mut extra = Vec::new();
                for version in 1..=VERSIONS {
                    for (position, id) in ids.iter().enumerate() {
                        router.replace(*id, rule(position), version).unwrap();
                    }
                    router.replace(mover, moving(version), version).unwrap();
                    // Splits and joins the nodes that the readers are in.
                    let path = format!("/users/{{id}}/p{version}");
                    extra.push(router.insert(Rule::path(&path).unwrap(), version).unwrap());
                    if version % 3 == 0 {
                        extra.drain(..).for_each(|id| assert!(router.remove(id)));
                    }
                    *published.lock().unwrap() = router.clone();
                }
            });
            let written = writer.join();
            // The last version is seen too.
            while written.is_ok() && read.load(Ordering::Relaxed) < 100 {
                thread::yield_now();
            }
            done.store(true, Ordering::Release);
            written.unwrap();
        });
        assert_eq!(version(&published.into_inner().unwrap()), VERSIONS);
    }
}
