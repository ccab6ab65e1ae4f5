//! What a change costs that a reader is not to see, and what building a table costs.

use std::hint::black_box;
use std::rc::Rc;
use std::time::Instant;

use fastrand::Rng;
use gw_router::{Lookup, Router, Rule, RuleId};

use crate::case::{Case, Contender, Limit, label};
use crate::finder::Finder;
use crate::shapes::Shape;

/// How many places are changed in a pass.
const PLACES: usize = 50;

/// Among how many routes the changes are where they are not all over the table.
const HOT: usize = 100;

pub(crate) fn cases(limit: Limit) -> Vec<Case> {
    let case = |name: &str, change: fn(usize, usize) -> Contender, most: usize| {
        let make = move || {
            let sizes = limit.of(&[100, 10_000, 100_000, 1_000_000]);
            sizes
                .into_iter()
                .map(|size| change(size, size.min(most)))
                .collect()
        };
        Case::new(format!("router/change/{name}"), make)
    };
    vec![
        case("insert_remove", insert_remove, usize::MAX),
        case("insert_remove_hot", insert_remove, HOT),
        case("replace", replace, usize::MAX),
        case("replace_hot", replace, HOT),
        Case::new("router/build/100k", move || build(limit)),
    ]
}

/// A table, what readers see of it, and where it is changed next.
struct Live {
    router: Router<usize>,
    published: Router<usize>,
    ids: Vec<RuleId>,
    /// Routes that are changed, spread over the table.
    places: Vec<usize>,
    random: Rng,
}

impl Live {
    fn new(size: usize, places: usize) -> Self {
        let mut router = Router::new();
        let ids = (0..size).map(|n| {
            let rule = Shape::Param.rule(n);
            router.insert(rule, n).expect("a small rule")
        });
        Self {
            ids: ids.collect(),
            published: router.clone(),
            router,
            places: (0..places).map(|place| place * (size / places)).collect(),
            random: Rng::with_seed(13),
        }
    }

    /// Makes what was changed known; what readers had is given back.
    fn publish(&mut self) {
        self.published = self.router.clone();
    }

    fn places(&mut self) -> [usize; PLACES] {
        std::array::from_fn(|_| self.places[self.random.usize(..self.places.len())])
    }
}

/// A route more, and a route less, each published: two changes. The text of the route is read each time.
fn insert_remove(size: usize, places: usize) -> Contender {
    let mut live = Live::new(size, places);
    let path = |n: usize| format!("/api/v{n}/svc{n}/items/{{id}}/new");
    let insert = move |live: &mut Live, path: &str| {
        let rule = Rule::path(path).expect("a pattern");
        live.router.insert(rule, 7).expect("a small rule")
    };
    let id = insert(&mut live, &path(3));
    let asked = Lookup::path_only("/api/v3/svc3/items/12345/new");
    assert!(live.router.find(&asked).is_some() && live.published.find(&asked).is_none());
    assert!(live.router.remove(id) && live.router.find(&asked).is_none());
    Contender::new(label(size), 2 * PLACES, move || {
        let paths = live.places().map(path);
        let start = Instant::now();
        for path in &paths {
            let id = insert(&mut live, black_box(path));
            live.publish();
            live.router.remove(id);
            live.publish();
        }
        start.elapsed()
    })
}

/// Another rule and value in the place of one, published.
fn replace(size: usize, places: usize) -> Contender {
    let mut live = Live::new(size, places);
    let replace = |live: &mut Live, n: usize, path: &str, value: usize| {
        let rule = Rule::path(path).expect("a pattern");
        live.router
            .replace(live.ids[n], rule, value)
            .expect("it is there");
    };
    replace(&mut live, 5, &Shape::Param.pattern(5), 8);
    let path = Shape::Param.request(5).1;
    let value = |router: &Router<usize>| router.find(&Lookup::path_only(&path)).map(|found| *found.value);
    assert_eq!((value(&live.published), value(&live.router)), (Some(5), Some(8)));
    Contender::new(label(size), PLACES, move || {
        let places = live.places();
        let paths = places.map(|n| Shape::Param.pattern(n));
        let start = Instant::now();
        for (n, path) in places.into_iter().zip(&paths) {
            replace(&mut live, n, black_box(path), n);
            live.publish();
        }
        start.elapsed()
    })
}

/// A table from texts.
fn build(limit: Limit) -> Vec<Contender> {
    let size = limit.0.min(100_000);
    let patterns: Rc<[String]> = (0..size).map(|n| Shape::Param.pattern(n)).collect();
    fn contender<F: Finder>(patterns: &Rc<[String]>) -> Contender {
        let patterns = Rc::clone(patterns);
        Contender::new(F::NAME, 1, move || {
            let start = Instant::now();
            let (table, refused) = F::new(black_box(patterns.iter().map(String::as_str)));
            let took = start.elapsed();
            assert!(refused.is_empty() && table.answer("/api/v9/svc9/items/1/r9").is_some());
            took
        })
    }
    vec![
        contender::<Router<usize>>(&patterns),
        contender::<matchit::Router<usize>>(&patterns),
        contender::<path_tree::PathTree<usize>>(&patterns),
        contender::<wayfind::Router<usize>>(&patterns),
    ]
}
