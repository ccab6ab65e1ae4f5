//! What requests of late looked like, so that it can be said what a change would do to them: a bounded ring per worker.
//!
//! Kept in memory, and nowhere else: method, host, path, where it came from and in, the headers that are asked for by
//! name, and the route it got. No query, no body.

mod shape;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gw_core::{Id, Route};
use http::HeaderName;

use crate::arrival::{Arrival, Asked};
use crate::lock;
pub(crate) use shape::Shape;

/// Bound: so many requests of a worker are kept in a second. Of more, every second, third, … is.
const PER_SECOND: u64 = 100;

/// A worker that has kept nothing for so long keeps what comes next, whatever came before.
const PAUSE: Duration = Duration::from_millis(500);

/// Of so many requests that are left out, at one it is looked how long that was.
const LOOK: u32 = 16;

/// In so many parts a ring is overwritten.
const PARTS: usize = 8;

/// Bytes there are for a request, on average. Where they are longer, fewer are kept.
const ROOM: usize = 192;

/// What requests of one worker looked like. Only its own thread writes; the lock is taken by others where somebody asks.
#[derive(Debug)]
pub(crate) struct Traffic {
    /// Requests to be left out before the next is kept.
    left: AtomicU32,
    /// Microseconds after `born` from which on a request is kept anyway.
    due: AtomicU64,
    born: Instant,
    /// Requests of a part.
    most: usize,
    /// Whose values are kept.
    headers: Box<[HeaderName]>,
    ring: Mutex<Ring>,
}

#[derive(Debug)]
struct Ring {
    /// The older parts, the oldest first.
    full: Vec<Arc<Part>>,
    current: Part,
    /// How many of the latest requests stand for one that is kept.
    every: u32,
    /// From when on it is counted how many are kept.
    since: Instant,
    kept: u64,
}

/// A part of a ring.
#[derive(Clone, Debug, Default)]
pub(crate) struct Part {
    bytes: Vec<u8>,
    count: usize,
    /// When its first request came.
    first: Option<Instant>,
}

impl Traffic {
    /// Keeps the shapes of `samples` requests, at most, with the values of these headers.
    pub(crate) fn new(samples: usize, headers: &[HeaderName]) -> Self {
        let now = Instant::now();
        Self {
            left: AtomicU32::new(0),
            due: AtomicU64::new(0),
            born: now,
            most: samples.div_ceil(PARTS),
            headers: headers.into(),
            ring: Mutex::new(Ring {
                full: Vec::new(),
                current: Part::default(),
                every: 1,
                since: now,
                kept: 0,
            }),
        }
    }

    /// Takes note of a request that began at `now`, if it is one of those that are kept.
    #[inline]
    pub(crate) fn note(
        &self,
        now: Instant,
        arrival: &Arrival<'_>,
        asked: &Asked<'_>,
        got: (Option<Id<Route>>, u64),
    ) {
        // Only the worker's own thread does this: what is read and written apart is not changed in between.
        let left = self.left.load(Relaxed);
        if left > 0 {
            self.left.store(left - 1, Relaxed);
            if !left.is_multiple_of(LOOK) || self.micros(now) < self.due.load(Relaxed) {
                return;
            }
        }
        self.keep(now, arrival, asked, got);
    }

    fn keep(&self, now: Instant, arrival: &Arrival<'_>, asked: &Asked<'_>, got: (Option<Id<Route>>, u64)) {
        if self.most == 0 {
            self.left.store(u32::MAX, Relaxed);
            self.due.store(u64::MAX, Relaxed);
            return;
        }
        let mut ring = lock(&self.ring);
        let every = ring.rate(now);
        self.left.store(every - 1, Relaxed);
        self.due.store(self.micros(now + PAUSE), Relaxed);
        let shape = Shape::of(arrival, asked, got);
        let length = shape.length(&self.headers);
        // What is longer than a part has no place.
        if length > self.most.saturating_mul(ROOM) {
            return;
        }
        if ring.current.count == self.most
            || ring.current.bytes.len() + length > ring.current.bytes.capacity()
        {
            ring.turn(self.most * ROOM);
        }
        let part = &mut ring.current;
        part.first.get_or_insert(now);
        part.count += 1;
        shape.write(&self.headers, &mut part.bytes);
    }

    /// What is kept, the oldest first. A writer waits no longer than one part takes to be copied.
    pub(crate) fn parts(&self) -> Vec<Arc<Part>> {
        let ring = lock(&self.ring);
        let mut parts = ring.full.clone();
        parts.push(Arc::new(ring.current.clone()));
        parts
    }

    fn micros(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.born).as_micros()).unwrap_or(u64::MAX)
    }
}

impl Ring {
    /// Of how many requests one is kept from now on.
    fn rate(&mut self, now: Instant) -> u32 {
        self.kept += 1;
        let passed = now.saturating_duration_since(self.since);
        if passed >= Duration::from_secs(1) {
            let seen = u128::from(self.kept) * u128::from(self.every);
            let a_second = seen * 1000 / passed.as_millis().max(1);
            let every = u32::try_from(a_second / u128::from(PER_SECOND)).unwrap_or(u32::MAX);
            self.every = every.max(1);
            (self.since, self.kept) = (now, 0);
        } else if self.kept >= 2 * PER_SECOND {
            // More than there should be, before the second is over.
            self.every = self.every.saturating_mul(2);
            (self.since, self.kept) = (now, 0);
        }
        self.every
    }

