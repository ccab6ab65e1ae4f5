//! Plugins that are not here: told once each, or left out.

use std::collections::BTreeMap;

use gw_core::Kind;
use gw_plugins::{BuildError, Registry};
use gw_schema::{Violation, ViolationKind};

use super::apisix::instead;
use super::faults::Faults;
use super::fidelity::advice;
use super::flatten::Draft;
use super::source::Source;
use super::{Ignored, UnknownPlugins, text};

/// Marks the plugins that are not here, so that nobody looks at them any more, and tells of each once.
pub(super) fn sort_out(registry: &Registry, source: &Source, drafts: &mut [Draft], faults: &mut Faults) {
    let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let plugins = drafts.iter_mut().filter(|draft| draft.kind == Kind::Plugin);
    for draft in plugins {
        let Some(name) = text(&draft.document, "name") else {
            continue; // for the schema to refuse
        };
        if registry.get(name).is_some() {
            continue;
        }
        places
            .entry(name.to_owned())
            .or_default()
            .push(draft.pointer.clone());
        draft.is_absent = true;
    }
    for (name, mut pointers) in places {
        pointers.sort_by_key(|pointer| source.locate(pointer).map(|(position, _)| position));
        let of_apisix = source.origins.as_ref().and_then(|_| instead(&name));
        let advice = || advice(&name, registry.iter().map(|plugin| plugin.name));
        let (what, remedy) = of_apisix.unwrap_or_else(advice);
        match faults.unknown_plugins {
            UnknownPlugins::Ignored => faults.ignored.extend(pointers.into_iter().map(|pointer| Ignored {
                kind: Kind::Plugin.name(),
                name: name.clone(),
                pointer,
                position: None,
                what: what.clone(),
                remedy: remedy.clone(),
            })),
            UnknownPlugins::Refused => {
                let Some(first) = pointers.first() else { continue };
                let message = BuildError::NotEnabled {
                    name: name.as_str().into(),
                };
                let times = match pointers.len() {
                    1 => String::new(),
                    times => format!(", and wanted in {times} places"),
                };
                let hint = format!(
                    "{what}{times}; {remedy}; with --unknown-plugins=ignore the rest runs without it"
                );
                let violation = Violation::new(format!("{first}/name"), message.to_string());
                faults.push(violation.with_kind(ViolationKind::Other).with_hint(hint));
            }
        }
    }
}
