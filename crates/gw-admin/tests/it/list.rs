//! Lists: order, pages, filters.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::support::Admin;

/// All names of a list, page by page, following the links.
async fn walk(admin: &Admin, first: &str, mut between: impl AsyncFnMut()) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = Some(first.to_owned());
    while let Some(path) = next {
        let (status, page) = admin.get(&path).await;
        assert_eq!(status, 200, "{path}: {page}");
        names.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        assert_eq!(page["offset"].is_string(), page["next"].is_string());
        next = page["next"].as_str().map(str::to_owned);
        between().await;
    }
    names
}

#[tokio::test]
async fn an_empty_list_is_a_list() {
    let admin = Admin::new().await;
    for path in [
        "/services",
        "/services/",
        "/key-auths",
        "/services?tags=x",
        "/services?tags=x/y&size=1",
    ] {
        assert_eq!(
            admin.get(path).await,
            (200, json!({ "data": [], "next": null })),
            "{path}"
        );
    }
}

#[tokio::test]
async fn order_is_by_creation_and_pages_hold_everything_once() {
    let admin = Admin::new().await;
    for i in 0..25 {
        let age = 2000 - i * 10;
        let body = json!({ "name": format!("s{age}"), "host": "a", "created_at": age });
        admin.make("/services", body).await;
    }
    let whole = walk(&admin, "/services", async || {}).await;
    let mut sorted = whole.clone();
    sorted.sort();
    assert_eq!((whole.len(), &whole), (25, &sorted));
    for size in [1, 2, 7, 24, 25, 26] {
        assert_eq!(
            walk(&admin, &format!("/services?size={size}"), async || {}).await,
            whole,
            "size {size}"
        );
    }
    let first = admin.get("/services?size=2&x=1").await.1;
    assert!(first["next"].as_str().unwrap().ends_with("&size=2"), "{first}");
    assert!(
        first["next"].as_str().unwrap().starts_with("/services?offset="),
        "{first}"
    );
}

#[tokio::test]
async fn pages_stay_whole_under_inserts_and_deletions() {
    let admin = Admin::new().await;
    for i in 0..40 {
        admin
            .make("/services", json!({ "name": format!("s{i}"), "host": "a" }))
            .await;
    }
    let mut inserted = 0;
    let names = walk(&admin, "/services?size=3", async || {
        inserted += 1;
        if inserted < 30 {
            admin
                .make(
                    "/services",
                    json!({ "name": format!("new{inserted}"), "host": "a" }),
                )
                .await;
        }
        // Deleting what a link's offset stands on must not lose the place.
        admin
            .check(
                &format!("DELETE /services/new{}", inserted - 1),
                json!(null),
                204,
                json!(null),
            )
            .await;
    })
    .await;
    let old: Vec<_> = names.iter().filter(|name| name.starts_with('s')).collect();
    assert_eq!(old.len(), 40, "no gaps, no repetitions: {names:?}");
    assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
}

#[tokio::test]
async fn tags_filter_lists_and_links_keep_them() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "p", "host": "a" })).await;
    for (i, tags) in [
        json!(["a"]),
        json!(["a", "b"]),
        json!(["b"]),
        json!(["c d"]),
        json!(null),
    ]
    .into_iter()
    .enumerate()
    {
        let service = json!({ "name": format!("s{i}"), "host": "a", "tags": tags, "created_at": 1000 + i });
        admin.make("/services", service).await;
        let route = json!({ "name": format!("s{i}"), "paths": ["/"], "tags": tags, "created_at": 1000 + i });
        admin.make("/services/p/routes", route).await;
    }
    for (filter, expected) in [
        ("a", vec!["s0", "s1"]),
        ("a,b", vec!["s1"]),
        ("b,a", vec!["s1"]),
        ("a/b", vec!["s0", "s1", "s2"]),
        ("a/a/b", vec!["s0", "s1", "s2"]),
        ("b/c%20d", vec!["s1", "s2", "s3"]),
        ("c+d", vec!["s3"]),
        ("x", vec![]),
        ("a,x", vec![]),
    ] {
        for list in ["/services", "/services/p/routes"] {
            for size in [1, 100] {
                let path = format!("{list}?tags={filter}&size={size}");
                assert_eq!(walk(&admin, &path, async || {}).await, expected, "{path}");
            }
        }
    }
}

