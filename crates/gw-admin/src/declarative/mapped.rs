//! A file of another product's as Kong would have written it, whose values know where they stand in that file.

use std::collections::BTreeMap;

use gw_core::Document;
use gw_schema::Violation;

use super::fidelity::Remark;

/// What a mapping makes of a document.
#[derive(Debug, Default)]
pub(super) struct Mapped {
    /// As a file of Kong's of format 3.0 would have it; flat or nested, references by name or id.
    pub(super) document: Document,
    /// Where it comes from.
    pub(super) origins: Origins,
    /// What means something else here, or nothing; pointers into the file.
    pub(super) remarks: Vec<Remark>,
    /// What cannot be; pointers into the file.
    pub(super) faults: Vec<Violation>,
}

/// Which values were made from which, by JSON pointers: into the document that was made, and into the file.
///
/// What stands below a value comes from below its origin, unless it has an origin of its own.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    /// Writes down that `made` was made from `origin`.
    pub(super) fn add(&mut self, made: impl Into<String>, origin: impl Into<String>) {
        self.0.insert(made.into(), origin.into());
    }

    /// The pointer into the file for one into the document.
    pub(super) fn of(&self, pointer: &str) -> String {
        let mut above = pointer;
        loop {
            if let Some(origin) = self.0.get(above) {
                let below = pointer.get(above.len()..).unwrap_or_default();
                return format!("{origin}{below}");
            }
            match above.rsplit_once('/') {
                Some((parent, _)) => above = parent,
                None => return pointer.to_owned(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_origin_of_its_own_comes_from_below_the_origin_of_what_it_is_in() {
        let mut origins = Origins::default();
        origins.add("/routes/0", "/routes/3");
        origins.add("/routes/0/paths", "/routes/3/uris");
        origins.add("/services/0", "/routes/3/upstream");
        for (made, origin) in [
            ("/routes/0", "/routes/3"),
            ("/routes/0/methods/1", "/routes/3/methods/1"),
            ("/routes/0/paths/1", "/routes/3/uris/1"),
            ("/services/0/host", "/routes/3/upstream/host"),
            ("/services/00", "/services/00"),
            ("/plugins/0/config", "/plugins/0/config"),
            ("", ""),
        ] {
            assert_eq!(origins.of(made), origin, "{made}");
        }
    }
}
