//! Real route tables: every path of each is looked up, in the order of the table.

use std::rc::Rc;

use gw_router::Router;

use crate::case::{Case, Contender};
use crate::finder::Finder;
use crate::tables::{TABLES, Table, path_of};

type Ours = Router<usize>;
type Matchit = matchit::Router<usize>;
type PathTree = path_tree::PathTree<usize>;
type Wayfind = wayfind::Router<usize>;

pub(crate) fn cases() -> Vec<Case> {
    let find = |table: Table| {
        Case::new(format!("router/find/{}", table.name), move || {
            contest(table, false)
        })
    };
    let read = |table: Table| {
        Case::new(format!("router/read/{}", table.name), move || {
            contest(table, true)
        })
    };
    TABLES
        .into_iter()
        .flat_map(|table| [find(table), read(table)])
        .collect()
}

/// What of a table all contenders do alike.
#[derive(Debug)]
pub(crate) struct Common {
    pub(crate) patterns: Vec<&'static str>,
    pub(crate) paths: Rc<[String]>,
    /// How many of the table's patterns are left out since a rival does not take them.
    pub(crate) refused: usize,
    /// How many paths are not asked for since a rival answers otherwise.
    pub(crate) otherwise: usize,
}

fn contest(table: Table, read: bool) -> Vec<Contender> {
    let common = Common::of(table);
    let mut contenders = vec![contender::<Ours>(&common, read)];
    if !table.wild {
        contenders.push(contender::<Matchit>(&common, read));
        contenders.push(contender::<PathTree>(&common, read));
    }
    contenders.push(contender::<Wayfind>(&common, read));
    contenders
}

fn contender<F: Finder>(common: &Common, read: bool) -> Contender {
    let finder = Rc::new(common.table::<F>());
    match read {
        true => Contender::read(finder, &common.paths),
        false => Contender::find(finder, &common.paths),
    }
}

impl Common {
    pub(crate) fn of(table: Table) -> Self {
        let all = table.patterns();
        let mut common = Self {
            refused: 0,
            otherwise: 0,
            paths: Rc::default(),
            patterns: all.clone(),
        };
        common.keep::<Ours>();
        common.keep::<Wayfind>();
        if !table.wild {
            common.keep::<Matchit>();
            common.keep::<PathTree>();
        }
        common.refused = all.len() - common.patterns.len();
        let mut paths: Vec<String> = common.patterns.iter().copied().map(path_of).collect();
        common.agree::<Wayfind>(&mut paths);
        if !table.wild {
            common.agree::<Matchit>(&mut paths);
            common.agree::<PathTree>(&mut paths);
        }
        common.otherwise = common.patterns.len() - paths.len();
        common.paths = paths.into();
        let left = common.paths.len() as f64 / all.len() as f64;
        assert!(left > 0.85, "{}: only {left} of the paths are left", table.name);
        common
    }

    /// Leaves out the patterns that a router does not take.
    fn keep<F: Finder>(&mut self) {
        let (_, refused) = F::new(self.patterns.iter().copied());
        for position in refused.into_iter().rev() {
            self.patterns.remove(position);
        }
    }

    /// Leaves out the paths to which a rival has another answer than we.
    fn agree<F: Finder>(&self, paths: &mut Vec<String>) {
        let (ours, rival) = (self.table::<Ours>(), self.table::<F>());
        paths.retain(|path| {
            let answer = ours.answer(path);
            assert!(answer.is_some(), "{path} is in the table");
            answer == rival.answer(path)
        });
    }

    fn table<F: Finder>(&self) -> F {
        let (finder, refused) = F::new(self.patterns.iter().copied());
        assert!(refused.is_empty(), "{} took them before", F::NAME);
        finder
    }
}
