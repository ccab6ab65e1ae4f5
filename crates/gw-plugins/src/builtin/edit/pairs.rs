//! Queries and forms as fields that are edited: what is not touched stays as it was written.

use std::borrow::Cow;

use super::Fields;
use super::escape;

/// The pairs of a query or a form.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pairs<'a>(Vec<Pair<'a>>);

#[derive(Clone, Debug)]
struct Pair<'a> {
    /// Decoded.
    name: Cow<'a, str>,
    /// `name=value`, encoded.
    written: Cow<'a, str>,
}

impl<'a> Pairs<'a> {
    /// Reads `name=value&…`.
    pub(crate) fn read(text: &'a str) -> Self {
        let written = text.split('&').filter(|written| !written.is_empty());
        Self(written.map(Pair::read).collect())
    }

    /// Adds the pairs of `text` to them.
    pub(crate) fn extend(&mut self, text: &'a str) {
        self.0.append(&mut Self::read(text).0);
    }

    /// Writes them.
    pub(crate) fn write(&self) -> String {
        let mut text = String::new();
        for pair in &self.0 {
            if !text.is_empty() {
                text.push('&');
            }
            text.push_str(&pair.written);
        }
        text
    }

    /// The values called `name`, decoded; none where there is a name alone.
    pub(crate) fn values<'q>(text: &'q str, name: &str) -> impl Iterator<Item = Option<Cow<'q, str>>> {
        text.split('&').filter_map(move |written| {
            let (key, value) = form_urlencoded::parse(written.as_bytes()).next()?;
            (key == name).then(|| written.contains('=').then_some(value))
        })
    }
}

impl<'a> Pair<'a> {
    fn read(written: &'a str) -> Self {
        let decoded = form_urlencoded::parse(written.as_bytes()).next();
        Self {
            name: decoded.map_or(Cow::Borrowed(""), |(name, _)| name),
            written: Cow::Borrowed(written),
        }
    }

    fn new(name: &str, value: &str) -> Pair<'static> {
        let mut written = escape::piece(name).into_owned();
        written.push('=');
        written.push_str(&escape::piece(value));
        Pair {
            name: Cow::Owned(name.to_owned()),
            written: Cow::Owned(written),
        }
    }
}

impl Fields for Pairs<'_> {
    type Name = Box<str>;
    type Value = String;

    fn has(&self, name: &Box<str>) -> bool {
        self.0.iter().any(|pair| pair.name == **name)
    }

    fn remove(&mut self, name: &Box<str>) {
        self.0.retain(|pair| pair.name != **name);
    }

    fn rename(&mut self, old: &Box<str>, new: &Box<str>) {
        if old == new {
            return;
        }
        self.remove(new);
        for pair in self.0.iter_mut().filter(|pair| pair.name == **old) {
            let mut written = escape::piece(new).into_owned();
            if let Some((_, value)) = pair.written.split_once('=') {
                written.push('=');
                written.push_str(value);
            }
            pair.name = Cow::Owned(new.to_string());
            pair.written = Cow::Owned(written);
        }
    }

    fn set(&mut self, name: &Box<str>, value: String) {
        let place = self.0.iter().position(|pair| pair.name == **name);
        let place = place.unwrap_or(self.0.len());
        self.remove(name);
        self.0.insert(place.min(self.0.len()), Pair::new(name, &value));
    }

    fn append(&mut self, name: &Box<str>, value: String) {
        self.0.push(Pair::new(name, &value));
    }
}
