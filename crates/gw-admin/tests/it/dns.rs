//! `/dns`: the names in use as the data plane tells of them.

use std::sync::PoisonError;
use std::time::{Duration, UNIX_EPOCH};

use gw_admin::ports::{KnownAddress, KnownName, KnownService};
use serde_json::json;

use crate::support::{Admin, JSON};

#[tokio::test]
async fn names_are_shown_with_all_that_is_known_of_them() {
    let admin = Admin::new().await;
    assert_eq!(
        admin.get("/dns").await,
        (200, json!({ "data": [], "next": null }))
    );
    let plain = KnownAddress {
        address: "10.0.0.7".parse().unwrap(),
        service: None,
    };
    let service = KnownAddress {
        address: "::7".parse().unwrap(),
        service: Some(KnownService {
            host: "node.test".into(),
            port: 8080,
            weight: 3,
            priority: 1,
        }),
    };
    let at = |millis| Some(UNIX_EPOCH + Duration::from_millis(millis));
    *admin.plane.names.lock().unwrap_or_else(PoisonError::into_inner) = vec![
        KnownName {
            name: "_http._tcp.app.test".into(),
            kind: Some("SRV".into()),
            addresses: vec![service],
            ttl: Some(Duration::from_secs(30)),
            expires: at(30_000),
            next_lookup: at(28_500),
            ..KnownName::default()
        },
        KnownName {
            name: "app.test".into(),
            kind: Some("A".into()),
            addresses: vec![plain],
            ttl: Some(Duration::ZERO),
            expires: at(1_000),
            stale: true,
            error: Some("127.0.0.1:53 does not answer".into()),
            ..KnownName::default()
        },
        KnownName {
            name: "new.test".into(),
            ..KnownName::default()
        },
    ];
    let (status, answer) = admin.get("/dns").await;
    assert_eq!(status, 200);
    let expected = json!([
        {
            "name": "_http._tcp.app.test", "type": "SRV", "ttl": 30, "expires": 30.0, "next_lookup": 28.5,
            "addresses": [{ "ip": "::7", "host": "node.test", "port": 8080, "weight": 3, "priority": 1 }],
            "stale": false, "error": null,
        },
        {
            "name": "app.test", "type": "A", "ttl": 0, "expires": 1.0, "next_lookup": null,
            "addresses": [{ "ip": "10.0.0.7" }], "stale": true, "error": "127.0.0.1:53 does not answer",
        },
        {
            "name": "new.test", "type": null, "ttl": null, "expires": null, "next_lookup": null,
            "addresses": [], "stale": false, "error": null,
        },
    ]);
    assert_eq!(answer["data"], expected);
    assert_eq!(admin.send("POST /dns", JSON, "{}").await.0, 405);
}
