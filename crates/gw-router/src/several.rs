//! A list of which most have one item: that one stands in place.

use std::ops::{Deref, DerefMut};

/// Items in order. As large as one of them.
#[derive(Clone, Debug)]
pub(crate) enum Several<V> {
    One(V),
    /// None, or two at least.
    Many(Box<[V]>),
}

impl<V> Several<V> {
    pub(crate) fn push(&mut self, item: V) {
        let before = std::mem::take(self);
        *self = match before {
            Self::Many(items) if items.is_empty() => Self::One(item),
            Self::Many(items) => Self::Many(items.into_iter().chain([item]).collect()),
            Self::One(one) => Self::Many([one, item].into()),
        };
    }
}

impl<V> Default for Several<V> {
    fn default() -> Self {
        Self::Many(Box::default())
    }
}

impl<V> Deref for Several<V> {
    type Target = [V];

    #[inline]
    fn deref(&self) -> &[V] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(items) => items,
        }
    }
}

impl<V> DerefMut for Several<V> {
    fn deref_mut(&mut self) -> &mut [V] {
        match self {
            Self::One(one) => std::slice::from_mut(one),
            Self::Many(items) => items,
        }
    }
}

impl<V: PartialEq> PartialEq for Several<V> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<V: Eq> Eq for Several<V> {}

#[cfg(test)]
mod tests {
    use super::Several;
    use crate::{HostPattern, Pattern};

    #[test]
    fn it_is_a_list() {
        let (mut several, mut model) = (Several::default(), vec![]);
        for number in 0..5 {
            assert_eq!(*several, *model);
            several.push(number);
            model.push(number);
            several[0] += 1;
            model[0] += 1;
            assert_eq!(several.clone(), several);
        }
        assert_eq!(several.len(), 5);
    }

    #[test]
    fn it_takes_no_more_room_than_an_item() {
        assert_eq!(size_of::<Several<Pattern>>(), size_of::<Pattern>());
        assert_eq!(size_of::<Several<HostPattern>>(), size_of::<HostPattern>());
        assert_eq!(size_of::<Pattern>(), 24);
    }
}
