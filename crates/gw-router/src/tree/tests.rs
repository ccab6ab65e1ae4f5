//! The tree's shape follows from its contents.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use super::{By, Leaf, MARK, Node, Place, exact, prune, seek, update};
use crate::{
    bytes,
    key::{Hop, Key},
};

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
    let value = seek(root.as_deref()?, &key(text), Place::Exact)?.exact.0;
    (value > 0).then_some(value)
}

/// The whole tree as text, after a check of its invariants.
fn dump(root: &Root) -> String {
    fn go(node: &Node<Number>, depth: usize, out: &mut String) {
        let own = [node.exact.0, node.tail.as_ref().map_or(0, |tail| tail.0)];
        assert!(node.tail.is_none() || own[1] > 0);
        let mut below: Vec<_> = node.branches().collect();
        below.sort_by(|one, other| one.run.bytes().cmp(other.run.bytes()));
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
        let (crowd, plain) = node.kids.parted();
        assert!(crowd.is_none_or(|crowd| crowd.len() > 0 && !node.run.bytes().is_empty()));
        assert!(crowd.is_none_or(|crowd| crowd.paths.as_ref().is_none_or(|paths| paths.len() > 0)));
        for child in crowd
            .iter()
            .flat_map(|crowd| crowd.paths.iter().flat_map(|paths| paths.iter()))
        {
            if !child.exact.is_empty() {
                let found = crowd.and_then(|crowd| crowd.get(By::Path, bytes::hash_all(child.run.bytes())));
                assert!(std::ptr::eq(found.unwrap(), child));
            }
        }
        for child in crowd.iter().flat_map(|crowd| crowd.segments.iter()) {
            let run = child.run.bytes();
            let end = run.iter().position(|byte| *byte == b'/').unwrap_or(run.len());
            let found = crowd.and_then(|crowd| crowd.get(By::Segment, bytes::hash(&run[..end])));
            // Else segments of one hash part behind the run.
            if end < run.len() || !child.exact.is_empty() || child.kids.child(b'/').is_some() {
                assert!(std::ptr::eq(found.unwrap(), child));
            }
        }
        for child in plain.iter() {
            assert!(std::ptr::eq(
                node.kids.child(first(child).unwrap()).unwrap(),
                child
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
    put(&mut root, "/1234/:", 2);
    fn nodes(node: &Node<Number>, found: &mut HashSet<*const Node<Number>>) {
        found.insert(node);
        node.branches().for_each(|child| nodes(child, found));
    }
    let (mut old, mut new) = (HashSet::new(), HashSet::new());
    nodes(before.as_ref().unwrap(), &mut old);
    nodes(root.as_ref().unwrap(), &mut new);
    let copied = new.difference(&old).count();
    assert_eq!(
        copied, 7,
        "the root, two digits, the segment with the two beside it, and what follows it"
    );
    let old = dump(&before);
    take(&mut root, "/1234/:");
    assert!(dump(&root) == old);
    assert_eq!(
        (value(&before, "/1234"), value(&before, "/1234/:")),
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

#[test]
fn a_crowd_is_found_by_segments_and_the_rest_by_bytes() {
    let segments: Vec<String> = (0..90).map(|n| format!("s{}", n * 7919 % 1000)).collect();
    let ends = ["", "/", "/x", "/:", "/:/y", "/s1", "*/z", ":", ":/x", "%"];
    let mut seed = 5_u64;
    let (mut root, mut model, mut crowds) = (Root::None, BTreeMap::new(), 0);
    for round in 0..40_000 {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let pick = |bits: u32, of: usize| (seed >> bits) as usize % of;
        let segment = &segments[pick(20, segments.len())];
        let text = format!(
            "/a/{}{segment}{}",
            ["", "t"][pick(33, 2)],
            ends[pick(40, ends.len())]
        );
        // A part of a segment, which goes on with anything.
        let place = if pick(50, 4) == 0 {
            Place::Tail
        } else {
            Place::Exact
        };
        let number = pick(55, 9) as u32 + 1;
        let grow = round / 4_000 % 2 == 0;
        if pick(60, 10) < if grow { 7 } else { 2 } {
            model.insert((text.clone(), place == Place::Tail), number);
            update(&mut root, &key(&text), place, number.into(), |leaf| {
                leaf.0 = number
            });
        } else {
            model.remove(&(text.clone(), place == Place::Tail));
            prune(&mut root, &key(&text), place, |leaf| leaf.0 = 0);
        }
        if round % 400 == 0 {
            // Tells of any invariant that does not hold; a bound may be too high where a number fell.
            crowds += usize::from(root.as_deref().is_some_and(has_crowd));
            for ((text, tail), number) in &model {
                let place = if *tail { Place::Tail } else { Place::Exact };
                let found =
                    seek(root.as_deref().unwrap(), &key(text), place).and_then(|node| node.place(place));
                let found = found.map(|leaf| leaf.0);
                assert_eq!(found, Some(*number), "{text}");
            }
        }
    }
    assert!(crowds > 50, "{crowds}");
    let before = (root.clone(), model.len());
    for ((text, tail), _) in std::mem::take(&mut model) {
        let place = if tail { Place::Tail } else { Place::Exact };
        prune(&mut root, &key(&text), place, |leaf| leaf.0 = 0);
    }
    assert!(root.is_none() && before.1 > 0, "nothing is left behind");
}

fn has_crowd(node: &Node<Number>) -> bool {
    node.kids.is_crowd() || node.branches().any(has_crowd)
}

#[test]
fn bounds_are_exact_in_crowds_as_well() {
    let mut root = Root::None;
    let text = |number: u32| format!("/a/v{}/x", number * 7919 % 1000);
    for number in 1..200 {
        put(&mut root, &text(number), number);
    }
    assert!(root.as_deref().is_some_and(has_crowd));
    for number in (1..200).rev() {
        assert_eq!(root.as_ref().unwrap().bound, u64::from(number));
        dump(&root);
        take(&mut root, &text(number));
    }
    assert!(root.is_none());
}

#[test]
fn many_paths_stand_by_all_their_bytes() {
    let mut root = Root::None;
    let text = |number: u32| format!("/team-{}/orders/v{}/{number}", number % 97, number % 3);
    let hashed = |root: &Root| {
        let crowd = root.as_ref().unwrap().kids.parted().0;
        crowd.map_or(0, |crowd| crowd.len() - crowd.segments.len())
    };
    let mut before = 0;
    for number in 1..=1_000 {
        put(&mut root, &text(number), number);
        before += u32::from(hashed(&root) == 0);
    }
    assert_eq!(hashed(&root), 1_000 - before as usize);
    assert!(
        (100..200).contains(&before),
        "{before} came before they were many"
    );
    let lookup = |number| exact(root.as_ref().unwrap(), text(number).as_bytes()).map(|node| node.exact.0);
    assert!((1..=1_000).all(|number| lookup(number) == Some(number)));
    dump(&root);
    for number in (1..=1_000).rev() {
        take(&mut root, &text(number));
    }
    assert!(root.is_none());
}

#[test]
fn segments_of_one_hash_are_told_apart() {
    let mut known = std::collections::HashMap::new();
    let pair = (0_u32..).find_map(|number| {
        let text = format!("{number:x}");
        known
            .insert(bytes::hash(text.as_bytes()), text.clone())
            .map(|other| (text, other))
    });
    let (one, other) = pair.unwrap();
    assert_ne!(one, other);
    let mut root = Root::None;
    for number in 0..100 {
        put(&mut root, &format!("/a/v{number}"), 1);
    }
    // The crowd stands behind `/a/`, so that no byte more is common to all.
    put(&mut root, "/a/w", 1);
    let mut model = vec![];
    for (round, end) in ["", "/", "/x", "/:"].iter().cycle().take(400).enumerate() {
        for (text, number) in [(&one, 7), (&other, 8)] {
            let text = format!("/a/v{text}{end}");
            put(&mut root, &text, number);
            if round < 4 {
                model.push((text, number));
            }
        }
    }
    for (text, number) in &model {
        assert_eq!(value(&root, text), Some(*number), "{text}");
    }
    dump(&root);
    for (text, _) in model {
        take(&mut root, &text);
        assert_eq!(value(&root, &text), None);
    }
    dump(&root);
}
