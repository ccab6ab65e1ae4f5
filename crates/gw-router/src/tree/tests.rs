//! The tree's shape follows from its contents.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{Leaf, Node, PARAM, Place, Step, prune, seek, steps, update};

/// A leaf that counts as its own rank; 0 is empty.
#[derive(Clone, Default, Debug, PartialEq)]
struct Number(u32);

impl Leaf for Number {
    type Best = u32;
    const NOTHING: u32 = 0;

    fn best(&self) -> u32 {
        self.0
    }

    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

type Root = Option<Arc<Node<Number>>>;

/// `:` stands for a segment.
fn key(text: &str) -> Vec<Step> {
    text.bytes()
        .map(|byte| if byte == b':' { PARAM } else { Step::from(byte) })
        .collect()
}

fn put(root: &mut Root, text: &str, value: u32) {
    update(root, &key(text), Place::Exact, value, |leaf| leaf.0 = value);
}

fn take(root: &mut Root, text: &str) {
    prune(root, &key(text), Place::Exact, |leaf| leaf.0 = 0);
}

fn value(root: &Root, text: &str) -> Option<u32> {
    seek(root.as_deref()?, &key(text))?
        .exact
        .as_deref()
        .map(|leaf| leaf.0)
}

/// The whole tree as text, after a check of its invariants.
fn dump(root: &Root) -> String {
    fn go(node: &Node<Number>, depth: usize, out: &mut String) {
        let own = [&node.exact, &node.tail].map(|leaf| leaf.as_deref().map_or(0, |leaf| leaf.0));
        let below: Vec<_> = node.children.iter().chain(&node.param).collect();
        assert!(
            own != [0, 0] || node.param.is_some() || node.children.len() > 1,
            "a node without a purpose"
        );
        assert_eq!(
            node.best,
            below.iter().map(|child| child.best).chain(own).max().unwrap()
        );
        assert!(node.firsts.is_sorted());
        assert!(
            node.children
                .iter()
                .map(|child| child.run[0])
                .eq(node.firsts.iter().copied())
        );
        let run = String::from_utf8_lossy(&node.run);
        out.push_str(&format!(
            "{:depth$}{run:?} {own:?} {}\n",
            "",
            node.param.is_some()
        ));
        below.into_iter().for_each(|child| go(child, depth + 1, out));
    }
    let mut out = String::new();
    if let Some(root) = root {
        go(root, 0, &mut out);
    }
    out
}

const KEYS: [&str; 12] = [
    "", "/", "/a", "/ab", "/abc", "/b/:", "/b/:/", "/b/:/a", "/b/:/ab", "/b/c", "/b/::", "/\u{e9}",
];

#[test]
fn the_same_contents_make_the_same_tree() {
    let mut seed = 7_u64;
    for _ in 0..500 {
        let (mut root, mut model) = (Root::None, BTreeMap::new());
        for _ in 0..20 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (text, number) = (
                KEYS[(seed >> 33) as usize % KEYS.len()],
                (seed >> 40) as u32 % 5 + 1,
            );
            if seed >> 62 == 0 {
                model.remove(text);
                take(&mut root, text);
            } else if !model.contains_key(text) {
                model.insert(text, number);
                put(&mut root, text, number);
            }
        }
        let mut fresh = Root::None;
        model
            .iter()
            .rev()
            .for_each(|(text, number)| put(&mut fresh, text, *number));
        assert_eq!(dump(&root), dump(&fresh), "{model:?}");
        for text in KEYS {
            assert_eq!(value(&root, text), model.get(text).copied(), "{text}");
        }
    }
}

#[test]
fn a_change_copies_only_the_way_to_its_place() {
    let mut root = Root::None;
    for number in 0..10_000 {
        put(&mut root, &format!("/{:04}", number), 1);
    }
    let before = root.clone();
    put(&mut root, "/1234/x", 2);
    fn nodes(node: &Arc<Node<Number>>, found: &mut HashSet<*const Node<Number>>) {
        found.insert(Arc::as_ptr(node));
        node.children
            .iter()
            .chain(&node.param)
            .for_each(|child| nodes(child, found));
    }
    let (mut old, mut new) = (HashSet::new(), HashSet::new());
    nodes(before.as_ref().unwrap(), &mut old);
    nodes(root.as_ref().unwrap(), &mut new);
    let copied = new.difference(&old).count();
    assert_eq!(copied, 6, "the root, four digits and the new node");
    let old = dump(&before);
    take(&mut root, "/1234/x");
    assert_eq!(dump(&root), old);
    assert_eq!(
        (value(&before, "/1234"), value(&before, "/1234/x")),
        (Some(1), None)
    );
}

#[test]
fn what_nobody_shares_is_changed_in_place() {
    let mut root = Root::None;
    put(&mut root, "/a", 1);
    let at = Arc::as_ptr(root.as_ref().unwrap());
    put(&mut root, "/b", 2);
    put(&mut root, "/c", 3);
    take(&mut root, "/b");
    assert_eq!(Arc::as_ptr(root.as_ref().unwrap()), at);
}

#[test]
fn removing_what_is_not_there_changes_nothing() {
    let mut root = Root::None;
    take(&mut root, "/a");
    put(&mut root, "/ab", 1);
    let (kept, before) = (root.clone(), dump(&root));
    for text in ["", "/", "/a", "/abc", "/x", ":", "/ab:"] {
        take(&mut root, text);
    }
    prune(&mut root, &key("/ab"), Place::Tail, |leaf| leaf.0 = 0);
    assert_eq!(dump(&root), before);
    assert!(Arc::ptr_eq(root.as_ref().unwrap(), kept.as_ref().unwrap()));
    take(&mut root, "/ab");
    assert!(root.is_none());
}

#[test]
fn both_places_of_a_node_live_alone() {
    let mut root = Root::None;
    put(&mut root, "/a", 1);
    update(&mut root, &key("/a"), Place::Tail, 5, |leaf| leaf.0 = 5);
    assert_eq!(root.as_ref().unwrap().best, 5);
    prune(&mut root, &key("/a"), Place::Tail, |leaf| leaf.0 = 0);
    assert_eq!((value(&root, "/a"), root.as_ref().unwrap().best), (Some(1), 1));
}

#[test]
fn a_chain_as_long_as_a_tree_can_be_is_dropped_on_a_small_stack() {
    let chain = || {
        let text = steps([b'/'; crate::pattern::MAX_PATTERN]);
        let mut root = Root::None;
        for length in 0..text.len() {
            update(&mut root, &text[..length], Place::Exact, 1, |leaf| leaf.0 = 1);
        }
        let shared = root.clone();
        prune(&mut root, &text[..text.len() - 1], Place::Exact, |leaf| {
            leaf.0 = 0
        });
        drop(shared);
        drop(root);
    };
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(chain)
        .unwrap()
        .join()
        .unwrap();
}
