//! A program in place of the gateway: starting, stopping, restarting, reading its log.

use std::os::unix::process::ExitStatusExt as _;

use gw_testkit::{Gateway, GatewayBuilder, Raw, StartError};

fn fake() -> GatewayBuilder {
    Gateway::builder(env!("CARGO_BIN_EXE_fake-gateway"))
}

#[tokio::test]
async fn both_addresses_are_read_and_answer() {
    let gateway = fake().start().await;
    assert_ne!(gateway.proxy(), gateway.admin());
    Raw::connect(gateway.proxy()).await;
    Raw::connect(gateway.admin()).await;
    assert_eq!(gateway.proxy_url("/a"), format!("http://{}/a", gateway.proxy()));
    assert_eq!(gateway.status(), None);
}

#[tokio::test]
async fn arguments_and_variables_reach_it() {
    let gateway = fake()
        .arg("demo")
        .args(["--workers", "2"])
        .env("GW_GREETING", "hello")
        .start()
        .await;
    let line = gateway.wait_for_line("args").await;
    assert!(
        line.contains(r#"["demo", "--workers", "2", "--proxy-listen", "127.0.0.1:0""#),
        "{line}"
    );
    assert!(line.contains("GW_GREETING=hello"), "{line}");
}

#[tokio::test]
async fn a_restart_keeps_the_data() {
    let gateway = fake().start().await;
    gateway.wait_for_line("start number 1").await;
    let gateway = gateway.restart().await;
    gateway.wait_for_line("start number 2").await;
    let dir = gateway.data_dir().to_owned();
    assert!(dir.is_dir());
    drop(gateway);
    assert!(!dir.exists(), "a temporary directory goes with the last gateway");
}

#[tokio::test]
async fn a_given_data_directory_stays() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = fake().data_dir(dir.path()).start().await;
    gateway.wait_for_line("start number 1").await;
    drop(gateway);
    assert_eq!(std::fs::read_to_string(dir.path().join("starts")).unwrap(), "x");
}

#[tokio::test]
async fn signals_reach_it() {
    let gateway = fake().start().await;
    gateway.terminate();
    assert!(gateway.wait().await.success());
    assert!(
        gateway.log().contains(&"terminated".to_owned()),
        "the log is complete when the process has ended"
    );

    let gateway = fake().start().await;
    gateway.interrupt();
    assert!(gateway.wait().await.success());
    gateway.wait_for_line("interrupted").await;

    let gateway = fake().start().await;
    assert_eq!(gateway.kill9().await.signal(), Some(9));
    gateway.terminate();
    assert_eq!(
        gateway.status().and_then(|status| status.signal()),
        Some(9),
        "too late"
    );
}

#[tokio::test]
async fn dropping_it_kills_it() {
    let gateway = fake().start().await;
    let process = std::path::PathBuf::from(format!("/proc/{}", gateway.id()));
    assert!(process.exists());
    drop(gateway);
    assert!(!process.exists());
}

#[tokio::test]
async fn one_that_ends_at_once_says_why() {
    match fake().arg("refuse").try_start().await {
        Err(StartError::Exited { status, log }) => {
            assert_eq!(status.code(), Some(3));
            assert!(log[0].ends_with("is held by another process"), "{log:?}");
        }
        other => panic!("{other:?}"),
    }
    let missing = Gateway::builder("no/such/program").try_start().await;
    assert!(matches!(missing, Err(StartError::Spawn { .. })), "{missing:?}");
}

#[tokio::test]
async fn lines_are_counted_over_the_whole_log() {
    let gateway = fake().start().await;
    let lines = gateway.wait_for_lines(2, "listening on").await;
    assert_eq!(lines.len(), 2, "{lines:?}");
}
