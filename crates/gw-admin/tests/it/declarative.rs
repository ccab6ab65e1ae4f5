//! `/config`: whole configurations, read and replaced at once.

mod corpus; // public files, if there are some
mod export; // out of one gateway, into another
mod loading; // how it is sent, what is written and answered
mod reading; // what files mean
mod wrong; // what is refused, and how that is told

use serde_json::{Value, json};

use crate::support::Admin;

const YAML: &str = "application/yaml";

/// A configuration of ours.
fn fixture(name: &str) -> String {
    let path = format!("{}/tests/fixtures/config/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Loads a configuration, and returns its entities by kind and id.
async fn load(admin: &Admin, text: &str) -> Value {
    let (status, answer) = admin.send("POST /config", YAML, text).await;
    assert_eq!(status, 201, "{answer:#}");
    answer
}

/// All entities that are stored, by kind and id, as they are shown.
async fn entities(admin: &Admin) -> Value {
    let (mut all, listed) = (json!({}), admin.get("/openapi.json").await.1);
    let paths = listed["paths"].as_object().unwrap();
    for path in paths.keys().filter(|path| {
        !path.contains('{') && !path.contains('.') && *path != "/metrics" && !path.starts_with("/config")
    }) {
        let (status, page) = admin.get(&format!("{path}?size=1000")).await;
        let entities = page["data"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one.get("id").is_some());
        for entity in entities.filter(|_| status == 200) {
            let schema =
                &paths[path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
            let kind = schema
                .as_str()
                .unwrap()
                .rsplit('/')
                .next()
                .unwrap()
                .trim_end_matches(".page");
            all[kind][entity["id"].as_str().unwrap()] = entity.clone();
        }
    }
    for upstream in all["upstreams"].as_object().cloned().unwrap_or_default().keys() {
        for target in admin.get(&format!("/upstreams/{upstream}/targets")).await.1["data"]
            .as_array()
            .unwrap()
        {
            all["targets"][target["id"].as_str().unwrap()] = target.clone();
        }
    }
    let view = admin.store.view();
    for (key, entry) in view.list("consumer_group_consumers/", None) {
        let id = key.as_str().rsplit('/').next().unwrap();
        all["consumer_group_consumers"][id] = serde_json::from_slice(&entry.value).unwrap();
    }
    all
}
