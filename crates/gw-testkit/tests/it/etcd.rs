//! Clusters of etcd: what tests of stores lean on.

use gw_testkit::Etcd;

#[tokio::test]
async fn three_members_outlive_one_and_take_it_back() {
    let Some(etcd) = Etcd::start(3).await else { return };
    let leader = etcd.leader().await;
    etcd.put("/a", "x").await;
    etcd.kill(leader).await;
    etcd.ready().await;
    assert_ne!(etcd.leader().await, leader);
    etcd.put("/b", "x").await;
    etcd.run(leader);
    etcd.ready().await;
    assert_eq!(etcd.keys("/").await, ["/a", "/b"]);
    etcd.delete_all("/").await;
    assert!(etcd.keys("/").await.is_empty());
}

#[tokio::test]
async fn data_is_put_back_as_it_was_and_wiped_for_good() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let cluster = async || {
        let status = etcd.call("/v3/maintenance/status", &serde_json::json!({})).await;
        status["header"]["cluster_id"].as_str().unwrap().to_owned()
    };
    etcd.put("/kept", "x").await;
    etcd.save("then").await;
    etcd.run_all().await;
    let (id, revision) = (cluster().await, etcd.revision().await);
    etcd.put("/gone", "x").await;
    etcd.put_back("then").await;
    etcd.run_all().await;
    assert_eq!(etcd.keys("/").await, ["/kept"]);
    assert_eq!(
        (cluster().await, etcd.revision().await),
        (id.clone(), revision),
        "the same cluster, gone back"
    );
    etcd.wipe().await;
    etcd.run_all().await;
    assert!(etcd.keys("/").await.is_empty());
    assert_ne!(cluster().await, id, "another cluster");
}

#[tokio::test]
async fn users_count_from_then_on_and_a_paused_member_is_not_asked() {
    let Some(etcd) = Etcd::builder(3).setting("auth-token-ttl: 30").start().await else {
        return;
    };
    etcd.ask_who(&[("gw", "/gw/")]).await;
    etcd.pause(0);
    etcd.put("/a", "root may do everything").await;
    etcd.resume(0);
    etcd.ready().await;
    assert_eq!(etcd.store("/gw").matches("127.0.0.1:").count(), 3);
}

#[tokio::test]
async fn with_tls_clients_need_the_files_the_address_names() {
    let Some(etcd) = Etcd::builder(1).tls().start().await else {
        return;
    };
    let store = etcd.store("/gw");
    assert!(store.starts_with("etcds://127.0.0.1:"), "{store}");
    for option in ["ca", "cert", "key"] {
        let (_, rest) = store.split_once(&format!("{option}=")).unwrap();
        let file = rest.split('&').next().unwrap();
        assert!(
            std::fs::read_to_string(file).unwrap().starts_with("-----BEGIN"),
            "{file}"
        );
    }
    // The test's own questions go another way.
    etcd.put("/a", "x").await;
}
