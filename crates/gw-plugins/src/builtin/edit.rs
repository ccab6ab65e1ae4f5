//! Edits of named fields in Kong's order, over headers, queries, forms, JSON objects and multipart bodies.

pub(crate) mod escape;
mod headers;
mod members;
mod multipart;
mod pairs;

pub(crate) use headers::{Headers, header_name, header_text, header_value};
pub(crate) use members::{Members, written};
pub(crate) use multipart::{Multipart, boundary};
pub(crate) use pairs::Pairs;

use http::HeaderMap;
use http::header::CONTENT_TYPE;

/// Bound: bodies that are edited, in bytes.
pub(crate) const MOST_BODY: usize = 8 << 20;

/// Fields with names, of which several may have the same.
pub(crate) trait Fields {
    /// How they are called.
    type Name;
    /// What they hold.
    type Value;

    /// Whether there is one of this name.
    fn has(&self, name: &Self::Name) -> bool;
    /// Takes all of this name out.
    fn remove(&mut self, name: &Self::Name);
    /// Calls all of the name `old` by the name `new`, in place of those that had it.
    fn rename(&mut self, old: &Self::Name, new: &Self::Name);
    /// Leaves one of this name, with this value.
    fn set(&mut self, name: &Self::Name, value: Self::Value);
    /// Adds a value to those of this name.
    fn append(&mut self, name: &Self::Name, value: Self::Value);
}

/// What is done to fields: first what is removed, then what is renamed, replaced where it is, added where it is not, appended.
#[derive(Clone, Debug)]
pub(crate) struct Edits<N, V> {
    pub(crate) remove: Vec<N>,
    pub(crate) rename: Vec<(N, N)>,
    pub(crate) replace: Vec<(N, V)>,
    pub(crate) add: Vec<(N, V)>,
    pub(crate) append: Vec<(N, V)>,
}

impl<N, V> Default for Edits<N, V> {
    fn default() -> Self {
        Self {
            remove: Vec::new(),
            rename: Vec::new(),
            replace: Vec::new(),
            add: Vec::new(),
            append: Vec::new(),
        }
    }
}

impl<N, V> Edits<N, V> {
    /// Whether nothing is done.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            remove,
            rename,
            replace,
            add,
            append,
        } = self;
        remove.is_empty() && rename.is_empty() && replace.is_empty() && add.is_empty() && append.is_empty()
    }

    /// Does it, and says whether anything was different afterwards. A value that `value` does not know is left out.
    pub(crate) fn apply<F>(&self, fields: &mut F, value: impl Fn(&V) -> Option<F::Value>) -> bool
    where
        F: Fields<Name = N>,
    {
        let mut changed = false;
        for name in self.remove.iter() {
            if fields.has(name) {
                fields.remove(name);
                changed = true;
            }
        }
        for (old, new) in &self.rename {
            if fields.has(old) {
                fields.rename(old, new);
                changed = true;
            }
        }
        for (wanted, edits) in [(true, &self.replace), (false, &self.add)] {
            for (name, known) in edits {
                if fields.has(name) == wanted
                    && let Some(value) = value(known)
                {
                    fields.set(name, value);
                    changed = true;
                }
            }
        }
        for (name, known) in &self.append {
            if let Some(value) = value(known) {
                fields.append(name, value);
                changed = true;
            }
        }
        changed
    }
}

/// `name:value`, as Kong reads it: the name ends at the first colon, further colons after it are dropped. None without a name.
pub(crate) fn split(item: &str) -> Option<(&str, &str)> {
    let (name, value) = item.split_once(':').unwrap_or((item, ""));
    (!name.is_empty()).then(|| (name, value.trim_start_matches(':')))
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// `application/json`
    Json,
    /// `application/x-www-form-urlencoded`
    Form,
    /// `multipart/form-data`
    Multipart,
}

/// How the body is written, by its `Content-Type`, as Kong recognises it.
pub(crate) fn format(headers: &HeaderMap) -> Option<Format> {
    let written = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let formats = [
        ("application/json", Format::Json),
        ("multipart/form-data", Format::Multipart),
        ("application/x-www-form-urlencoded", Format::Form),
    ];
    let lower = written.to_ascii_lowercase();
    let format = formats.into_iter().find(|(name, _)| lower.contains(name))?;
    Some(format.1)
}

#[cfg(test)]
mod tests;
