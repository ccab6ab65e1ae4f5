//! What is in the file.

use http::{Request, StatusCode};
use serde_json::{Value, json};

use super::FileLog;
use crate::kit::Kit;
use crate::queue::Queues;
use crate::registry::Registry;
use crate::test_lender::TestLender;

fn log(kit: &Kit, statuses: std::ops::Range<u16>) {
    for status in statuses {
        let mut ran = kit.access(Request::get("/").body(String::new()).unwrap());
        kit.log(&mut ran, StatusCode::from_u16(status).unwrap(), None);
    }
}

fn statuses(path: &std::path::Path) -> Vec<u64> {
    let text = std::fs::read_to_string(path).unwrap();
    let read = |line: &str| {
        serde_json::from_str::<Value>(line).unwrap()["response"]["status"]
            .as_u64()
            .unwrap()
    };
    text.lines().map(read).collect()
}

#[tokio::test]
async fn lines_are_appended_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let registry = Registry::new().with::<FileLog>().lent(TestLender::new());
    let queues = registry.env().shared().get::<Queues>();
    let kit = Kit::of(&registry, "file-log", json!({ "path": path }));
    log(&kit, 200..300);
    queues.flushed().await;
    assert_eq!(statuses(&path), (200..300).collect::<Vec<_>>());
    // It writes on where the file went, as long as it is not to open it anew.
    let moved = folder.path().join("moved");
    std::fs::rename(&path, &moved).unwrap();
    log(&kit, 300..301);
    queues.flushed().await;
    assert_eq!((statuses(&moved).len(), path.exists()), (101, false));
}

#[tokio::test]
async fn a_file_that_was_moved_is_made_anew_if_it_is_reopened() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let registry = Registry::new().with::<FileLog>().lent(TestLender::new());
    let queues = registry.env().shared().get::<Queues>();
    let kit = Kit::of(&registry, "file-log", json!({ "path": path, "reopen": true }));
    log(&kit, 200..202);
    queues.flushed().await;
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    log(&kit, 202..203);
    queues.flushed().await;
    assert_eq!(statuses(&path), [202]);
}

#[tokio::test]
async fn nothing_is_lost_while_there_is_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("later").join("log");
    let registry = Registry::new().with::<FileLog>().lent(TestLender::new());
    let kit = Kit::of(&registry, "file-log", json!({ "path": path }));
    log(&kit, 200..210);
    let flushed = registry.flushed();
    let made = async {
        // It has been tried, in vain.
        tokio::task::spawn_blocking(|| ()).await.unwrap();
        std::fs::create_dir(path.parent().unwrap()).unwrap();
    };
    tokio::join!(flushed, made);
    assert_eq!(statuses(&path), (200..210).collect::<Vec<_>>());
}

#[test]
fn a_path_is_a_file_s_name() {
    for (path, good) in [
        ("/var/log/a.log", true),
        ("/dev/stdout", true),
        ("/tmp/*", false),
        ("a\\b", false),
        ("", false),
    ] {
        let mut document = json!({ "name": "file-log", "config": { "path": path } });
        let made = Registry::new()
            .with::<FileLog>()
            .complete(document.as_object_mut().unwrap());
        assert_eq!(made.is_ok(), good, "{path}");
    }
}
