//! What is measured: cases of a few contenders, which do the same work or work that is to be compared.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::finder::Finder;

/// Contenders that are measured beside each other. They are made when it is their turn: some are large.
pub(crate) struct Case {
    pub(crate) name: String,
    make: Box<dyn Fn() -> Vec<Contender>>,
}

/// A piece of work, repeated.
pub(crate) struct Contender {
    pub(crate) name: String,
    /// How many operations a pass makes.
    pub(crate) operations: usize,
    /// Does the work once, and says how long it took.
    pub(crate) pass: Box<dyn FnMut() -> Duration>,
}

/// How large tables may become.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit(pub(crate) usize);

/// Bound: a pass of lookups has at least this many, so that the clock is nothing beside them.
const LOOKUPS: usize = 1000;

impl Case {
    pub(crate) fn new(name: impl Into<String>, make: impl Fn() -> Vec<Contender> + 'static) -> Self {
        Self {
            name: name.into(),
            make: Box::new(make),
        }
    }

    /// Makes the contenders, which have given the right answers then.
    pub(crate) fn contenders(&self) -> Vec<Contender> {
        (self.make)()
    }
}

impl Contender {
    pub(crate) fn new(
        name: impl Into<String>,
        operations: usize,
        pass: impl FnMut() -> Duration + 'static,
    ) -> Self {
        Self {
            name: name.into(),
            operations,
            pass: Box::new(pass),
        }
    }

    /// Looks every request up, over and over; `look` is called once for each.
    pub(crate) fn sweep<Q: 'static>(
        name: impl Into<String>,
        requests: Rc<[Q]>,
        look: impl Fn(&Q) + 'static,
    ) -> Self {
        Self::warmed(name, Rc::default(), requests, look)
    }

    /// The same after other requests, which are not counted: they bring back into the caches what the passes of others
    /// have driven out of them, as far as it fits.
    pub(crate) fn warmed<Q: 'static>(
        name: impl Into<String>,
        before: Rc<[Q]>,
        requests: Rc<[Q]>,
        look: impl Fn(&Q) + 'static,
    ) -> Self {
        let times = LOOKUPS.div_ceil(requests.len().max(1));
        Self::new(name, times * requests.len(), move || {
            for request in &*before {
                look(black_box(request));
            }
            let start = Instant::now();
            for _ in 0..times {
                for request in &*requests {
                    look(black_box(request));
                }
            }
            start.elapsed()
        })
    }

    /// Looks the paths up in a table.
    pub(crate) fn find<F: Finder>(finder: Rc<F>, paths: &Rc<[String]>) -> Self {
        Self::sweep(F::NAME, Rc::clone(paths), move |path| finder.find(path))
    }

    /// Looks the paths up in a table, and reads their parameters.
    pub(crate) fn read<F: Finder>(finder: Rc<F>, paths: &Rc<[String]>) -> Self {
        Self::sweep(F::NAME, Rc::clone(paths), move |path| {
            black_box(finder.read(path));
        })
    }

    pub(crate) fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }
}

impl Limit {
    /// Those of the sizes that are allowed.
    pub(crate) fn of(self, sizes: &[usize]) -> Vec<usize> {
        sizes.iter().copied().filter(|size| *size <= self.0).collect()
    }
}

/// 100, 10k, 1M.
pub(crate) fn label(size: usize) -> String {
    match size {
        1_000_000.. => format!("{}M", size / 1_000_000),
        1_000.. => format!("{}k", size / 1_000),
        _ => size.to_string(),
    }
}
