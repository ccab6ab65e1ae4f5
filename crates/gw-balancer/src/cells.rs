//! A long list of targets that takes two bytes each where it can.

use crate::TargetIdx;

/// Half as long in memory, it stays twice as long in the cache.
#[derive(Clone, Debug)]
pub(crate) enum Cells {
    Narrow(Box<[u16]>),
    Wide(Box<[u32]>),
}

impl Cells {
    pub(crate) fn get(&self, place: usize) -> Option<TargetIdx> {
        match self {
            Self::Narrow(cells) => cells.get(place).map(|&target| TargetIdx(target.into())),
            Self::Wide(cells) => cells.get(place).copied().map(TargetIdx),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Narrow(cells) => cells.len(),
            Self::Wide(cells) => cells.len(),
        }
    }
}

impl<'c> FromIterator<&'c TargetIdx> for Cells {
    fn from_iter<I: IntoIterator<Item = &'c TargetIdx>>(targets: I) -> Self {
        let wide: Vec<u32> = targets.into_iter().map(|target| target.0).collect();
        let narrow: Option<Vec<u16>> = wide.iter().map(|&target| u16::try_from(target).ok()).collect();
        match narrow {
            Some(narrow) => Self::Narrow(narrow.into()),
            None => Self::Wide(wide.into()),
        }
    }
}
