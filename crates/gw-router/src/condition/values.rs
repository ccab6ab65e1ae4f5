//! The values of which a request must have one.

use std::fmt;

use super::Text;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct OneOf {
    /// Sorted, none twice; in lower case if case is ignored.
    values: Box<[Box<str>]>,
    ignore_case: bool,
}

impl OneOf {
    pub(crate) fn new(values: impl IntoIterator<Item = Box<str>>, ignore_case: bool) -> Self {
        let mut values: Vec<Box<str>> = values.into_iter().collect();
        if ignore_case {
            values.iter_mut().for_each(|value| value.make_ascii_lowercase());
        }
        values.sort_unstable();
        values.dedup();
        Self {
            values: values.into(),
            ignore_case,
        }
    }

    pub(crate) fn admits(&self, text: Text<'_>) -> bool {
        match &*self.values {
            [value] if !self.ignore_case => text.equals(value.as_bytes()),
            values => text.with(|found| {
                let lower = |byte: &u8| byte.to_ascii_lowercase();
                let at = if self.ignore_case {
                    values.binary_search_by(|value| value.bytes().cmp(found.iter().map(lower)))
                } else {
                    values.binary_search_by(|value| value.as_bytes().cmp(found))
                };
                at.is_ok()
            }),
        }
    }

    pub(crate) fn as_slice(&self) -> &[Box<str>] {
        &self.values
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    pub(crate) fn ignores_case(&self) -> bool {
        self.ignore_case
    }
}

impl fmt::Display for OneOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, value) in self.values.iter().enumerate() {
            let before = match position {
                0 if self.values.len() > 1 => "one of ",
                0 => "",
                _ => ", ",
            };
            write!(f, "{before}`{value}`")?;
        }
        f.write_str(if self.ignore_case { " in any case" } else { "" })
    }
}
