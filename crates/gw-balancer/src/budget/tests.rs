//! Time lines of a budget, and a naive one beside it.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn policy(ratio: f64, min_per_second: u32, window: u64) -> BudgetPolicy {
    BudgetPolicy {
        ratio: Ratio::of(ratio),
        min_per_second,
        window: Duration::from_secs(window),
    }
}

/// Sends `requests` at one moment, all of which fail and are retried until the budget refuses.
fn storm(budget: &Budget, requests: u32, now: Instant) -> u32 {
    let retries = |_| {
        budget.request(now);
        u32::from(budget.try_retry(now))
    };
    (0..requests).map(retries).sum()
}

#[test]
fn a_steady_outage_gets_a_fifth_more_attempts_and_no_more() {
    let (budget, start) = (Budget::new(BudgetPolicy::default()), Instant::now());
    let (mut requests, mut retries) = (0, 0);
    for tick in 0..600 {
        requests += 100;
        retries += storm(&budget, 100, start + SECOND / 10 * tick);
        assert!(retries * 5 <= requests + 50, "{retries} of {requests}");
    }
    assert!((11_900..=12_000).contains(&retries), "{retries}");
}

#[test]
fn a_few_requests_may_always_be_retried() {
    let (budget, start) = (Budget::new(BudgetPolicy::default()), Instant::now());
    for second in 0..60 {
        assert_eq!(storm(&budget, 10, start + second * SECOND), 10, "second {second}");
    }
    assert_eq!(storm(&budget, 30, start + 60 * SECOND), 10, "ten in a second");
}

#[test]
fn what_is_refunded_can_be_spent_again() {
    let start = Instant::now();
    let budget = Budget::new(policy(0.1, 0, 10));
    budget.refund(start); // nothing
    for request in 0..1000 {
        let now = start + SECOND / 10 * request;
        budget.request(now);
        if request >= 10 {
            assert!(budget.try_retry(now), "{request}");
            // Answered a second later.
            budget.refund(now + SECOND);
            assert_eq!(budget.usage(now + SECOND).0, 0);
        }
    }
    let later = start + SECOND * 100;
    assert!(budget.try_retry(later));
    budget.refund(later + SECOND * 60);
    assert_eq!(
        budget.usage(later).0,
        1,
        "what has left the window is not taken off"
    );
}

#[test]
fn what_was_earned_is_spent_within_the_window_or_lost() {
    let start = Instant::now();
    for (later, retries) in [(0, 20), (5, 20), (9, 20), (10, 0), (100, 0)] {
        let budget = Budget::new(policy(0.2, 0, 10));
        (0..100).for_each(|_| budget.request(start));
        let later = start + SECOND * later;
        assert_eq!(budget.usage(later), (0, retries));
        assert_eq!(
            (0..50).filter(|_| budget.try_retry(later)).count() as u64,
            retries
        );
        assert_eq!(budget.usage(later), (retries, retries));
    }
}

#[test]
fn by_policy_none_at_all_or_each() {
    let now = Instant::now();
    assert_eq!(storm(&Budget::new(policy(0.0, 0, 10)), 1000, now), 0);
    assert_eq!(storm(&Budget::new(policy(1.0, 0, 10)), 1000, now), 1000);
    assert_eq!(storm(&Budget::new(policy(f64::NAN, 3, 10)), 1000, now), 3);
    assert_eq!(
        storm(&Budget::new(policy(0.5, 0, 0)), 1000, now),
        500,
        "a window of a moment"
    );
    assert_eq!(
        storm(&Budget::new(policy(-1.0, 1, 1)), 1000, now),
        1,
        "a tenth of one is one"
    );
}

#[test]
fn another_policy_goes_on_with_what_was_counted() {
    let (budget, now) = (Budget::new(policy(0.1, 0, 10)), Instant::now());
    assert_eq!(storm(&budget, 100, now), 10);
    let doubled = budget.rebuild(policy(0.2, 0, 10));
    assert_eq!((0..100).filter(|_| doubled.try_retry(now)).count(), 10);
    assert_eq!(doubled.policy().ratio, Ratio::of(0.2));
    let shorter = doubled.rebuild(policy(0.2, 0, 5));
    assert_eq!(shorter.usage(now), (0, 0));
}

#[test]
fn a_clock_of_another_thread_may_be_behind() {
    let (budget, start) = (Budget::new(policy(0.2, 0, 10)), Instant::now());
    let late = start + 3 * SECOND;
    assert_eq!(storm(&budget, 100, late), 20);
    assert_eq!(
        storm(&budget, 100, start),
        20,
        "counted as of the first moment seen"
    );
    assert_eq!(storm(&budget, 100, late + 5 * SECOND), 20);
    assert_eq!(storm(&budget, 100, start + 4 * SECOND), 20);
}

#[test]
fn threads_together_keep_the_budget() {
    let (budget, now) = (Budget::new(policy(0.2, 0, 10)), Instant::now());
    let retries: u32 = std::thread::scope(|scope| {
        let threads = [(); 4].map(|()| scope.spawn(|| storm(&budget, 10_000, now)));
        threads
            .map(|thread| thread.join().expect("no panic"))
            .iter()
            .sum()
    });
    assert_eq!(
        budget.usage(now),
        (u64::from(retries), 8000),
        "each request is counted, and each retry"
    );
    assert!(retries <= 8000 && retries > 7900, "{retries}");
}

/// All requests and retries by the step they were made in.
#[derive(Default)]
struct Naive {
    requests: VecDeque<u128>,
    retries: VecDeque<u128>,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn it_counts_as_lists_of_all_would(
        ratio in 0_u32..150,
        least in 0_u32..20,
        window in 1_u64..30,
        history in prop::collection::vec((0_u64..2_000, 1_u32..40, 0_u32..20), 0..1000),
    ) {
        let policy = policy(f64::from(ratio) / 100.0, least, window);
        let (budget, mut naive) = (Budget::new(policy), Naive::default());
        let start = Instant::now();
        let (mut now, step) = (start, policy.window / 10);
        budget.request(start);
        naive.requests.push_back(0);
        for (pause, requests, retries) in history {
            now += Duration::from_millis(pause);
            let at = (now - start).as_nanos() / step.as_nanos();
            for list in [&mut naive.requests, &mut naive.retries] {
                while list.front().is_some_and(|then| then + 10 <= at) {
                    list.pop_front();
                }
            }
            for _ in 0..requests {
                budget.request(now);
                naive.requests.push_back(at);
            }
            for _ in 0..retries {
                let lately = naive.retries.iter().rev().take_while(|then| **then == at).count();
                let allowed = naive.retries.len() < naive.requests.len() * ratio as usize / 100
                    || (lately as f64) < f64::from(least) * step.as_secs_f64() - 1e-9;
                prop_assert_eq!(budget.try_retry(now), allowed);
                if allowed {
                    naive.retries.push_back(at);
                }
            }
            let earned = naive.requests.len() * ratio as usize / 100;
            prop_assert_eq!(budget.usage(now), (naive.retries.len() as u64, earned as u64));
        }
    }
}
