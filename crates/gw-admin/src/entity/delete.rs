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
    /// The operations that delete what a path names; none when it is not there. A query of `cascade=1` takes along
    /// what would refuse the deletion and may be taken.
    pub(crate) fn delete(&self, site: &Site, query: &[(String, String)]) -> Result<Vec<Op>, Problem> {
        let told = takes_along(query)?;
        let (scope, name) = self.aim(site)?;
        let document = match self.find(&scope, name.as_deref().unwrap_or_default())? {
            Found::Here(document) => document,
            Found::Elsewhere => return Err(Problem::NotFound),
            Found::Nowhere => return Ok(Vec::new()),
        };
        let kind = scope.spec.kind;
        let id = text(&document, "id").unwrap_or_default();
        let doomed = self.with_dependents(kind, id, told);
        let keys: HashSet<String> = doomed
            .iter()
            .map(|(kind, id)| index::entity_key(*kind, id))
            .collect();
        let blocking: Vec<(Kind, String)> = doomed
            .iter()
            .flat_map(|(kind, id)| self.referring(*kind, id, move |rule| !goes_along(rule, told), false))
            .filter(|(kind, id)| !keys.contains(&index::entity_key(*kind, id)))
            .take(MAX_NAMED)
            .collect();
        if let Some((by, _)) = blocking.first() {
            let mut fields = self.kinds.referrers(kind).filter(|(spec, _)| spec.kind == *by);
            let field = fields.next().map(|(_, field)| field);
            return Err(if field.is_some_and(|field| field.many) {
                Problem::Listed {
                    title: scope.spec.title.to_lowercase(),
                    id: id.to_owned(),
                    blocking,
                }
            } else {
                let may_go = field.is_some_and(|field| field.on_delete == OnDelete::RefuseUnlessTold);
                Problem::Referenced {
                    kind,
                    blocking,
                    may_go,
                }
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
    fn with_dependents(&self, kind: Kind, id: &str, told: bool) -> Vec<(Kind, String)> {
        let mut seen = HashSet::from([(kind, id.to_owned())]);
        let mut queue = VecDeque::from([(kind, id.to_owned())]);
        let mut doomed = Vec::new();
        while let Some((kind, id)) = queue.pop_front() {
            for child in self.referring(kind, &id, move |rule| goes_along(rule, told), true) {
                if seen.insert(child.clone()) {
                    queue.push_back(child);
                }
            }
            doomed.push((kind, id));
        }
        doomed
    }

    /// What refers to an entity by a field with one of these rules; the expired too, or not.
    fn referring(
        &self,
        kind: Kind,
        id: &str,
        is_asked: impl Fn(OnDelete) -> bool,
        expired_too: bool,
    ) -> impl Iterator<Item = (Kind, String)> {
        let fields = self
            .kinds
            .referrers(kind)
            .filter(move |(_, field)| is_asked(field.on_delete));
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
                let counts = expired_too || !self.has_expired(spec.kind, &document);
                (refers && counts).then(|| (spec.kind, text(&document, "id").unwrap_or_default().to_owned()))
            })
        })
    }
}

/// Whether what refers by a field with this rule goes with what it refers to.
fn goes_along(rule: OnDelete, told: bool) -> bool {
    rule == OnDelete::Cascade || (told && rule == OnDelete::RefuseUnlessTold)
}

/// `?cascade=1`
fn takes_along(query: &[(String, String)]) -> Result<bool, Problem> {
    let argument = query.iter().find(|(name, _)| name == "cascade");
    match argument.map(|(_, value)| value.as_str()) {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true") => Ok(true),
        Some(_) => Err(Problem::Argument {
            why: "invalid cascade; use 1 to delete what refers to the entity too, or 0",
        }),
    }
}
