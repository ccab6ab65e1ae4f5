//! The keys under a store's prefix, and the text of `head`.

use std::fmt;

use crate::commit::{CommitId, Incarnation, Revision};
use crate::log::Head;

/// The keys of one store. Revisions have twenty digits, so that keys sort as numbers do.
///
/// | key | value |
/// |---|---|
/// | `head` | which history, its newest revision and that commit's id; every append compares and replaces it |
/// | `log/{revision}` | a commit, or what its parts are |
/// | `ids/{commit id}` | the revision the commit made |
/// | `checkpoint/{revision}` | the whole contents, or what their parts are |
/// | `parts/{revision}/{owner}/{n}` | a part of what is too large for one request |
/// | `pruned` | the newest revision whose commit was dropped |
/// | `nodes/{name}` | what a gateway says about itself, for as long as its lease lasts |
#[derive(Clone, Debug)]
pub(super) struct Keys {
    prefix: Box<str>,
}

/// The value of `head`. One that this release cannot read is not taken for a missing one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct HeadText {
    pub(super) incarnation: Incarnation,
    pub(super) revision: Revision,
    pub(super) last: CommitId,
}

/// Why a value under the prefix is not what belongs there.
#[derive(Debug, thiserror::Error)]
pub(super) enum ValueError {
    #[error("`{key}` says `{text}`, which this release cannot read; a newer one may have written it")]
    Unreadable { key: String, text: String },
    #[error(
        "there are commits or checkpoints and no `{key}`; restore it, or delete all keys under the prefix to start empty"
    )]
    HeadMissing { key: String },
    #[error("revision {revision} is missing between others")]
    Gap { revision: Revision },
    #[error("a part of `{key}` is missing or was changed")]
    Parts { key: String },
}

const FORMAT: &str = "gw1";

impl Keys {
    /// `prefix` begins with what the operator wrote and has no slash at its end.
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.trim_end_matches('/').into(),
        }
    }

    pub(super) fn head(&self) -> String {
        self.at("head")
    }

    pub(super) fn pruned(&self) -> String {
        self.at("pruned")
    }

    pub(super) fn log(&self, revision: Revision) -> String {
        self.numbered("log", revision)
    }

    pub(super) fn id(&self, id: CommitId) -> String {
        self.at(format_args!("ids/{:032x}", id.as_u128()))
    }

    pub(super) fn checkpoint(&self, revision: Revision) -> String {
        self.numbered("checkpoint", revision)
    }

    /// Before all parts at `revision`, and after those at the revisions before it.
    pub(super) fn parts_at(&self, revision: Revision) -> String {
        self.numbered("parts", revision)
    }

    pub(super) fn parts_of(&self, revision: Revision, owner: u128) -> String {
        format!("{}/{owner:032x}/", self.parts_at(revision))
    }

    pub(super) fn part(&self, revision: Revision, owner: u128, n: u32) -> String {
        format!("{}{n:06}", self.parts_of(revision, owner))
    }

    pub(super) fn node(&self, name: &str) -> String {
        self.at(format_args!("nodes/{name}"))
    }

    pub(super) fn all_nodes(&self) -> (String, String) {
        self.folder("nodes")
    }

    /// The first key of a folder, and the first one after it.
    pub(super) fn folder(&self, name: &str) -> (String, String) {
        // `0` comes after `/`.
        (self.at(format_args!("{name}/")), self.at(format_args!("{name}0")))
    }

    /// The revision in a key of `log` or `checkpoint`.
    pub(super) fn revision(key: &[u8]) -> Option<Revision> {
        let digits = key.rsplit(|byte| *byte == b'/').next()?;
        std::str::from_utf8(digits).ok()?.parse().ok().map(Revision)
    }

    fn numbered(&self, folder: &str, revision: Revision) -> String {
        self.at(format_args!("{folder}/{:020}", revision.0))
    }

    fn at(&self, name: impl fmt::Display) -> String {
        format!("{}/{name}", self.prefix)
    }
}

impl HeadText {
    /// The head of a new history.
    pub(super) fn first() -> Self {
        Self {
            incarnation: Incarnation::random(),
            revision: Revision::ZERO,
            last: CommitId::NONE,
        }
    }

    pub(super) fn parse(key: &str, value: &[u8]) -> Result<Self, ValueError> {
        let read = || {
            let text = std::str::from_utf8(value).ok()?;
            let mut words = text.split(' ');
            let head = match (words.next()?, words.next()?, words.next()?, words.next()?) {
                (FORMAT, incarnation, revision, last) => Self {
                    incarnation: Incarnation::from_u128(u128::from_str_radix(incarnation, 16).ok()?),
                    revision: Revision(revision.parse().ok()?),
                    last: CommitId::from_u128(u128::from_str_radix(last, 16).ok()?),
                },
                _ => return None,
            };
            words.next().is_none().then_some(head)
        };
        read().ok_or_else(|| ValueError::Unreadable {
            key: key.to_owned(),
            text: value.escape_ascii().to_string(),
        })
    }

    pub(super) fn head(self) -> Head {
        Head {
            incarnation: self.incarnation,
            revision: self.revision,
            last: Some(self.last),
        }
    }

    /// The head that the next commit makes.
    pub(super) fn next(self, id: CommitId) -> Self {
        Self {
            incarnation: self.incarnation,
            revision: self.revision.next(),
            last: id,
        }
    }
}

impl fmt::Display for HeadText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (incarnation, last) = (self.incarnation.as_u128(), self.last.as_u128());
        write!(f, "{FORMAT} {incarnation:032x} {} {last:032x}", self.revision)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_sort_as_revisions_do() {
        let keys = Keys::new("/gw/");
        assert_eq!(keys.log(Revision(7)), "/gw/log/00000000000000000007");
        assert!(keys.log(Revision(9)) < keys.log(Revision(10)));
        assert!(keys.log(Revision(u64::MAX)) < keys.folder("log").1);
        assert!(keys.part(Revision(3), u128::MAX, 7) < keys.parts_at(Revision(4)));
        assert!(keys.parts_at(Revision(3)) < keys.part(Revision(3), 0, 0));
        assert_eq!(
            Keys::revision(keys.log(Revision(42)).as_bytes()),
            Some(Revision(42))
        );
        assert_eq!(Keys::revision(b"/gw/head"), None);
    }

    #[test]
    fn the_head_is_read_as_it_is_written_and_nothing_else_is() {
        let head = HeadText {
            incarnation: Incarnation::from_u128(10),
            revision: Revision(7),
            last: CommitId::from_u128(255),
        };
        let text = head.to_string();
        assert_eq!(
            text,
            "gw1 0000000000000000000000000000000a 7 000000000000000000000000000000ff"
        );
        assert_eq!(HeadText::parse("head", text.as_bytes()).unwrap(), head);
        for wrong in [
            "",
            "gw2 a 7 ff",
            "gw1 a 7",
            "gw1 a 7 ff more",
            "gw1 a -7 ff",
            "\u{fffd}",
        ] {
            let error = HeadText::parse("head", wrong.as_bytes()).unwrap_err();
            assert!(matches!(error, ValueError::Unreadable { .. }), "{wrong}");
        }
    }
}
