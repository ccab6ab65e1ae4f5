//! Headers as fields that are edited.

use http::header::{Entry, HeaderMap, HeaderName, HeaderValue};

use super::Fields;
use super::escape;
use crate::plugin::BuildError;

/// The headers of a request or a response.
#[derive(Debug)]
pub(crate) struct Headers<'h>(pub(crate) &'h mut HeaderMap);

impl Fields for Headers<'_> {
    type Name = HeaderName;
    type Value = HeaderValue;

    fn has(&self, name: &HeaderName) -> bool {
        self.0.contains_key(name)
    }

    fn remove(&mut self, name: &HeaderName) {
        self.0.remove(name);
    }

    fn rename(&mut self, old: &HeaderName, new: &HeaderName) {
        let Entry::Occupied(held) = self.0.entry(old) else {
            return;
        };
        let (_, values) = held.remove_entry_mult();
        let values: Vec<_> = values.collect();
        self.0.remove(new);
        for value in values {
            self.0.append(new, value);
        }
    }

    fn set(&mut self, name: &HeaderName, value: HeaderValue) {
        self.0.insert(name, value);
    }

    fn append(&mut self, name: &HeaderName, value: HeaderValue) {
        self.0.append(name, value);
    }
}

/// The name of a header in a setting.
///
/// # Errors
/// No header can be called so.
pub(crate) fn header_name(text: &str, pointer: &str) -> Result<HeaderName, BuildError> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| BuildError::Setting {
        pointer: pointer.into(),
        message: format!("'{text}' is not a valid header").into(),
    })
}

/// A header's value in a setting, without the spaces around it.
///
/// # Errors
/// No header can hold it.
pub(crate) fn header_text(text: &str, pointer: &str) -> Result<HeaderValue, BuildError> {
    HeaderValue::from_bytes(text.trim().as_bytes()).map_err(|_| BuildError::Setting {
        pointer: pointer.into(),
        message: format!("'{text}' is not a valid header").into(),
    })
}

/// A header's value that was made from a request.
pub(crate) fn header_value(bytes: &[u8]) -> Option<HeaderValue> {
    HeaderValue::from_bytes(escape::header(bytes).trim_ascii()).ok()
}
