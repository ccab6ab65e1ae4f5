//! Open clients of Kong's Admin API drive ours, each an empty gateway, as their users do.

use gw_testkit::python;

use crate::support::Stage;

/// Runs the script that uses the client's module; it says so when all it checks has held.
async fn drive(client: &str, module: &str, script: &str) {
    let Some(python) = python(&[module]).await else {
        return;
    };
    let stage = Stage::start().await;
    let crates = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let script = format!("{crates}/gw-admin/tests/clients/{script}");
    let pem = format!("{crates}/gw-core/tests/fixtures/pem");
    let said = python.run(script, [stage.gateway.admin_url(""), pem]).await;
    assert_eq!(said.last(), Some(&format!("{client}: ok")), "{said:?}");
}

#[tokio::test]
async fn aio_kong() {
    drive("aio-kong", "kong.client", "drive_aio_kong.py").await;
}

#[tokio::test]
async fn python_kongclient() {
    drive("python-kongclient", "kongclient", "drive_kongclient.py").await;
}
