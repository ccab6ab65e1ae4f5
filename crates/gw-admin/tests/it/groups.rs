//! Consumer groups and access lists: who is in which group.

use serde_json::json;

use crate::support::{ABSENT, Admin, FORM, id};

async fn admin_with_groups() -> Admin {
    let admin = Admin::new().await;
    for name in ["gold", "silver"] {
        admin
            .make("/consumer_groups", json!({ "name": name, "tags": ["t"] }))
            .await;
    }
    for name in ["a", "b", "c"] {
        admin.make("/consumers", json!({ "username": name })).await;
    }
    admin
}

#[tokio::test]
async fn members_are_added_from_either_side() {
    let admin = admin_with_groups().await;
    let expected = json!({ "consumer_group": { "name": "gold" }, "consumers": [{ "username": "a" }] });
    let path = "POST /consumer_groups/gold/consumers";
    admin.check(path, json!({ "consumer": "a" }), 201, expected).await;
    let (status, answer) = admin.send(path, FORM, "consumer[]=b&consumer[]=c").await;
    assert_eq!((status, answer["consumers"].as_array().unwrap().len()), (201, 2));
    let expected = json!({ "consumer": { "username": "a" }, "consumer_groups": [{ "name": "silver" }] });
    admin
        .check(
            "POST /consumers/a/consumer_groups",
            json!({ "group": "silver" }),
            201,
            expected,
        )
        .await;

    let members = admin.get("/consumer_groups/gold/consumers").await.1;
    assert_eq!(members["data"], members["consumers"]);
    let names: Vec<&str> = members["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["username"].as_str().unwrap())
        .collect();
    assert_eq!(names.len(), 3, "{members}");
    let groups = admin.get("/consumers/a/consumer_groups?tags=t").await.1;
    assert_eq!(groups["data"].as_array().unwrap().len(), 2);
    assert_eq!(admin.count("/consumers/a/consumer_groups?tags=x").await, 0);
    let one = json!({ "consumer": { "username": "b" } });
    admin
        .check("GET /consumer_groups/gold/consumers/b", json!(null), 200, one)
        .await;
    admin
        .check(
            "GET /consumer_groups/silver/consumers/b",
            json!(null),
            404,
            json!({}),
        )
        .await;
    let shown = json!({ "name": "gold", "consumer_group": { "name": "gold" } });
    let shown = admin
        .check("GET /consumer_groups/gold", json!(null), 200, shown)
        .await;
    assert_eq!(shown["consumers"].as_array().unwrap().len(), 3);
    let brief = admin.get("/consumer_groups/gold?list_consumers=false").await.1;
    assert!(brief.get("consumers").is_none() && brief["consumer_group"]["name"] == "gold");
}

#[tokio::test]
async fn pages_of_members() {
    let admin = admin_with_groups().await;
    let all = json!({ "consumer": ["a", "b", "c", "a"] });
    let made = admin
        .check("POST /consumer_groups/gold/consumers", all, 201, json!({}))
        .await;
    assert_eq!(
        made["consumers"].as_array().unwrap().len(),
        3,
        "named twice, added once"
    );
    let mut path = "/consumer_groups/gold/consumers?size=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let (status, page) = admin.get(&path).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(page["data"].as_array().unwrap().iter().map(id));
        match page["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 3);
}

#[tokio::test]
async fn members_that_cannot_be_added() {
    let admin = admin_with_groups().await;
    let path = "POST /consumer_groups/gold/consumers";
    admin
        .check(path, json!({ "consumer": "a" }), 201, json!({}))
        .await;
    let before = admin.revision();
    let again = json!({ "code": 5, "name": "unique constraint violation" });
    admin
        .check(path, json!({ "consumer": ["b", "a"] }), 409, again)
        .await;
    let nobody = json!({ "message": "Consumer 'x' not found" });
    admin
        .check(path, json!({ "consumer": ["b", "x"] }), 404, nobody)
        .await;
    let missing = json!({ "fields": { "consumer": "required field missing" } });
    for body in [json!({}), json!(null)] {
        admin.check(path, body, 400, missing.clone()).await;
    }
    let unknown = json!({ "consumer": 1, "group": "x" });
    let fields = json!({ "fields": { "consumer": "expected a string", "group": "unknown field" } });
    admin.check(path, unknown, 400, fields).await;
    admin
        .check(
            path,
            json!({ "consumer": ["a", 1] }),
            400,
            json!({ "fields": { "consumer": [null, "expected a string"] } }),
        )
        .await;
    admin
        .check(
            "POST /consumer_groups/x/consumers",
            json!({ "consumer": "a" }),
            404,
            json!({}),
        )
        .await;
    for path in ["/consumers/x/consumer_groups", "/consumers/a/consumer_groups/x"] {
        admin
            .check(&format!("GET {path}"), json!(null), 404, json!({}))
            .await;
    }
    assert_eq!(admin.revision(), before);
}

#[tokio::test]
async fn members_go_alone_together_or_with_either_end() {
    let admin = admin_with_groups().await;
    let all = json!({ "consumer": ["a", "b", "c"] });
    for group in ["gold", "silver"] {
        let path = format!("POST /consumer_groups/{group}/consumers");
        admin.check(&path, all.clone(), 201, json!({})).await;
    }
    admin
        .check(
            "DELETE /consumer_groups/gold/consumers/a",
            json!(null),
            204,
            json!(null),
        )
        .await;
    admin
        .check(
            "DELETE /consumer_groups/gold/consumers/a",
            json!(null),
            404,
            json!({}),
        )
        .await;
    assert_eq!(admin.count("/consumer_groups/gold/consumers").await, 2);
    admin
        .check(
            "DELETE /consumers/b/consumer_groups",
            json!(null),
            204,
            json!(null),
        )
        .await;
    assert_eq!(admin.count("/consumers/b/consumer_groups").await, 0);
    assert_eq!(admin.count("/consumer_groups/gold/consumers").await, 1);
    admin
        .check("DELETE /consumers/c", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.count("/consumer_groups/silver/consumers").await, 1);
    admin
        .check("DELETE /consumer_groups/silver", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.count("/consumers/a/consumer_groups").await, 0);
    assert_eq!(admin.count("/consumers").await, 2);
}

#[tokio::test]
async fn access_lists() {
    let admin = admin_with_groups().await;
    let made = admin
        .make("/consumers/a/acls", json!({ "group": "g", "tags": ["t"] }))
        .await;
    for name in ["g", &made] {
        let path = format!("GET /consumers/a/acls/{name}");
        admin
            .check(&path, json!(null), 200, json!({ "id": made, "group": "g" }))
            .await;
        let path = format!("GET /consumers/b/acls/{name}");
        admin.check(&path, json!(null), 404, json!({})).await;
    }
    let again = json!({ "code": 5 });
    admin
        .check("POST /consumers/a/acls", json!({ "group": "g" }), 409, again)
        .await;
    admin.make("/consumers/b/acls", json!({ "group": "g" })).await;
    let flat = json!({ "group": "h", "consumer": { "username": "a" } });
    admin
        .check("POST /acls", flat, 201, json!({ "group": "h" }))
        .await;
    admin
        .check(
            "PUT /consumers/a/acls/i",
            json!(null),
            200,
            json!({ "group": "i" }),
        )
        .await;
    assert_eq!(admin.count("/consumers/a/acls").await, 3);
    assert_eq!(admin.count("/acls").await, 4);
    admin
        .check("GET /acls/g", json!(null), 400, json!({ "code": 1 }))
        .await;
    admin
        .check(&format!("GET /acls/{ABSENT}"), json!(null), 404, json!({}))
        .await;
    admin
        .check("DELETE /consumers/a/acls/g", json!(null), 204, json!(null))
        .await;
    assert_eq!(admin.count("/acls").await, 3);
}
