//! The tree's shape follows from its contents.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{Leaf, MARK, Node, Place, prune, seek, update};
use crate::key::{Hop, Key};

/// A leaf that counts as its own rank; 0 is empty.
#[derive(Clone, Default, Debug, PartialEq)]
struct Number(u32);

impl Leaf for Number {
    fn bound(&self) -> u64 {
        self.0.into()
    }

    fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

type Root = Option<Arc<Node<Number>>>;

/// `:` stands for a segment, `%` for one with text, `*` for any bytes, `+` for at least one.
fn key(text: &str) -> Key {
    let mut key = Key::default();
    for byte in text.bytes() {
        match byte {
            b':' => key.push_param(),
            b'%' => key.push_hop(Hop::Template([MARK, b'-', MARK].into())),
            b'*' | b'+' => key.push_hop(Hop::Wild { least: byte == b'+' }),
            _ => key.push(&[byte]),
        }
    }
    key
}

fn put(root: &mut Root, text: &str, value: u32) {
    update(root, &key(text), Place::Exact, value.into(), |leaf| {
        leaf.0 = value
    });
}

fn take(root: &mut Root, text: &str) {
    prune(root, &key(text), Place::Exact, |leaf| leaf.0 = 0);
}

fn value(root: &Root, text: &str) -> Option<u32> {
    let value = seek(root.as_deref()?, &key(text))?.exact.0;
    (value > 0).then_some(value)
}

/// The whole tree as text, after a check of its invariants.
fn dump(root: &Root) -> String {
    fn go(node: &Node<Number>, depth: usize, out: &mut String) {
        let own = [&node.exact, &node.tail].map(|leaf| leaf.0);
        let below: Vec<_> = node.branches().collect();
        let side = node.side.as_deref();
        assert!(
            own != [0, 0] || side.is_some() || below.len() > 1,
            "a node without a purpose"
        );
        assert!(side.is_none_or(|side| !side.is_empty()));
        assert_eq!(
            node.is_open(),
            node.param.is_some() || side.is_some() || own[1] > 0
        );
        let best = below
            .iter()
            .map(|child| child.bound)
            .chain(own.map(u64::from))
            .max();
        assert_eq!(Some(node.bound), best);
        let first = |node: &Node<Number>| node.run.bytes().first().copied();
        for child in node.kids.iter() {
            assert!(std::ptr::eq(
                node.kids.child(first(child).unwrap()).unwrap(),
                &**child
            ));
        }
        assert!(node.param.as_ref().is_none_or(|param| first(param) == Some(MARK)));
        let run = String::from_utf8_lossy(node.run.bytes());
        out.push_str(&format!("{:depth$}{run:?} {own:?} {}\n", "", below.len()));
        below.into_iter().for_each(|child| go(child, depth + 1, out));
    }
    let mut out = String::new();
    if let Some(root) = root {
        go(root, 0, &mut out);
    }
    out
}

const KEYS: [&str; 18] = [
    "", "/", "/a", "/ab", "/abc", "/b/:", "/b/:/", "/b/:/a", "/b/:/ab", "/b/c", "/b/::", "/\u{e9}", "/*/a",
    "/*/b", "/+/a", "/b/%", "/b/%/a", "/*/%/+/a",
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
        node.branches().for_each(|child| nodes(child, found));
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
    assert_eq!(root.as_ref().unwrap().bound, 5);
    prune(&mut root, &key("/a"), Place::Tail, |leaf| leaf.0 = 0);
    assert_eq!((value(&root, "/a"), root.as_ref().unwrap().bound), (Some(1), 1));
}

#[test]
fn a_chain_as_long_as_a_tree_can_be_is_dropped_on_a_small_stack() {
    let chain = || {
        let text = "/".repeat(crate::pattern::MAX_PATTERN);
        let mut root = Root::None;
        for length in 0..text.len() {
            put(&mut root, text.get(..length).unwrap_or_default(), 1);
        }
        let shared = root.clone();
        take(&mut root, text.get(..text.len() - 1).unwrap_or_default());
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