    /// Begins a new part; the oldest makes way.
    fn turn(&mut self, bytes: usize) {
        let full = std::mem::take(&mut self.current);
        if full.count > 0 {
            self.full.push(Arc::new(full));
        }
        if self.full.len() >= PARTS {
            // Its memory is used again, unless somebody is reading it.
            self.current = Arc::try_unwrap(self.full.remove(0)).unwrap_or_default();
            self.current.bytes.clear();
            (self.current.count, self.current.first) = (0, None);
        }
        if self.current.bytes.capacity() < bytes {
            self.current.bytes.reserve_exact(bytes);
        }
    }
}

impl Part {
    /// The requests in it, the oldest first.
    pub(crate) fn shapes(&self) -> impl Iterator<Item = Shape<'_>> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || Shape::read(&mut rest))
    }

    /// When its first request came.
    pub(crate) fn first(&self) -> Option<Instant> {
        self.first
    }
}

#[cfg(test)]
mod tests {
    use gw_core::Protocol;
    use http::{HeaderMap, Method};

    use super::*;

    struct Bench {
        traffic: Traffic,
        now: Instant,
    }

    impl Bench {
        fn new(samples: usize) -> Self {
            let traffic = Traffic::new(samples, &[HeaderName::from_static("x-tenant")]);
            let now = traffic.born;
            Self { traffic, now }
        }

        fn note(&mut self, path: &str, after: Duration) {
            self.now += after;
            let arrival = Arrival {
                client: [192, 0, 2, 1].into(),
                scheme: Protocol::Http,
                port: 80,
                sni: None,
            };
            let headers = HeaderMap::from_iter([
                (HeaderName::from_static("x-tenant"), "gold".parse().unwrap()),
                (
                    HeaderName::from_static("authorization"),
                    "secret".parse().unwrap(),
                ),
            ]);
            let asked = Asked {
                method: &Method::GET,
                host: "a.test",
                path,
                query: Some("token=secret"),
                headers: &headers,
            };
            self.traffic.note(self.now, &arrival, &asked, (None, 7));
        }

        fn paths(&self) -> Vec<String> {
            let parts = self.traffic.parts();
            let shapes = parts.iter().flat_map(|part| part.shapes());
            shapes.map(|shape| shape.path.to_owned()).collect()
        }
    }

    #[test]
    fn the_last_ones_are_kept_in_order() {
        let mut bench = Bench::new(80);
        for n in 0..1000 {
            bench.note(&format!("/{n}"), Duration::from_millis(20));
        }
        let paths = bench.paths();
        assert!((70..=80).contains(&paths.len()), "{}", paths.len());
        let expected: Vec<_> = (1000 - paths.len()..1000).map(|n| format!("/{n}")).collect();
        assert_eq!(paths, expected);
    }

    #[test]
    fn nothing_secret_is_kept() {
        let mut bench = Bench::new(8);
        bench.note("/", Duration::ZERO);
        let parts = bench.traffic.parts();
        let bytes = String::from_utf8_lossy(&parts[0].bytes).into_owned();
        assert!(bytes.contains("gold") && !bytes.contains("secret"), "{bytes}");
    }

    #[test]
    fn of_a_flood_a_share_is_kept_and_the_memory_is_bounded() {
        let mut bench = Bench::new(1_000_000);
        // A hundred thousand requests a second for ten seconds.
        for n in 0..1_000_000_u32 {
            bench.note(&format!("/{}", n % 10), Duration::from_micros(10));
        }
        let kept = bench.paths().len() as u64;
        assert!((PER_SECOND * 5..PER_SECOND * 40).contains(&kept), "{kept}");
        // After a pause what comes is kept soon.
        bench.now += Duration::from_secs(60);
        for _ in 0..LOOK {
            bench.note("/after", Duration::ZERO);
        }
        assert_eq!(bench.paths().last().unwrap(), "/after");

        let mut small = Bench::new(80);
        for _ in 0..2000 {
            small.note(&"/long".repeat(100), Duration::from_millis(20));
        }
        let parts = small.traffic.parts();
        let bytes: usize = parts.iter().map(|part| part.bytes.len()).sum();
        assert!(bytes <= (PARTS + 1) * 10 * ROOM, "{bytes}");
        assert!(parts.len() <= PARTS && !small.paths().is_empty());
        small.note(&"/much-too-long".repeat(1000), Duration::from_millis(20));
        assert_ne!(small.paths().last().unwrap().len(), 14_000);
    }

    #[test]
    fn none_are_kept_where_none_are_wanted() {
        let mut bench = Bench::new(0);
        for _ in 0..10 {
            bench.note("/", Duration::from_secs(1));
        }
        assert!(bench.paths().is_empty());
    }

    #[test]
    fn once_there_is_room_nothing_is_allocated() {
        let mut bench = Bench::new(80);
        for _ in 0..200 {
            bench.note("/a/path", Duration::from_millis(20));
        }
        let measured = allocation_counter::measure(|| {
            let arrival = Arrival {
                client: [192, 0, 2, 1].into(),
                scheme: Protocol::Http,
                port: 80,
                sni: None,
            };
            let headers = HeaderMap::new();
            for n in 0..200 {
                let asked = Asked {
                    method: &Method::GET,
                    host: "a.test",
                    path: "/a/path",
                    query: None,
                    headers: &headers,
                };
                let now = bench.now + Duration::from_millis(20 * n);
                bench.traffic.note(now, &arrival, &asked, (None, 7));
            }
        });
        // A part in turn gets a count of its own.
        assert!(measured.count_total <= 2 * 200 / 10, "{measured:?}");
    }
}
