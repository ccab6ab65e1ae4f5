//! The promises of a log itself.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::interval;

use super::{append, within};
use crate::commit::{CommitId, Incarnation, Revision};
use crate::log::{AppendError, CommitLog, Freshness, Head, LogError, Record};

/// Revisions strictly increase, one for each commit, and an append at any other head writes nothing.
///
/// # Panics
/// When they do not.
pub async fn revisions_are_dense_and_compared(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("dense").await;
    let empty = log.head().await.expect("a head");
    assert_eq!(
        (empty.revision, empty.last),
        (Revision::ZERO, Some(CommitId::NONE)),
        "a new log is empty"
    );
    let one = append(&*log, "one").await;
    let two = append(&*log, "two").await;
    assert_eq!((one.revision, two.revision), (Revision(1), Revision(2)));
    assert_eq!(log.head().await.expect("a head"), two);
    for stale in [empty, one] {
        let refused = log.append(stale, "stale".into(), CommitId::random()).await;
        let conflict = matches!(refused, Err(AppendError::Conflict { head: Revision(2) }));
        assert!(conflict, "a past head is a conflict, not {refused:?}");
    }
    let ahead = Head {
        revision: Revision(3),
        ..two
    };
    let other_last = Head {
        last: one.last,
        ..two
    };
    let elsewhere = Head {
        incarnation: Incarnation::random(),
        ..two
    };
    for strange in [ahead, other_last, elsewhere] {
        let refused = log.append(strange, "stale".into(), CommitId::random()).await;
        match refused {
            Err(AppendError::Rejected(LogError::Reset { head })) => assert_eq!(head, two),
            other => panic!("a head of another history is told, not {other:?}"),
        }
    }
    assert_eq!(
        log.head().await.expect("a head"),
        two,
        "what is refused writes nothing"
    );
    let unknown = Head { last: None, ..two };
    let texts = |records: Vec<Record>| -> Vec<(u64, Bytes)> {
        records
            .into_iter()
            .map(|record| (record.revision.0, record.bytes))
            .collect()
    };
    let all = texts(log.read(empty).await.expect("a page"));
    assert_eq!(
        all,
        [(1, Bytes::from_static(b"one")), (2, Bytes::from_static(b"two"))]
    );
    assert_eq!(
        texts(log.read(one).await.expect("a page")),
        all.get(1..).expect("two records")
    );
    assert_eq!(texts(log.read(two).await.expect("a page")), []);
    assert_eq!(texts(log.read(unknown).await.expect("a page")), []);
    log.append(unknown, "three".into(), CommitId::random())
        .await
        .expect("what is not known is not compared");
    log.close();
}

/// An id names one commit, and tells a second try from a first one: so a commit whose answer was lost is found.
///
/// # Panics
/// When it does not.
pub async fn ids_are_taken_once(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("ids").await;
    let empty = log.head().await.expect("a head");
    let id = CommitId::random();
    assert_eq!(log.find(id).await.expect("an answer"), None);
    let made = log.append(empty, "x".into(), id).await;
    assert_eq!(made.expect("at the head"), Revision(1));
    let two = append(&*log, "y").await;
    let one = Head {
        revision: Revision(1),
        last: Some(id),
        ..empty
    };
    for expect in [empty, one, two] {
        let again = log.append(expect, "x".into(), id).await;
        let known = matches!(
            again,
            Err(AppendError::Duplicate {
                revision: Revision(1)
            })
        );
        assert!(
            known,
            "a known id is a duplicate whatever is expected, not {again:?}"
        );
    }
    assert_eq!(log.find(id).await.expect("an answer"), Some(Revision(1)));
    let other = two.last.expect("an id");
    assert_eq!(log.find(other).await.expect("an answer"), Some(Revision(2)));
    log.close();
}

