//! Where in a text its values stand.

use std::collections::BTreeMap;

/// A place in a text, both counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// Where a value stands, and what is in it.
#[derive(Clone, Debug)]
pub(super) struct Spot {
    pub(super) at: Position,
    /// It is written without quotes.
    pub(super) plain: bool,
    /// Variables have made it empty.
    pub(super) emptied: bool,
    pub(super) below: Below,
}

#[derive(Clone, Debug, Default)]
pub(super) enum Below {
    #[default]
    Nothing,
    List(Vec<Spot>),
    /// Of a field the place is that of its name.
    Record(BTreeMap<String, Spot>),
}

impl Spot {
    /// The spot of what a JSON pointer leads to or, where the text has nothing there, of what is nearest around it.
    pub(super) fn nearest(&self, pointer: &str) -> (&Self, bool) {
        let mut spot = self;
        for segment in pointer.split('/').skip(1) {
            let below = match &spot.below {
                Below::Nothing => None,
                Below::List(items) => segment
                    .parse()
                    .ok()
                    .and_then(|position: usize| items.get(position)),
                Below::Record(fields) => fields.get(&segment.replace("~1", "/").replace("~0", "~")),
            };
            match below {
                Some(below) => spot = below,
                None => return (spot, false),
            }
        }
        (spot, true)
    }
}

/// A field's name as a segment of a JSON pointer.
pub(super) fn segment(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
