//! ETags: which version of an entity it is that somebody has seen.

use std::fmt::Write as _;

use gw_core::{Document, KindSpec, index};
use gw_store::{Incarnation, View};
use sha2::{Digest as _, Sha256};

use super::{Entities, Found, reference, text};
use crate::api::{Endpoint, Site};
use crate::conditions::State;
use crate::problem::Problem;

/// What a path leads to, as conditions see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Absent,
    /// Its ETag.
    Here(String),
    /// A list, which has none.
    List,
}

impl Version {
    pub(crate) fn state(&self) -> State<'_> {
        match self {
            Self::Absent => State::Absent,
            Self::Here(tag) => State::Tagged(tag),
            Self::List => State::Untagged,
        }
    }

    pub(crate) fn into_tag(self) -> Option<String> {
        match self {
            Self::Here(tag) => Some(tag),
            Self::Absent | Self::List => None,
        }
    }
}

impl Entities<'_> {
    /// Which version of what a path names is in this view.
    pub(crate) fn version(&self, site: &Site) -> Result<Version, Problem> {
        match &site.endpoint {
            Endpoint::One { .. } | Endpoint::Referred { .. } => {}
            Endpoint::Member(link) => {
                return match self.tie(link, site.name(0)?, site.name(1)?) {
                    Ok((tie, far)) => {
                        Ok(self.tag_of_tie(self.spec(link.by)?, &tie, self.spec(link.far.kind)?, &far))
                    }
                    Err(Problem::NotFound) => Ok(Version::Absent),
                    Err(problem) => Err(problem),
                };
            }
            _ => return Ok(Version::List),
        }
        let (scope, name) = self.aim(site)?;
        Ok(match self.find(&scope, name.as_deref().unwrap_or_default())? {
            Found::Here(document) => self
                .tag(scope.spec, &document)
                .map_or(Version::Absent, Version::Here),
            Found::Elsewhere | Found::Nowhere => Version::Absent,
        })
    }

    /// The ETag of a document as this view has it.
    pub(crate) fn tag(&self, spec: &KindSpec, document: &Document) -> Option<String> {
        let id = text(document, "id")?;
        let entry = self.view.get(&index::entity_key(spec.kind, id))?;
        let (created, modified) = (entry.created, entry.modified);
        let mut tag = format!("\"{:08x}-{created}-{modified}", history(self.view.incarnation()));
        if let Some(digest) = self.digest_of_others(spec, id, document) {
            // Writing to a string does not fail.
            let _written = write!(tag, "-{digest:016x}");
        }
        tag.push('"');
        Some(tag)
    }

    fn tag_of_tie(&self, spec: &KindSpec, tie: &Document, far_spec: &KindSpec, far: &Document) -> Version {
        let (Some(tie), Some(far)) = (self.tag(spec, tie), self.tag(far_spec, far)) else {
            return Version::Absent;
        };
        Version::Here(format!("\"{}-{}\"", tie.trim_matches('"'), far.trim_matches('"')))
    }

    /// What an entity shows that is stored with others: the names it lists, and what it is tied to.
    fn digest_of_others(&self, spec: &KindSpec, id: &str, document: &Document) -> Option<u64> {
        if spec.lists.is_empty() && spec.shown_as.is_none() {
            return None;
        }
        let mut digest = Sha256::new();
        for listing in &spec.lists {
            let names = document.get(&*listing.field);
            digest.update(names.map(ToString::to_string).unwrap_or_default());
        }
        for tie in self
            .kinds
            .iter()
            .filter(|tie| tie.is_link && spec.shown_as.is_some())
        {
            let far = tie
                .references
                .iter()
                .find(|field| *field.target != *spec.kind.name());
            let Some((field, far)) =
                far.and_then(|field| Some((&field.field, self.kinds.by_name(&field.target)?)))
            else {
                continue;
            };
            for tie in self.children(spec.kind, id, tie) {
                let key = index::entity_key(far.kind, reference(&tie, field).unwrap_or_default());
                let entry = self.view.get(&key);
                digest.update(format!(
                    "{key} {:?};",
                    entry.map(|entry| (entry.created.0, entry.modified.0))
                ));
            }
        }
        let digest: [u8; 32] = digest.finalize().into();
        digest.first_chunk().map(|first| u64::from_be_bytes(*first))
    }
}

/// The ETag of the whole configuration: that of any other with the same contents too.
pub(crate) fn config_tag(view: &View) -> String {
    format!("\"{}\"", view.hash())
}

/// Enough of a history's name to tell it from others: a revision of one is none of another.
pub(crate) fn history(incarnation: Incarnation) -> u32 {
    u32::try_from(incarnation.as_u128() >> 96).unwrap_or(u32::MAX)
}
