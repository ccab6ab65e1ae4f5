//! What fails says why.

use gw_testkit::{Client, Gate, Reply, Upstream};

async fn panic_of(future: impl Future<Output = ()> + Send + 'static) -> String {
    let panic = tokio::spawn(future).await.expect_err("it panics").into_panic();
    panic.downcast_ref::<String>().cloned().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_over_says_what_for_and_what_was_seen() {
    let upstream = Upstream::named("one");
    let message = panic_of(async move {
        upstream.wait_for_requests(3).await;
    })
    .await;
    assert!(
        message.starts_with("waited 10 s for 3 requests; the upstream has seen Counts {"),
        "{message}"
    );
}

#[tokio::test]
async fn an_answer_that_never_comes_is_an_error() {
    let upstream = Upstream::start(|_| Reply::status(200).hold(&Gate::closed()));
    let call = Client::new().call("GET", upstream.url("/x"));
    let sending = tokio::spawn(call.try_send());
    upstream.wait_for_requests(1).await;
    tokio::time::pause();
    tokio::time::advance(gw_testkit::DEADLINE).await;
    let error = sending.await.unwrap().unwrap_err().to_string();
    assert_eq!(
        error,
        format!("waited 10 s for the answer to GET {}", upstream.url("/x"))
    );
}

#[tokio::test]
async fn a_wrong_status_shows_the_body() {
    let upstream = Upstream::start(|_| Reply::status(409).body("name is taken"));
    let message = panic_of(async move {
        Client::new().get(upstream.url("/")).await.expect_status(201);
    })
    .await;
    assert!(
        message.contains("name is taken") && message.contains("409"),
        "{message}"
    );
}
