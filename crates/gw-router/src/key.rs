//! The way through the tree that a pattern stands for.

use smallvec::SmallVec;

use crate::tree::MARK;

/// Runs of bytes, parted by hops. A [`MARK`] in a run is one whole segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    bytes: SmallVec<[u8; 64]>,
    /// With where in `bytes` the run behind each begins.
    hops: SmallVec<[(Hop, usize); 1]>,
}

/// What is neither bytes nor a whole segment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Hop {
    /// The rest of a segment, from its first parameter on: literal text, with [`MARK`] for each parameter.
    Template(Box<[u8]>),
    /// Any bytes, or at least one.
    Wild { least: bool },
}

impl Key {
    pub(crate) fn of_bytes(bytes: impl IntoIterator<Item = u8>) -> Self {
        Self {
            bytes: bytes.into_iter().collect(),
            hops: SmallVec::new(),
        }
    }

    pub(crate) fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
    }

    pub(crate) fn push_param(&mut self) {
        self.bytes.push(MARK);
    }

    pub(crate) fn push_hop(&mut self, hop: Hop) {
        self.hops.push((hop, self.bytes.len()));
    }

    /// Takes a slash at the end away, unless it is all that ends a wildcard over several segments.
    pub(crate) fn trim_last_slash(&mut self) {
        let least = match self.hops.last() {
            None => 0,
            Some((Hop::Template(_), at)) => *at,
            Some((Hop::Wild { .. }, at)) => at + 1,
        };
        if self.bytes.len() > least && self.bytes.last() == Some(&b'/') {
            self.bytes.pop();
        }
    }

    /// Whether the whole way is one slash.
    pub(crate) fn is_slash(&self) -> bool {
        self.hops.is_empty() && self.bytes.as_slice() == b"/"
    }

    pub(crate) fn into_ascii_lowercase(mut self) -> Self {
        self.bytes.make_ascii_lowercase();
        for (hop, _) in &mut self.hops {
            if let Hop::Template(text) = hop {
                text.make_ascii_lowercase();
            }
        }
        self
    }

    /// The run before the first hop.
    pub(crate) fn start(&self) -> &[u8] {
        let end = self.hops.first().map_or(self.bytes.len(), |(_, at)| *at);
        self.bytes.get(..end).unwrap_or_default()
    }

    /// The bytes before the first wildcard.
    pub(crate) fn head(&self) -> &[u8] {
        let start = self.start();
        let end = start.iter().position(|byte| *byte == MARK);
        start.get(..end.unwrap_or(start.len())).unwrap_or_default()
    }

    /// All runs, each with the hop before it.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Option<&Hop>, &[u8])> {
        let hops = self.hops().map(|(hop, run)| (Some(hop), run));
        std::iter::once((None, self.start())).chain(hops)
    }

    /// The hops, each with the run behind it.
    pub(crate) fn hops(&self) -> impl ExactSizeIterator<Item = (&Hop, &[u8])> {
        self.hops.iter().enumerate().map(|(index, (hop, at))| {
            let end = self.hops.get(index + 1).map_or(self.bytes.len(), |(_, at)| *at);
            (hop, self.bytes.get(*at..end).unwrap_or_default())
        })
    }
}