/// Readers of nested and of filtered lists, page by page, while others insert into them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pages_hold_everything_once_while_others_insert() {
    let admin = Admin::new().await;
    admin.make("/services", json!({ "name": "s", "host": "a" })).await;
    admin.make("/upstreams", json!({ "name": "u" })).await;
    admin.make("/consumer_groups", json!({ "name": "g" })).await;
    let insert = async |admin: &Admin, prefix: &str, i: usize| {
        let (name, tags) = (
            format!("{prefix}{i}"),
            json!(["a", if i.is_multiple_of(2) { "b" } else { "c" }]),
        );
        let route = json!({ "name": name, "paths": ["/"], "tags": tags });
        admin.make("/services/s/routes", route).await;
        let target = json!({ "target": format!("{name}:1"), "tags": tags });
        admin.make("/upstreams/u/targets", target).await;
        admin
            .make("/consumers", json!({ "username": name, "tags": tags }))
            .await;
        let member = json!({ "consumer": name });
        admin
            .check("POST /consumer_groups/g/consumers", member, 201, json!({}))
            .await;
    };
    for i in 0..30 {
        insert(&admin, "old", i).await;
    }
    let done = Arc::new(AtomicBool::new(false));
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let (admin, done) = (admin.clone(), Arc::clone(&done));
        writers.spawn(async move {
            let mut made = 0;
            while !done.load(Ordering::Relaxed) && made < 500 {
                insert(&admin, &format!("new{writer}x"), made).await;
                made += 1;
            }
            made
        });
    }
    for (list, field, filter, kept, old) in [
        ("/services/s/routes", "name", "", "size=4", 30),
        ("/services/s/routes", "name", "&tags=a,b", "size=4&tags=a%2Cb", 15),
        ("/services/s/routes", "name", "&tags=b/c", "size=4&tags=b%2Fc", 30),
        ("/routes", "name", "&tags=a,c", "size=4&tags=a%2Cc", 15),
        ("/routes", "name", "&tags=b/c", "size=4&tags=b%2Fc", 30),
        ("/upstreams/u/targets", "target", "&tags=b", "size=4&tags=b", 15),
        (
            "/upstreams/u/targets/all",
            "target",
            "&tags=b",
            "size=4&tags=b",
            15,
        ),
        (
            "/consumer_groups/g/consumers",
            "username",
            "&tags=c",
            "size=4&tags=c",
            15,
        ),
    ] {
        let mut seen = Vec::new();
        let mut next = Some(format!("{list}?size=4{filter}"));
        while let Some(path) = next {
            let (status, page) = admin.get(&path).await;
            assert_eq!(status, 200, "{path}: {page}");
            let items = page["data"].as_array().unwrap();
            seen.extend(items.iter().map(|item| item[field].as_str().unwrap().to_owned()));
            next = page["next"].as_str().map(str::to_owned);
            if let Some(next) = &next {
                assert!(
                    items.len() == 4 && next.starts_with(list) && next.ends_with(kept),
                    "{next}"
                );
            }
        }
        let unique: HashSet<_> = seen.iter().collect();
        assert_eq!(unique.len(), seen.len(), "{list}{filter}: nothing twice");
        let there = seen.iter().filter(|name| name.starts_with("old")).count();
        assert_eq!(there, old, "{list}{filter}: all that was there throughout");
    }
    done.store(true, Ordering::Relaxed);
    let made: usize = writers.join_all().await.into_iter().sum();
    assert!(made > 2, "others did insert meanwhile");
}

#[tokio::test]
async fn a_filter_that_says_two_things_is_refused_on_every_list() {
    let admin = Admin::new().await;
    crate::support::one_of_each(&admin).await;
    for list in [
        "/services",
        "/services/s/routes",
        "/upstreams/u/targets/all",
        "/consumer_groups/gold/consumers",
        "/consumers/c/key-auth",
        "/tags",
        "/tags/t",
    ] {
        let refused = json!({ "code": 11, "options": { "tags": "invalid filter syntax" } });
        for mixed in ["a,b/c", "a/b,c", "a,b&tags=c", "a//b", ",a"] {
            admin
                .check(
                    &format!("GET {list}?tags={mixed}"),
                    json!(null),
                    400,
                    refused.clone(),
                )
                .await;
        }
    }
}

#[tokio::test]
async fn a_list_by_custom_id_has_at_most_one() {
    let admin = Admin::new().await;
    let id = admin
        .make("/consumers", json!({ "username": "a", "custom_id": "x y" }))
        .await;
    admin.make("/consumers", json!({ "username": "b" })).await;
    let found = admin.get("/consumers?custom_id=x%20y").await.1;
    assert_eq!(
        (&found["data"][0]["id"], &found["next"]),
        (&json!(id), &Value::Null)
    );
    assert_eq!(admin.count("/consumers?custom_id=z").await, 0);
    admin
        .check(
            "GET /consumers?custom_id=",
            json!(null),
            400,
            json!({ "code": 10, "message": "invalid unique (custom_id: length must be at least 1)" }),
        )
        .await;
    assert_eq!(
        admin.count("/consumers?username=zzz").await,
        2,
        "other filters mean nothing"
    );
}

#[tokio::test]
async fn wrong_arguments_are_refused() {
    let admin = Admin::new().await;
    let many = format!("/services?{}", "a=1&".repeat(1001));
    for (path, expected) in [
        (
            "/services?offset=x",
            json!({ "code": 7, "name": "invalid offset", "message": "'x' is not a valid offset: bad base64 encoding" }),
        ),
        (
            "/services?size=a",
            json!({ "code": 9, "name": "invalid size", "message": "size must be a number" }),
        ),
        (
            "/services?size=0",
            json!({ "code": 9, "message": "size must be an integer between 1 and 1000" }),
        ),
        (
            "/services?tags=a,b/c",
            json!({
                "code": 11, "name": "invalid options", "message": "invalid option (tags: invalid filter syntax)",
                "options": { "tags": "invalid filter syntax" },
            }),
        ),
        (
            "/services?tags=",
            json!({ "code": 11, "message": "invalid option (tags: cannot be null)" }),
        ),
        (
            "/services?tags=%ff",
            json!({ "message": "Cannot parse arguments: a percent-encoded text is not UTF-8" }),
        ),
        (&many, json!({ "message": "Too many arguments" })),
    ] {
        admin
            .check(&format!("GET {path}"), json!(null), 400, expected)
            .await;
    }
}
