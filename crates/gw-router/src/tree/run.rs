//! The bytes between a node and its parent.

/// Stands in a run for one whole segment. No byte of a path is this one, for paths are UTF-8.
pub(crate) const MARK: u8 = 0xff;

/// Bound: the longest run that is kept within its node.
const SHORT: usize = 36;

/// Bytes to compare, of which [`MARK`] takes a whole segment.
#[derive(Clone)]
pub(crate) enum Run {
    /// Without marks.
    Plain { len: u8, bytes: [u8; SHORT] },
    Marked {
        len: u8,
        /// Where the first mark is, and the last.
        first: u8,
        last: u8,
        bytes: [u8; SHORT],
    },
    /// What is too long for the others.
    Long(Box<[u8]>),
}

impl Run {
    pub(crate) fn new(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        let Some(place) = bytes.get_mut(..text.len()) else {
            return Self::Long(text.into());
        };
        place.copy_from_slice(text);
        let len = text.len() as u8;
        let is_mark = |byte: &u8| *byte == MARK;
        match (text.iter().position(is_mark), text.iter().rposition(is_mark)) {
            (Some(first), Some(last)) => Self::Marked {
                len,
                first: first as u8,
                last: last as u8,
                bytes,
            },
            _ => Self::Plain { len, bytes },
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Plain { len, bytes } | Self::Marked { len, bytes, .. } => {
                bytes.get(..usize::from(*len)).unwrap_or_default()
            }
            Self::Long(bytes) => bytes,
        }
    }
}