/// Waiting ends when something was appended or the log was closed, and at no other time.
///
/// # Panics
/// When it does not.
pub async fn waiting_ends_with_an_append_or_the_end(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("waiting").await;
    let wait = |after: Head| {
        let log = Arc::clone(&log);
        tokio::spawn(async move { log.wait_past(after).await })
    };
    let empty = log.head().await.expect("a head");
    let first = wait(empty);
    let one = append(&*log, "x").await;
    let told = within(first).await.expect("no panic").expect("the log is open");
    assert_eq!(told, Revision(1));
    let told = within(wait(empty)).await.expect("no panic");
    assert_eq!(
        told.expect("the log is open"),
        Revision(1),
        "the past does not wait"
    );
    let last = wait(one);
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
    assert!(!last.is_finished(), "nothing was appended");
    log.close();
    let ended = within(last).await.expect("no panic");
    assert!(
        matches!(ended, Err(LogError::Closed)),
        "closing ends the wait: {ended:?}"
    );
}

/// A reader's position moves by what it read and by nothing else: not by waiting, not by what was given up.
///
/// # Panics
/// When it does not.
pub async fn the_resume_point_moves_only_by_what_was_read(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("resume").await;
    let mut position = log.head().await.expect("a head");
    let mut ids = Vec::new();
    let mut seen = 0;
    for round in 1..=10u64 {
        for _ in 0..round {
            ids.push(append(&*log, "x").await.last);
        }
        let head = within(log.wait_past(position)).await.expect("the log is open");
        assert_eq!(
            head.0,
            ids.len() as u64,
            "the wait tells the head, far ahead of the reader"
        );
        drop(log.read(position));
        drop(log.wait_past(position));
        while position.revision < head {
            let records = within(log.read(position)).await.expect("a page");
            assert!(!records.is_empty(), "what is there is handed out");
            for record in records {
                seen += 1;
                assert_eq!(
                    record.revision,
                    Revision(seen),
                    "none is skipped, none comes twice"
                );
                position.revision = record.revision;
            }
            position.last = ids
                .get(usize::try_from(seen).expect("few") - 1)
                .copied()
                .flatten();
        }
    }
    assert_eq!(log.freshness(), Freshness::Current);
    log.close();
}

/// Checkpoints are found by revision and stay until they are pruned; what was pruned is told, and the rest stays.
///
/// # Panics
/// When they do not.
pub async fn checkpoints_stay_until_they_are_pruned(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("checkpoints").await;
    let mut heads = vec![log.head().await.expect("a head")];
    for _ in 0..9 {
        heads.push(append(&*log, "x").await);
    }
    let found = async |until: u64| {
        let found = log.checkpoint_until(Revision(until)).await.expect("an answer");
        found.map(|record| (record.revision.0, record.bytes))
    };
    let state = |text: &'static str| Bytes::from_static(text.as_bytes());
    assert_eq!(found(9).await, None);
    for (at, text) in [(2, "two"), (4, "four"), (6, "before"), (6, "six")] {
        log.checkpoint(Revision(at), state(text)).await.expect("kept");
    }
    for (until, expected) in [
        (1, None),
        (2, Some((2, state("two")))),
        (5, Some((4, state("four")))),
        (9, Some((6, state("six")))),
    ] {
        assert_eq!(found(until).await, expected, "until {until}");
    }
    assert_eq!(log.pruned().await.expect("an answer"), Revision::ZERO);
    log.prune(Revision(6), vec![Revision(2)]).await.expect("pruned");
    log.prune(Revision(6), vec![Revision(2)])
        .await
        .expect("pruning twice is harmless");
    assert_eq!(log.pruned().await.expect("an answer"), Revision(6));
    for (until, expected) in [(5, Some((2, state("two")))), (9, Some((6, state("six"))))] {
        assert_eq!(found(until).await, expected, "until {until}, after pruning");
    }
    for (at, head) in (0..).zip(&heads) {
        let read = log.read(*head).await;
        match read {
            Ok(records) if at >= 6 => assert_eq!(records.len(), 9 - at, "after {at}"),
            Err(LogError::Compacted { upto: Revision(6) }) if at < 6 => {}
            other => panic!("after {at}: {other:?}"),
        }
    }
    let last = heads.last().expect("ten heads");
    assert_eq!(log.head().await.expect("a head"), *last, "the head stays");
    let boundary = heads.get(6).and_then(|head| head.last).expect("an id");
    assert_eq!(log.find(boundary).await.expect("an answer"), Some(Revision(6)));
    assert_eq!(append(&*log, "y").await.revision, Revision(10));
    log.close();
}

