//! Who may come in: TLS, client certificates, users, tokens that expire.

use std::error::Error;
use std::time::Duration;

use gw_store::{CommitError, LogError, OpenError, Revision, Store};
use gw_testkit::{Authority, Etcd};
use tokio::time::timeout;

use super::{is_stale, log, until, until_current};
use crate::support::{commit, put};

/// The error with all its causes.
fn story(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn refused(url: &str) -> LogError {
    let log = gw_store::open_log(url).await.unwrap();
    match timeout(Duration::from_secs(30), log.head())
        .await
        .expect("an answer within its bound")
    {
        Err(error) => error,
        Ok(head) => panic!("{url} was let in and told {head:?}"),
    }
}

#[tokio::test]
async fn tls_with_certificates_of_clients() {
    let Some(etcd) = Etcd::builder(1).tls().start().await else {
        return;
    };
    let url = etcd.store("/tls");
    let store = gw_store::open(&url, ()).await.unwrap();
    assert_eq!(put(&store, "a", "x").await, Revision(1));

    let stranger = etcd.dir().join("stranger.pem");
    std::fs::write(&stranger, Authority::new().pem()).unwrap();
    let (bare, _) = url.split_once('?').unwrap();
    let ca = etcd.dir().join("ca.pem");
    for (what, url) in [
        ("no certificate of its own", format!("{bare}?ca={}", ca.display())),
        (
            "an authority it does not know",
            url.replace("ca.pem", "stranger.pem"),
        ),
        (
            "a name the certificate does not have",
            format!("{url}&server_name=elsewhere"),
        ),
        ("no TLS", bare.replace("etcds://", "etcd://")),
    ] {
        let error = refused(&url).await;
        assert!(matches!(error, LogError::Unavailable { .. }), "{what}: {error:?}");
    }
}

#[tokio::test]
async fn tls_files_are_read_again_when_they_have_changed() {
    let Some(etcd) = Etcd::builder(1).tls().start().await else {
        return;
    };
    let own = etcd.dir().join("own.pem");
    std::fs::write(&own, Authority::new().pem()).unwrap();
    let url = etcd.store("/tls").replace("ca.pem", "own.pem");
    let log = gw_store::open_log(&url).await.unwrap();
    let store = Store::resume(log, (), None);
    until("a try", async || store.info().freshness != first_word(&store)).await;
    assert!(!store.info().reached);
    std::fs::copy(etcd.dir().join("ca.pem"), &own).unwrap();
    until_current(&store).await;
    put(&store, "a", "x").await;
}

/// What a store says that has not tried yet.
fn first_word(store: &Store) -> gw_store::Freshness {
    match store.info().freshness {
        gw_store::Freshness::Stale { since, .. } => gw_store::Freshness::Stale {
            since,
            why: "etcd has not answered yet".into(),
        },
        other => other,
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_told_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    for file in [empty, dir.path().join("missing.pem")] {
        let url = format!("etcds://localhost/gw?ca={}", file.display());
        match gw_store::open_log(&url).await {
            Err(OpenError::Tls { path, .. }) => assert_eq!(path, file),
            other => panic!("{} is no authority, and {other:?}", file.display()),
        }
    }
}

#[tokio::test]
async fn a_user_sees_its_own_prefix_and_refusal_is_not_emptiness() {
    let Some(etcd) = Etcd::start(1).await else { return };
    etcd.ask_who(&[("gw", "/gw/")]).await;
    let addr = etcd.addr(0);
    let store = gw_store::open(&format!("etcd://gw:gw@{addr}/gw"), ())
        .await
        .unwrap();
    assert_eq!(put(&store, "a", "x").await, Revision(1));

    for (what, url) in [
        ("nobody", format!("etcd://{addr}/gw")),
        ("a wrong password", format!("etcd://gw:s3cret@{addr}/gw")),
        ("an unknown user", format!("etcd://who:s3cret@{addr}/gw")),
        ("another prefix", format!("etcd://gw:gw@{addr}/other")),
    ] {
        let error = refused(&url).await;
        assert!(matches!(error, LogError::Denied { .. }), "{what}: {error:?}");
        assert!(
            !story(&error).contains("s3cret") && !story(&error).contains("gw:gw"),
            "{error}"
        );
    }

    etcd.revoke("gw").await;
    let denied = commit(&store, vec![gw_store::Op::put("b", "x")]).await;
    let is_denied = |error: &CommitError<_>| {
        matches!(
            error,
            CommitError::ReadOnly {
                source: LogError::Denied { .. }
            }
        )
    };
    assert!(denied.as_ref().is_err_and(is_denied), "{denied:?}");
    assert_eq!(store.view().len(), 1, "what cannot be read is not empty");
    etcd.grant("gw").await;
    until("the right to be back", async || {
        commit(&store, vec![gw_store::Op::put("b", "x")]).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn passwords_come_from_files_too() {
    let Some(etcd) = Etcd::start(1).await else { return };
    etcd.ask_who(&[("gw", "/gw/")]).await;
    let file = etcd.dir().join("password");
    std::fs::write(&file, "gw\n").unwrap();
    let url = format!("etcd://gw@{}/gw?password_file={}", etcd.addr(0), file.display());
    let store = gw_store::open(&url, ()).await.unwrap();
    put(&store, "a", "x").await;
    std::fs::remove_file(&file).unwrap();
    assert!(
        matches!(refused(&url).await, LogError::Denied { .. }),
        "a missing file lets nobody in"
    );
}

#[tokio::test]
async fn tokens_that_expire_are_renewed() {
    let Some(etcd) = Etcd::builder(1).setting("auth-token-ttl: 1").start().await else {
        return;
    };
    etcd.ask_who(&[("gw", "/gw/")]).await;
    let store = gw_store::open(&format!("etcd://gw:gw@{}/gw", etcd.addr(0)), ())
        .await
        .unwrap();
    put(&store, "a", "x").await;
    for round in 2..5 {
        let expired = expired(&etcd);
        until("the token to expire", async || self::expired(&etcd) > expired).await;
        assert_eq!(put(&store, &format!("k{round}"), "x").await, Revision(round));
        assert!(!is_stale(&store), "the watch needs no new token");
    }
}

/// How many tokens of the user have expired, as the member logs it.
fn expired(etcd: &Etcd) -> usize {
    let log = etcd.log(0);
    let lines = log.lines().filter(|line| line.contains("deleted a simple token"));
    lines.filter(|line| line.contains(r#""user-name":"gw""#)).count()
}

#[tokio::test]
async fn a_member_started_anew_has_forgotten_its_tokens() {
    let Some(etcd) = Etcd::start(3).await else { return };
    etcd.ask_who(&[("gw", "/gw/")]).await;
    let url = etcd.store("/gw").replace("etcd://", "etcd://gw:gw@");
    let store = gw_store::open(&url, ()).await.unwrap();
    for member in 0..3 {
        etcd.kill(member).await;
        etcd.run(member);
        etcd.ready().await;
        super::put_at_last(&store, &format!("k{member}")).await;
    }
    until_current(&store).await;
    assert_eq!(store.view().len(), 3);
}

#[tokio::test]
async fn a_user_is_no_hindrance_where_nobody_asks() {
    let Some(etcd) = Etcd::start(1).await else { return };
    let url = format!("etcd://gw:gw@{}/gw", etcd.addr(0));
    let named = gw_store::open(&url, ()).await.unwrap();
    put(&named, "a", "x").await;
    // And then somebody does.
    etcd.ask_who(&[("gw", "/gw/")]).await;
    put(&named, "b", "x").await;
    let nobody = log(&etcd, "/gw");
    assert!(matches!(nobody.head().await, Err(LogError::Denied { .. })));
    named.close().await;
}
