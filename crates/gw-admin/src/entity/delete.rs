//! Deleting an entity, what belongs to it, and refusing when something else still needs it.

use std::collections::{HashSet, VecDeque};

use gw_core::{Kind, OnDelete, index};
use gw_store::Op;

use super::{Entities, Found, text};
use crate::api::Site;
use crate::problem::Problem;

/// Bound: entities named in a refusal.
const MAX_NAMED: usize = 100;

impl Entities<'_> {
    /// The operations that delete what a path names; none when it is not there.
    pub(crate) fn delete(&self, site: &Site) -> Result<Vec<Op>, Problem> {
        let (scope, name) = self.aim(site)?;
        let document = match self.find(&scope, name.as_deref().unwrap_or_default())? {
            Found::Here(document) => document,
            Found::Elsewhere => return Err(Problem::NotFound),
            Found::Nowhere => return Ok(Vec::new()),
        };
        let kind = scope.spec.kind;
        let id = text(&document, "id").unwrap_or_default();
        let doomed = self.with_dependents(kind, id);
        let keys: HashSet<String> = doomed
            .iter()
            .map(|(kind, id)| index::entity_key(*kind, id))
            .collect();
        let blocking: Vec<(Kind, String)> = doomed
            .iter()
            .flat_map(|(kind, id)| self.referring(*kind, id, OnDelete::Refuse))
            .filter(|(kind, id)| !keys.contains(&index::entity_key(*kind, id)))
            .take(MAX_NAMED)
            .collect();
        if let Some((by, _)) = blocking.first() {
            let mut fields = self.kinds.referrers(kind).filter(|(spec, _)| spec.kind == *by);
            return Err(if fields.any(|(_, field)| field.many) {
                Problem::Listed {
                    title: scope.spec.title.to_lowercase(),
                    id: id.to_owned(),
                    blocking,
                }
            } else {
                Problem::Referenced { kind, blocking }
            });
        }
        // Children go first, so that no reader of the commit sees one without its parent.
        Ok(doomed
            .iter()
            .rev()
            .map(|(kind, id)| Op::delete(index::entity_key(*kind, id)))
            .collect())
    }

    /// The entity and, behind it, everything that goes with it, at whatever distance.
    fn with_dependents(&self, kind: Kind, id: &str) -> Vec<(Kind, String)> {
        let mut seen = HashSet::from([(kind, id.to_owned())]);
        let mut queue = VecDeque::from([(kind, id.to_owned())]);
        let mut doomed = Vec::new();
        while let Some((kind, id)) = queue.pop_front() {
            for child in self.referring(kind, &id, OnDelete::Cascade) {
                if seen.insert(child.clone()) {
                    queue.push_back(child);
                }
            }
            doomed.push((kind, id));
        }
        doomed
    }

    /// What refers to an entity by a field of which its deletion asks this.
    fn referring(&self, kind: Kind, id: &str, on_delete: OnDelete) -> impl Iterator<Item = (Kind, String)> {
        let fields = self
            .kinds
            .referrers(kind)
            .filter(move |(_, field)| field.on_delete == on_delete);
        fields.flat_map(move |(spec, field)| {
            let entries = self
                .view
                .index_range(&index::referring(kind, id, spec.kind), None);
            entries.filter_map(move |(_, key)| {
                let entry = self.view.get(key.as_str())?;
                let document = serde_json::from_slice(&entry.value).ok()?;
                // Note: the index does not say by which field; a kind may refer to another by two.
                let refers = field.ids(&document).any(|referred| referred == id);
                // What has expired goes with its parent, but holds nothing back.
                let counts = on_delete == OnDelete::Cascade || !self.has_expired(spec.kind, &document);
                (refers && counts).then(|| (spec.kind, text(&document, "id").unwrap_or_default().to_owned()))
            })
        })
    }
}
