//! What hosts, methods and conditions cost, on each route and where many routes differ by nothing else.

use std::collections::HashSet;
use std::rc::Rc;

use gw_router::{Condition, Lookup, Profile, Router, Rule};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::case::{Case, Contender, Limit, label};
use crate::tables::{GITHUB, nameless, path_of};

const HOST: &str = "api.github.com";
const VERSION: HeaderName = HeaderName::from_static("x-github-api-version");
const QUERY: &str = "page=2&per_page=100";

/// Which parts each route has beside its path.
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    host: bool,
    method: bool,
    conditions: bool,
}

pub(crate) fn cases(limit: Limit) -> Vec<Case> {
    let mut cases = vec![Case::new("router/find/conditions", on_each_route)];
    cases.push(Case::new("router/find/hosts", move || hosts(limit)));
    cases.push(Case::new("router/find/one_path", one_path));
    cases
}

// --- The same on each route ---

fn on_each_route() -> Vec<Contender> {
    let none = Parts::default();
    let all = Parts {
        host: true,
        method: true,
        conditions: true,
    };
    vec![
        github("bare", none),
        github("host", Parts { host: true, ..none }),
        github("method", Parts { method: true, ..none }),
        github(
            "two conditions",
            Parts {
                conditions: true,
                ..none
            },
        ),
        github("all", all),
    ]
}

/// The routes of GitHub with these parts; without methods each path once.
fn github(name: &str, parts: Parts) -> Contender {
    let mut routes: Vec<(Method, &str)> = GITHUB
        .routes()
        .map(|(method, pattern)| (method.parse().expect("a method"), pattern))
        .collect();
    if !parts.method {
        let mut seen = HashSet::new();
        routes.retain(|(_, pattern)| seen.insert(nameless(pattern)));
    }
    let mut router = Router::new();
    for (number, (method, pattern)) in routes.iter().enumerate() {
        let mut rule = Rule::path(pattern).expect("a pattern");
        if parts.host {
            rule = rule.host(HOST.parse().expect("a host"));
        }
        if parts.method {
            rule = rule.method(method.clone());
        }
        if parts.conditions {
            rule = rule
                .condition(Condition::header(VERSION).equals("2022-11-28"))
                .condition(Condition::query("per_page").equals("100"));
        }
        router.insert(rule, number).expect("a small rule");
    }
    let headers = headers("2022-11-28");
    let requests: Rc<[(Method, String)]> = routes
        .iter()
        .map(|(method, pattern)| (method.clone(), path_of(pattern)))
        .collect();
    for (number, (method, path)) in requests.iter().enumerate() {
        let lookup = Lookup::new(method, HOST, path).headers(&headers).query(QUERY);
        assert_eq!(
            router.find(&lookup).map(|found| *found.value),
            Some(number),
            "{method} {path}"
        );
    }
    Contender::sweep(name, requests, move |(method, path)| {
        let lookup = Lookup::new(method, HOST, path).headers(&headers).query(QUERY);
        std::hint::black_box(router.find(&lookup));
    })
}

fn headers(version: &'static str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("accept", HeaderValue::from_static("application/json"));
    headers.insert("user-agent", HeaderValue::from_static("bench"));
    headers.insert(VERSION, HeaderValue::from_static(version));
    headers
}

// --- One path, many routes ---

/// As many hosts on `/*`, asked for in turn.
fn hosts(limit: Limit) -> Vec<Contender> {
    let profiles = [
        ("path first", Profile::PathFirst),
        ("host first", Profile::HostFirst),
        ("Kong", Profile::Kong),
    ];
    let mut contenders = Vec::new();
    for (name, profile) in profiles {
        for size in limit.of(&[1, 100, 10_000]) {
            let mut router = Router::with_profile(profile);
            let hosts: Rc<[String]> = (0..size).map(|n| format!("tenant-{n}.example.com")).collect();
            for (number, host) in hosts.iter().enumerate() {
                let rule = Rule::path("/*")
                    .expect("a pattern")
                    .host(host.parse().expect("a host"));
                router.insert(rule, number).expect("a small rule");
            }
            for (number, host) in hosts.iter().enumerate() {
                let found = router.find(&Lookup::path_only("/users/7").host(host));
                assert_eq!(found.map(|found| *found.value), Some(number));
            }
            let asked: Rc<[String]> = (0..100.min(size))
                .map(|n| hosts[n * size / 100.min(size)].clone())
                .collect();
            contenders.push(Contender::sweep(
                format!("{name}, {}", label(size)),
                asked,
                move |host| {
                    std::hint::black_box(router.find(&Lookup::path_only("/users/7").host(host)));
                },
            ));
        }
    }
    contenders
}

/// Routes on one path that differ by the value of a header or an argument.
fn one_path() -> Vec<Contender> {
    let mut contenders = Vec::new();
    for size in [1, 10, 1000] {
        let values: Vec<String> = (0..size).map(|n| format!("value-{n}")).collect();
        let rule = || Rule::path("/items/{id}").expect("a pattern");
        let (mut by_header, mut by_query) = (Router::new(), Router::new());
        for (number, value) in values.iter().enumerate() {
            let header = Condition::header(VERSION).equals(value);
            by_header
                .insert(rule().condition(header), number)
                .expect("a small rule");
            let query = Condition::query("tenant").equals(value);
            by_query
                .insert(rule().condition(query), number)
                .expect("a small rule");
        }
        let asked: Vec<&String> = (0..10.min(size))
            .map(|n| &values[n * size / 10.min(size)])
            .collect();
        let headers: Rc<[HeaderMap]> = asked
            .iter()
            .map(|value| {
                let mut headers = headers("");
                headers.insert(VERSION, HeaderValue::from_str(value).expect("a plain text"));
                headers
            })
            .collect();
        let queries: Rc<[String]> = asked
            .iter()
            .map(|value| format!("page=2&tenant={value}"))
            .collect();
        for ((value, headers), query) in asked.iter().zip(&*headers).zip(&*queries) {
            let header = by_header.find(&Lookup::path_only("/items/7").headers(headers));
            let query = by_query.find(&Lookup::path_only("/items/7").query(query));
            let expected = values.iter().position(|known| known == *value);
            assert_eq!(header.map(|found| *found.value), expected);
            assert_eq!(query.map(|found| *found.value), expected);
        }
        contenders.push(Contender::sweep(
            format!("header, {}", label(size)),
            headers,
            move |headers| {
                std::hint::black_box(by_header.find(&Lookup::path_only("/items/7").headers(headers)));
            },
        ));
        contenders.push(Contender::sweep(
            format!("query, {}", label(size)),
            queries,
            move |query| {
                std::hint::black_box(by_query.find(&Lookup::path_only("/items/7").query(query)));
            },
        ));
    }
    contenders.sort_by_key(|contender| contender.name.starts_with("query"));
    contenders
}
