//! What is kept, what makes room, what is dropped together.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use super::stored::Terms;
use super::*;

fn key(number: usize) -> Key {
    let mut key = [0; 32];
    key[..8].copy_from_slice(&number.to_le_bytes());
    Key(key)
}

fn target(number: usize) -> Target {
    Target(number as u64)
}

/// With a body of so many bytes.
fn stored(bytes: usize) -> Stored {
    Stored {
        status: StatusCode::OK,
        headers: HeaderMap::new(),
        body: Bytes::from(vec![b'x'; bytes]),
        at: SystemTime::UNIX_EPOCH,
        age: Duration::ZERO,
        lifetime: Duration::ZERO,
        kept: None,
        terms: Terms::default(),
        vary: Box::default(),
        dropped: Box::default(),
    }
}

fn varying(language: &'static str) -> Stored {
    let said = [http::HeaderValue::from_static(language)].into();
    Stored {
        vary: [(http::header::ACCEPT_LANGUAGE, said)].into(),
        ..stored(10)
    }
}

fn has(cache: &Cache, number: usize) -> bool {
    cache.find(target(number), &key(number), |_| true).is_some()
}

/// What the shards' entries take, counted one by one.
fn counted(cache: &Cache, numbers: impl Iterator<Item = usize>) -> usize {
    let sizes = numbers.filter_map(|number| cache.newest(&key(number)));
    sizes.map(|stored| stored.size()).sum()
}

#[test]
fn keys_are_written_and_read() {
    let text = format!("{}", key(0x1234));
    assert_eq!(text.len(), 64);
    assert_eq!(Key::parse(&text), Some(key(0x1234)));
    for wrong in ["", "12", &"g".repeat(64), &"+1".repeat(32), &"é".repeat(32)] {
        assert_eq!(Key::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn the_bound_holds_and_the_bytes_are_those_of_the_entries() {
    let cache = Cache::new(100_000);
    for number in 0..1000 {
        cache.store(target(number), key(number), Arc::new(stored(1000 + number)));
        assert!(cache.bytes() <= 100_000, "{} bytes after {number}", cache.bytes());
    }
    assert!(cache.bytes() > 80_000, "{} bytes", cache.bytes());
    assert_eq!(cache.bytes(), counted(&cache, 0..1000));
    cache.bound(10_000);
    assert!(cache.bytes() <= 10_000);
    cache.clear();
    assert_eq!((cache.bytes(), cache.len(), cache.is_empty()), (0, 0, true));
}

#[test]
fn what_is_too_large_for_the_cache_is_not_kept() {
    let cache = Cache::new(10_000);
    cache.store(target(1), key(1), Arc::new(stored(2000)));
    assert!(!has(&cache, 1));
    cache.store(target(1), key(1), Arc::new(stored(200)));
    assert!(has(&cache, 1));
}

#[test]
fn what_is_asked_for_again_outlives_a_scan() {
    let cache = Cache::new(200_000);
    for number in 0..20 {
        cache.store(target(number), key(number), Arc::new(stored(1000)));
        assert!(has(&cache, number));
    }
    for number in 1000..3000 {
        cache.store(target(number), key(number), Arc::new(stored(1000)));
        if number % 50 == 0 {
            assert!((0..20).all(|number| has(&cache, number)));
        }
    }
    let left = (0..20).filter(|number| has(&cache, *number)).count();
    assert_eq!(left, 20, "of 20 that are asked for again and again");
}

#[test]
fn replacing_and_dropping_keeps_count() {
    let cache = Cache::new(1_000_000);
    let mut shadow = HashMap::new();
    let mut seed = 7_usize;
    for _ in 0..5000 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let number = (seed >> 33) % 40;
        match (seed >> 20) % 3 {
            0 | 1 => {
                let size = (seed >> 40) % 300;
                cache.store(target(number), key(number), Arc::new(stored(size)));
                shadow.insert(number, size);
            }
            _ => assert_eq!(cache.remove(&key(number)), shadow.remove(&number).is_some()),
        }
        assert_eq!(cache.len(), shadow.len());
    }
    assert_eq!(cache.bytes(), counted(&cache, 0..40));
    let queued: usize = cache.shards.iter().map(|shard| lock(shard).queued()).sum();
    assert!(
        queued < 80 + 64 * SHARDS,
        "{queued} places for {} entries",
        cache.len()
    );
}

#[test]
fn variants_are_told_apart_bounded_and_dropped_together() {
    let cache = Cache::default();
    let (german, english) = (Arc::new(varying("de")), Arc::new(varying("en")));
    for stored in [&german, &english, &german] {
        cache.store(target(1), key(1), Arc::clone(stored));
    }
    let mut headers = HeaderMap::new();
    headers.insert("accept-language", "en".parse().unwrap());
    let found = cache.find(target(1), &key(1), |stored| stored.answers(&headers));
    assert!(Arc::ptr_eq(&found.unwrap(), &english));
    headers.insert("accept-language", "fr".parse().unwrap());
    assert!(
        cache
            .find(target(1), &key(1), |stored| stored.answers(&headers))
            .is_none()
    );
    assert_eq!(cache.bytes(), german.size() + english.size());

    cache.drop_variant(target(1), &key(1), &german);
    assert_eq!(cache.bytes(), english.size());
    assert!(cache.remove(&key(1)));
    assert_eq!(cache.bytes(), 0);

    for number in 0..100 {
        let language = Box::leak(format!("l{number}").into_boxed_str());
        cache.store(target(1), key(1), Arc::new(varying(language)));
    }
    assert_eq!(lock(&cache.shards[1]).peek(&key(1)).len(), VARIANTS);
}

#[test]
fn a_target_is_dropped_with_all_its_keys() {
    let cache = Cache::default();
    for number in 0..3 {
        cache.store(target(1), key(number), Arc::new(stored(10)));
    }
    cache.store(target(2), key(9), Arc::new(stored(10)));
    assert!(cache.remove_target(target(1)));
    assert!(!cache.remove_target(target(1)));
    assert_eq!(cache.len(), 1);
    assert_eq!(cache.bytes(), stored(10).size());
}

#[test]
fn one_leads_and_the_others_wait_until_it_is_over() {
    let cache = Arc::new(Cache::default());
    let Boarding::Leads(lead) = cache.board(target(1), key(1)) else {
        panic!("the first leads")
    };
    let Boarding::Follows(flight) = cache.board(target(1), key(1)) else {
        panic!("the second follows")
    };
    let mut context = Context::from_waker(Waker::noop());
    let mut landing = pin!(Landing(flight));
    assert!(landing.as_mut().poll(&mut context).is_pending());
    drop(lead);
    assert!(landing.as_mut().poll(&mut context).is_ready());
    assert!(matches!(cache.board(target(1), key(1)), Boarding::Leads(_)));
}

/// Looked through one by one, the keys of the target would take minutes.
#[test]
fn very_many_keys_of_one_target_make_room_in_good_time() {
    let most = 30_000;
    let cache = Cache::new(most * stored(10).size());
    let begun = std::time::Instant::now();
    let response = Arc::new(stored(10));
    for number in 0..120_000 {
        cache.store(target(1), key(number), Arc::clone(&response));
    }
    // And those that had to go come back.
    for number in 70_000..90_000 {
        cache.store(target(1), key(number), Arc::clone(&response));
    }
    assert_eq!(cache.len(), most);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(cache.remove_target(target(1)));
    assert!(cache.is_empty());
}
