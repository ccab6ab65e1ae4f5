//! When batches go, what a full queue does, what is tried again, and what outlives an instance.

use std::sync::atomic::AtomicUsize;

use tokio::time::{Instant, advance};

use super::*;
use crate::test_lender::TestLender;

/// Takes batches, but for some at first.
#[derive(Default)]
struct Collector {
    batches: Mutex<Vec<Vec<Bytes>>>,
    tries: Mutex<Vec<Instant>>,
    /// Tries that fail yet.
    failing: AtomicUsize,
    /// Tries that are never answered.
    hanging: bool,
}

impl Sink for Arc<Collector> {
    fn deliver(&self, batch: &[Bytes]) -> Lent<'static, Result<(), Undelivered>> {
        lock(&self.tries).push(Instant::now());
        if self.hanging {
            return Box::pin(std::future::pending());
        }
        let fails = self
            .failing
            .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
            .is_ok();
        if fails {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Box::pin(std::future::ready(Err(Undelivered::Status(status))));
        }
        lock(&self.batches).push(batch.to_vec());
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Collector {
    fn failing(times: usize) -> Arc<Self> {
        let collector = Self::default();
        collector.failing.store(times, Relaxed);
        Arc::new(collector)
    }

    fn sizes(&self) -> Vec<usize> {
        lock(&self.batches).iter().map(Vec::len).collect()
    }

    fn all(&self) -> Vec<Bytes> {
        lock(&self.batches).concat()
    }
}

fn env() -> BuildEnv {
    BuildEnv::new(TestLender::new()).of(Id::random())
}

fn settings(change: impl FnOnce(&mut QueueSettings)) -> QueueSettings {
    let mut settings = QueueSettings::plain(1);
    change(&mut settings);
    settings
}

fn open(env: &BuildEnv, settings: &QueueSettings, collector: &Arc<Collector>) -> Queue {
    Queue::open(
        env,
        "test-log",
        &"settings",
        settings,
        Arc::new(Arc::clone(collector)),
    )
}

fn entry(number: usize) -> Bytes {
    number.to_string().into_bytes().into()
}

fn entries(numbers: std::ops::Range<usize>) -> Vec<Bytes> {
    numbers.map(entry).collect()
}

/// Sent, failed, dropped.
fn totals(env: &BuildEnv) -> [u64; 3] {
    let all = env.shared().get::<Queues>().all_totals();
    let (_, totals) = &all[0];
    [&totals.sent, &totals.failed, &totals.dropped].map(|count| count.load(Relaxed))
}

/// Lets the tasks run as far as they can without time passing.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_when_it_is_full_or_when_it_has_waited() {
    let (env, collector) = (env(), Arc::<Collector>::default());
    let queue = open(
        &env,
        &settings(|it| (it.max_batch_size, it.max_coalescing_delay) = (3, 5.0)),
        &collector,
    );
    for number in 0..7 {
        queue.push(entry(number));
    }
    settle().await;
    assert_eq!(collector.sizes(), [3, 3]);
    advance(Duration::from_millis(4900)).await;
    settle().await;
    assert_eq!(collector.sizes(), [3, 3]);
    advance(Duration::from_millis(200)).await;
    settle().await;
    assert_eq!(collector.sizes(), [3, 3, 1]);
    assert_eq!(collector.all(), entries(0..7));
    assert_eq!(totals(&env), [7, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_waits_for_nothing() {
    let (env, collector) = (env(), Arc::<Collector>::default());
    let queue = open(&env, &settings(|it| it.max_coalescing_delay = 3600.0), &collector);
    queue.push(entry(0));
    settle().await;
    queue.push(entry(1));
    queue.push(entry(2));
    settle().await;
    assert_eq!(collector.sizes(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_taken_is_tried_again_ever_more_slowly_and_nothing_is_lost() {
    let (env, collector) = (env(), Collector::failing(5));
    let queue = open(
        &env,
        &settings(|it| (it.initial_retry_delay, it.max_retry_delay) = (0.5, 2.0)),
        &collector,
    );
    for number in 0..100 {
        queue.push(entry(number));
    }
    tokio::time::timeout(Duration::from_secs(60), env.shared().get::<Queues>().flushed())
        .await
        .unwrap();
    assert_eq!(collector.all(), entries(0..100));
    assert_eq!(totals(&env), [100, 0, 0]);
    let tries = lock(&collector.tries);
    let pauses: Vec<u64> = tries
        .windows(2)
        .take(5)
        .map(|two| (two[1] - two[0]).as_millis() as u64)
        .collect();
    // A timer is as fine as a millisecond.
    for (pause, expected) in pauses.iter().zip([500, 1000, 2000, 2000, 2000]) {
        assert!(pause.abs_diff(expected) <= 1, "{pauses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_drops_the_oldest() {
    let collector = Arc::new(Collector {
        hanging: true,
        ..Collector::default()
    });
    let env = env();
    let queue = open(&env, &settings(|it| it.max_entries = 3), &collector);
    queue.push(entry(0));
    settle().await; // It is under way, for good.
    for number in 1..11 {
        queue.push(entry(number));
    }
    settle().await;
    assert_eq!(Vec::from(queue.0.0.state().waiting.clone()), entries(8..11));
    assert_eq!(totals(&env), [0, 0, 7]);
    assert_eq!(env.shared().get::<Queues>().waiting()["test-log"], 3);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_bounded_too() {
    let collector = Arc::new(Collector {
        hanging: true,
        ..Collector::default()
    });
    let env = env();
    let queue = open(&env, &settings(|it| it.max_bytes = Some(10)), &collector);
    queue.push(Bytes::from_static(b"on its way"));
    settle().await;
    for text in ["four", "five5", "larger than all of the queue", "six666"] {
        queue.push(Bytes::from_static(text.as_bytes()));
    }
    let state = queue.0.0.state();
    assert_eq!(
        (Vec::from(state.waiting.clone()), state.bytes),
        (vec![Bytes::from_static(b"six666")], 6)
    );
    drop(state);
    assert_eq!(totals(&env), [0, 0, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_given_up_after_its_time_and_the_next_goes_on() {
    let collector = Collector::failing(11);
    let env = env();
    let queue = open(
        &env,
        &settings(|it| (it.max_retry_time, it.initial_retry_delay, it.max_retry_delay) = (10.0, 1.0, 1.0)),
        &collector,
    );
    queue.push(entry(0));
    queue.push(entry(1));
    env.shared().get::<Queues>().flushed().await;
    assert_eq!(collector.all(), [entry(1)]);
    assert_eq!(totals(&env), [1, 1, 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_time_for_retries_there_are_none() {
    let (env, collector) = (env(), Collector::failing(1));
    let queue = open(&env, &settings(|it| it.max_retry_time = -1.0), &collector);
    queue.push(entry(0));
    settle().await;
    assert_eq!((totals(&env), lock(&collector.tries).len()), ([0, 1, 0], 1));
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_made_again_has_the_queue_it_had() {
    let (env, collector, other) = (env(), Arc::<Collector>::default(), Arc::<Collector>::default());
    let slow = settings(|it| (it.max_batch_size, it.max_coalescing_delay) = (100, 60.0));
    let first = open(&env, &slow, &collector);
    first.push(entry(0));
    let again = open(&env, &slow, &other);
    assert!(Arc::ptr_eq(&first.0, &again.0));
    drop(first);
    again.push(entry(1));
    settle().await;
    assert!(collector.sizes().is_empty());
    // With other settings it is another queue, and what is in the one before goes its way at once.
    let changed = open(&env, &settings(|it| it.max_batch_size = 1), &other);
    changed.push(entry(2));
    drop(again);
    settle().await;
    assert_eq!((collector.all(), other.all()), (entries(0..2), entries(2..3)));
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_no_batch_to_fill() {
    let (env, collector) = (env(), Collector::failing(1));
    let slow = settings(|it| (it.max_batch_size, it.max_coalescing_delay) = (100, 3600.0));
    let queue = open(&env, &slow, &collector);
    queue.push(entry(0));
    settle().await;
    let begun = Instant::now();
    env.shared().get::<Queues>().flushed().await;
    assert_eq!(collector.all(), [entry(0)]);
    assert!(begun.elapsed() < Duration::from_secs(1));
    // And afterwards batches wait again.
    queue.push(entry(1));
    settle().await;
    assert_eq!(collector.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn several_may_be_under_way_if_there_is_no_limit() {
    let collector = Arc::new(Collector {
        hanging: true,
        ..Collector::default()
    });
    let env = env();
    let queue = open(&env, &settings(|it| it.concurrency_limit = -1), &collector);
    for number in 0..20 {
        queue.push(entry(number));
    }
    settle().await;
    assert_eq!(lock(&collector.tries).len(), 16);
}

#[test]
fn settings_that_are_only_tried_start_nothing() {
    // Without a runtime a task could not be started.
    let env = BuildEnv::new(TestLender::new());
    let queue = open(&env, &settings(|_| {}), &Arc::default());
    queue.push(entry(0));
    assert!(env.shared().get::<Queues>().waiting().is_empty());
}

#[test]
fn the_names_of_kong_2_count_where_they_say_something() {
    let usual = settings(|it| (it.max_batch_size, it.max_coalescing_delay) = (7, 3.0));
    let with = |size, delay| {
        let settings = usual.clone().with_old_names(size, delay, (1, 2.0));
        (settings.max_batch_size, settings.max_coalescing_delay)
    };
    assert_eq!(with(None, None), (7, 3.0));
    assert_eq!(with(Some(1), Some(2.0)), (7, 3.0));
    assert_eq!(with(Some(50), Some(10.0)), (50, 10.0));
}
