//! What the number of routes costs: tables of 10 to 1,000,000 asked all over, and a few hot routes among many.

use std::rc::Rc;

use fastrand::Rng;
use gw_router::{Lookup, Router};
use radix_trie::Trie;

use crate::case::{Case, Contender, Limit, label};
use crate::finder::Finder;
use crate::shapes::{Request, Shape};

pub(crate) const SIZES: [usize; 6] = [10, 100, 1_000, 10_000, 100_000, 1_000_000];

/// How many requests are drawn; the same one may be drawn twice.
const REQUESTS: usize = 20_000;

/// As many where each takes a hundred times as long.
const WORST_REQUESTS: usize = 2_000;

/// How many routes are hot.
const HOT: usize = 100;

pub(crate) fn cases(limit: Limit) -> Vec<Case> {
    let growing = |shape: Shape| {
        let name = format!("router/scale/{}", shape.name());
        Case::new(name, move || all_over(shape, limit))
    };
    let mut cases: Vec<Case> = Shape::ALL.into_iter().map(growing).collect();
    cases.push(Case::new("router/scale/hot", move || hot(limit)));
    cases
}

/// Tables of all sizes, so that the curve is of one time; requests are drawn uniformly over the whole table.
fn all_over(shape: Shape, limit: Limit) -> Vec<Contender> {
    let mut contenders = Vec::new();
    for size in limit.of(&SIZES) {
        let drawn = Drawn::new(shape, size, limit);
        contenders.push(drawn.ours());
        if !matches!(shape, Shape::Host | Shape::HostFirst) {
            contenders.push(drawn.rival::<matchit::Router<usize>>());
        }
        if shape == Shape::Literal {
            contenders.push(drawn.rival::<Trie<String, usize>>());
        }
    }
    contenders
}

/// Two rows of requests: one to warm up with, one to measure.
struct Drawn {
    shape: Shape,
    size: usize,
    numbers: [Vec<usize>; 2],
    requests: [Rc<[Request]>; 2],
}

impl Drawn {
    fn new(shape: Shape, size: usize, limit: Limit) -> Self {
        let count = if shape == Shape::Worst {
            WORST_REQUESTS
        } else {
            REQUESTS
        };
        let mut random = Rng::with_seed(7);
        let mut draw = || (0..count.min(limit.0)).map(|_| random.usize(..size)).collect();
        let numbers: [Vec<usize>; 2] = [draw(), draw()];
        let requests = numbers
            .each_ref()
            .map(|row| row.iter().map(|n| shape.request(*n)).collect());
        Self {
            shape,
            size,
            numbers,
            requests,
        }
    }

    fn ours(&self) -> Contender {
        let router = self.shape.table(self.size);
        self.check(|(host, path)| {
            let found = router.find(&Lookup::path_only(path).host(host))?;
            Some(*found.value)
        });
        let [before, requests] = self.requests.clone();
        let name = format!("gw, {}", label(self.size));
        if matches!(self.shape, Shape::Host | Shape::HostFirst) {
            return Contender::warmed(name, before, requests, move |(host, path)| {
                std::hint::black_box(router.find(&Lookup::path_only(path).host(host)));
            });
        }
        Contender::warmed(name, before, requests, move |(_, path)| {
            Finder::find(&router, path)
        })
    }

    fn rival<F: Finder>(&self) -> Contender {
        let patterns: Vec<String> = (0..self.size).map(|n| self.shape.pattern(n)).collect();
        let (finder, refused) = F::new(patterns.iter().map(String::as_str));
        assert!(refused.is_empty(), "{} takes them all", F::NAME);
        self.check(|(_, path)| Some(finder.answer(path)?.0));
        let [before, requests] = self.requests.clone();
        let name = format!("{}, {}", F::NAME, label(self.size));
        Contender::warmed(name, before, requests, move |(_, path)| finder.find(path))
    }

    fn check(&self, find: impl Fn(&Request) -> Option<usize>) {
        for (numbers, requests) in self.numbers.iter().zip(&self.requests) {
            for (n, request) in numbers.iter().zip(&**requests) {
                assert_eq!(find(request), self.shape.expected(*n), "{request:?}");
            }
        }
    }
}

/// The same hundred routes, alone and among many.
fn hot(limit: Limit) -> Vec<Contender> {
    let mut random = Rng::with_seed(11);
    let most = limit.0.min(100_000);
    let hot: Vec<usize> = (0..HOT).map(|_| random.usize(..most)).collect();
    let paths: Rc<[String]> = hot.iter().map(|n| Shape::Param.request(*n).1).collect();
    let alone: Vec<String> = hot.iter().map(|n| Shape::Param.pattern(*n)).collect();
    let among: Vec<String> = (0..most).map(|n| Shape::Param.pattern(n)).collect();
    let contender = |patterns: &[String], name: &str| {
        let (router, _) = <Router<usize> as Finder>::new(patterns.iter().map(String::as_str));
        for (path, pattern) in paths.iter().zip(&alone) {
            let found = router.find(&Lookup::path_only(path));
            assert_eq!(
                found.map(|found| patterns[*found.value].as_str()),
                Some(pattern.as_str())
            );
        }
        Contender::find(Rc::new(router), &paths).named(name)
    };
    vec![contender(&alone, "alone"), contender(&among, "among 100k")]
}