/// Nothing to read, a closed log and a position in another history are three answers.
///
/// # Panics
/// When they are not.
pub async fn closed_empty_and_elsewhere_are_told_apart(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("closed").await;
    let one = append(&*log, "x").await;
    assert!(log.read(one).await.expect("an answer").is_empty());
    let ahead = Head {
        revision: Revision(9),
        ..one
    };
    let elsewhere = Head {
        incarnation: Incarnation::random(),
        ..one
    };
    let overtaken = Head {
        last: Some(CommitId::random()),
        ..one
    };
    for strange in [ahead, elsewhere, overtaken] {
        let read = log.read(strange).await;
        assert!(
            matches!(read, Err(LogError::Reset { head }) if head == one),
            "not {read:?}"
        );
        let waited = within(log.wait_past(strange)).await;
        assert!(
            matches!(waited, Err(LogError::Reset { head }) if head == one),
            "not {waited:?}"
        );
    }
    log.close();
    log.close();
    let appended = log.append(one, "y".into(), CommitId::random()).await;
    assert!(
        matches!(appended, Err(AppendError::Rejected(LogError::Closed))),
        "not {appended:?}"
    );
    let closed = [
        log.head().await.err(),
        log.read(one).await.err(),
        log.wait_past(one).await.err(),
        log.find(CommitId::random()).await.err(),
        log.checkpoint(Revision(1), Bytes::new()).await.err(),
        log.checkpoint_until(Revision(1)).await.err(),
        log.prune(Revision(1), Vec::new()).await.err(),
        log.pruned().await.err(),
        log.announce("n", Bytes::new(), Duration::from_secs(1))
            .await
            .err(),
        log.announced().await.err(),
    ];
    for (n, error) in closed.iter().enumerate() {
        assert!(matches!(error, Some(LogError::Closed)), "call {n}: {error:?}");
    }
}

/// A node is known from when it says that it is there until its word lapses.
///
/// # Panics
/// When it is not.
pub async fn nodes_are_known_while_they_say_so(open: &impl AsyncFn(&str) -> Arc<dyn CommitLog>) {
    let log = open("nodes").await;
    let names = async || -> Vec<(String, Bytes)> {
        let nodes = log.announced().await.expect("an answer");
        nodes
            .into_iter()
            .map(|node| (node.node.into_string(), node.about))
            .collect()
    };
    let say = async |node: &str, about: &'static str, lasting: u64| {
        let about = Bytes::from_static(about.as_bytes());
        let said = log.announce(node, about, Duration::from_secs(lasting));
        said.await.expect("it is taken");
    };
    let expect = |pairs: &[(&str, &'static str)]| -> Vec<(String, Bytes)> {
        let pairs = pairs.iter();
        pairs
            .map(|(node, about)| ((*node).to_owned(), Bytes::from_static(about.as_bytes())))
            .collect()
    };
    assert_eq!(names().await, []);
    say("b/2", "at 1", 600).await;
    say("a", "at 1", 1).await;
    say("b/2", "at 2", 600).await;
    assert_eq!(names().await, expect(&[("a", "at 1"), ("b/2", "at 2")]));
    let lapsed = async {
        let mut looks = interval(Duration::from_millis(50));
        while names().await.len() > 1 {
            looks.tick().await;
        }
    };
    within(lapsed).await;
    assert_eq!(names().await, expect(&[("b/2", "at 2")]));
    let head = log.head().await.expect("a head");
    assert_eq!(head.revision, Revision::ZERO, "a word is no commit");
    log.close();
}
