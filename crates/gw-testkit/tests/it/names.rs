//! A name server whose records change, asked with bytes from the standard.

use std::net::SocketAddr;

use gw_testkit::{NameServer, Trouble, within};
use tokio::net::UdpSocket;

/// A question about the `A` records of `app.test`, in mixed case as some resolvers send it.
const QUESTION: &[u8] =
    b"\x67\x77\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03aPP\x04Test\x00\x00\x01\x00\x01";

/// Response code, number of answers and the last four bytes.
async fn ask(addr: SocketAddr) -> (u8, u8, [u8; 4]) {
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    socket.connect(addr).await.expect("it is an address");
    socket.send(QUESTION).await.expect("somebody listens");
    let mut answer = [0; 512];
    let length = within("an answer", socket.recv(&mut answer))
        .await
        .expect("a datagram");
    assert_eq!(
        (&answer[..2], &answer[12..QUESTION.len()]),
        (&QUESTION[..2], &QUESTION[12..])
    );
    (
        answer[3],
        answer[7],
        *answer[..length].last_chunk().expect("it is longer"),
    )
}

#[tokio::test]
async fn answers_are_what_was_laid_down_last() {
    let names = NameServer::start();
    assert_eq!(ask(names.addr()).await.0, 3, "there is no such name");
    names.set("app.test", 7, &["A 10.0.0.1", "AAAA ::1", "A 10.0.0.2"]);
    assert_eq!(ask(names.addr()).await, (0, 2, [10, 0, 0, 2]));
    names.set("app.test", 7, &["AAAA ::1"]);
    assert_eq!(ask(names.addr()).await.1, 0, "it has nothing of this type");
    names.set("app.test", 7, &["CNAME other.test"]);
    names.set("other.test", 7, &["A 10.0.0.3"]);
    assert_eq!(ask(names.addr()).await, (0, 2, [10, 0, 0, 3]));
    names.fail("app.test", Trouble::ServFail);
    assert_eq!(ask(names.addr()).await.0, 2);
    names.remove("app.test");
    assert_eq!(ask(names.addr()).await.0, 3);
    assert_eq!((names.asked("A app.test"), names.asked("AAAA app.test")), (6, 0));
}

#[tokio::test]
async fn all_other_names_may_have_something() {
    let names = NameServer::start();
    names.set_all(7, &["A 10.0.0.9"]);
    assert_eq!(ask(names.addr()).await, (0, 1, [10, 0, 0, 9]));
    names.set("app.test", 7, &["A 10.0.0.1"]);
    assert_eq!(ask(names.addr()).await, (0, 1, [10, 0, 0, 1]));
    names.remove("app.test");
    assert_eq!(ask(names.addr()).await, (0, 1, [10, 0, 0, 9]));
}

#[tokio::test]
async fn a_silent_one_is_asked_in_vain() {
    let names = NameServer::start();
    names.fail("app.test", Trouble::Silence);
    let asked = tokio::spawn(ask(names.addr()));
    names.wait_asked("A app.test", 1).await;
    assert!(!asked.is_finished());
    asked.abort();
}
