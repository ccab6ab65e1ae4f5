//! Public configurations: all of them are read, and one after the other replaces the last.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::Admin;

/// Whether a message is about a plugin, or a list of a plugin's, that is not here.
fn is_absent_plugin(message: &str) -> bool {
    message.ends_with("not enabled; add it to the 'plugins' configuration property")
        || message.ends_with("which is not here")
}

#[tokio::test]
async fn public_configurations_are_read() {
    let Some(folder) = std::env::var_os("GW_CORPUS") else {
        println!("GW_CORPUS names no folder of public configurations: nothing was read");
        return;
    };
    let folder = PathBuf::from(folder).join("kong");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let admin = Admin::new().await;
    let (mut loaded, mut strange) = (0, 0);
    for path in &paths {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_string_lossy();
        let before = admin.get("/config").await.1;
        let (status, answer) = admin.send("POST /config", "application/yaml", &text).await;
        if status == 201 {
            loaded += 1;
            assert_loads_again(&admin, &name, &text).await;
            continue;
        }
        assert_eq!(status, 400, "{name}: {answer:#}");
        assert_eq!(admin.get("/config").await.1, before, "{name}");
        let violations = answer["violations"].as_array().unwrap();
        assert!(
            violations.iter().all(|violation| violation["line"].is_u64()),
            "{name}: {answer:#}"
        );
        assert!(
            answer["fields"].get("error").is_none(),
            "{name} is not read: {answer:#}"
        );
        let mut others = violations
            .iter()
            .filter(|violation| !is_absent_plugin(violation["message"].as_str().unwrap()))
            .peekable();
        strange += usize::from(others.peek().is_some());
        others.for_each(|violation| println!("{name}: {}", told(violation)));
    }
    println!(
        "{loaded} of {} loaded, {strange} refused for more than absent plugins",
        paths.len()
    );
    // Some of what people write is wrong, and Kong refuses it too: about one in ten.
    assert!(loaded > 0 && strange * 5 <= paths.len());
}

/// The same file changes nothing, and what is exported is the same again.
async fn assert_loads_again(admin: &Admin, name: &str, text: &str) {
    let revision = admin.revision();
    let (status, _) = admin
        .send("POST /config?check_hash=1", "application/yaml", text)
        .await;
    assert_eq!((status, admin.revision()), (304, revision), "{name}");
    let exported = admin.get("/config").await.1;
    let (status, answer) = admin.json("POST /config?check_hash=1", exported).await;
    assert_eq!((status, admin.revision()), (304, revision), "{name}: {answer:#}");
}

fn told(violation: &Value) -> String {
    format!(
        "line {}: {}: {}",
        violation["line"], violation["path"], violation["message"]
    )
}
