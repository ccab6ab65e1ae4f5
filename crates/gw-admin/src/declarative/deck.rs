//! What stands at the head of a file: its format, Kong's switches and decK's extras.

use gw_core::{Document, Kinds};
use gw_schema::ViolationKind;
use serde_json::Value;

use super::faults::Faults;
use super::spot::segment;

/// The formats there are; all but the newest have paths that only look like regular expressions.
const FORMATS: [&str; 3] = ["1.1", "2.1", "3.0"];

/// The head of a file.
#[derive(Debug, Default)]
pub(super) struct Head {
    /// Of a format before 3.0.
    pub(super) is_old: bool,
    /// Credentials are as Kong has stored them, and not as they are written.
    pub(super) is_as_stored: bool,
    /// Tags that every entity gets.
    select_tags: Vec<Value>,
    /// The same, unless the file is to replace everything.
    part: Vec<Value>,
    /// Fields that entities get which do not have them, by the singular of their kind.
    defaults: Document,
    /// Settings that plugins refer to by `_config`.
    plugin_configs: Document,
    /// What is not obeyed: pointers and messages.
    pub(super) notices: Vec<(String, String)>,
}

/// The singular of a kind's name: `services` becomes `service`.
pub(super) fn singular(name: &str) -> &str {
    name.strip_suffix('s').unwrap_or(name)
}

impl Head {
    /// Reads the fields of a file that begin with `_`.
    ///
    /// With `replaces_everything` it does not matter of what the file says that it is a part.
    pub(super) fn read(
        document: &Document,
        kinds: &Kinds,
        replaces_everything: bool,
        faults: &mut Faults,
    ) -> Self {
        let mut head = Self::default();
        head.read_format(document.get("_format_version"), faults);
        for (name, value) in document.iter().filter(|(name, _)| name.starts_with('_')) {
            let pointer = format!("/{}", segment(name));
            match (name.as_str(), value) {
                ("_format_version" | "_comment" | "_ignore", _) => {}
                ("_transform", Value::Bool(transform)) => head.is_as_stored = !transform,
                ("_transform", Value::Null) => {}
                ("_transform", _) => faults.add(pointer, "expected a boolean", ViolationKind::Type),
                ("_info", Value::Object(info)) => head.read_info(info, kinds, faults),
                ("_plugin_configs", Value::Object(configs)) => {
                    for (name, config) in configs.iter().filter(|(_, config)| !config.is_object()) {
                        let _: &Value = config;
                        let pointer = format!("{pointer}/{}", segment(name));
                        faults.add(pointer, "expected a record", ViolationKind::Type);
                    }
                    head.plugin_configs.clone_from(configs);
                }
                ("_info" | "_plugin_configs", Value::Null) => {}
                ("_info" | "_plugin_configs", _) => {
                    faults.add(pointer, "expected a record", ViolationKind::Type);
                }
                ("_workspace", Value::String(_)) if foreign_workspace(document).is_none() => {}
                ("_workspace" | "_konnect", _) => {
                    let message = format!("'{name}' says where decK takes the file; it means nothing here");
                    head.notices.push((pointer, message));
                }
                _ => {
                    const KNOWN: [&str; 8] = [
                        "_format_version",
                        "_transform",
                        "_comment",
                        "_ignore",
                        "_info",
                        "_plugin_configs",
                        "_workspace",
                        "_konnect",
                    ];
                    faults.unknown(pointer, name, KNOWN);
                }
            }
        }
        faults.check_remarks(document, "");
        if replaces_everything {
            head.part.clear();
        } else if head.part.is_empty()
            && let Some(workspace) = foreign_workspace(document)
        {
            let message = format!(
                "the file is about the workspace '{workspace}', and there are none here: all else would be deleted"
            );
            faults.add("/_workspace".to_owned(), &message, ViolationKind::Other);
            faults.hint(
                "leave '_workspace' out, keep to entities with some tags by '_info.select_tags', or say that everything is \
                 meant: --replace-everything, ?replace_everything=1",
            );
        }
        head
    }

    /// The tags that what is stored has all of, as far as the file is about it; none if it is about everything.
    pub(super) fn part(&self) -> &[Value] {
        &self.part
    }

    /// Checks that a file says of which format it is.
    pub(super) fn check_format(document: &Document, faults: &mut Faults) {
        Self::default().read_format(document.get("_format_version"), faults);
    }

    fn read_format(&mut self, format: Option<&Value>, faults: &mut Faults) {
        let pointer = "/_format_version".to_owned();
        match format {
            None | Some(Value::Null) => {
                faults.add(pointer, "required field missing", ViolationKind::Required);
                faults.hint("begin the file with _format_version: \"3.0\"");
            }
            Some(Value::String(format)) if FORMATS.contains(&format.as_str()) => {
                self.is_old = format != "3.0";
            }
            Some(Value::String(_)) => {
                faults.add(pointer, "expected one of: 1.1, 2.1, 3.0", ViolationKind::Enum);
            }
            Some(_) => {
                faults.add(pointer, "expected a string", ViolationKind::Type);
                faults.hint("put it in quotes: \"3.0\"");
            }
        }
    }

    fn read_info(&mut self, info: &Document, kinds: &Kinds, faults: &mut Faults) {
        for (name, value) in info {
            let pointer = format!("/_info/{}", segment(name));
            match (name.as_str(), value) {
                (_, Value::Null) => {}
                ("select_tags", Value::Array(tags)) if tags.iter().all(Value::is_string) => {
                    self.select_tags.clone_from(tags);
                    self.part.clone_from(tags);
                }
                ("select_tags", _) => faults.add(pointer, "expected a set", ViolationKind::Type),
                ("defaults", Value::Object(defaults)) => {
                    for (name, fields) in defaults {
                        let pointer = format!("{pointer}/{}", segment(name));
                        let known = || kinds.iter().map(|spec| singular(spec.kind.name()));
                        if known().all(|known| known != name) {
                            faults.unknown(pointer, name, known());
                        } else if !fields.is_object() && !fields.is_null() {
                            faults.add(pointer, "expected a record", ViolationKind::Type);
                        }
                    }
                    self.defaults.clone_from(defaults);
                }
                ("defaults", _) => faults.add(pointer, "expected a record", ViolationKind::Type),
                // decK's own memory of how it looks entities up.
                ("lookup_tags" | "default_lookup_tags" | "consumer_group_policy_overrides", _) => {
                    self.notices
                        .push((pointer, format!("'{name}' means something to decK alone")));
                }
                _ => faults.unknown(pointer, name, ["select_tags", "defaults"]),
            }
        }
    }

    /// Fills in what the head says of all entities of a kind.
    pub(super) fn complete(&self, kind: &str, takes_tags: bool, document: &mut Document) {
        if let Some(Value::Object(defaults)) = self.defaults.get(singular(kind)) {
            fill(document, defaults);
        }
        if takes_tags && !self.select_tags.is_empty() {
            let tags = document.entry("tags").or_insert(Value::Null);
            if tags.is_null() {
                *tags = Value::Array(Vec::new());
            }
            if let Value::Array(tags) = tags {
                for tag in self.select_tags.iter() {
                    if !tags.contains(tag) {
                        tags.push(tag.clone());
                    }
                }
            }
        }
    }

    /// Fills shared settings into those of a plugin that refers to them.
    pub(super) fn share_config(
        &self,
        name: &Value,
        plugin: &mut Document,
        pointer: &str,
        faults: &mut Faults,
    ) {
        let pointer = format!("{pointer}/_config");
        let Some(name) = name.as_str() else {
            return faults.add(pointer, "expected a string", ViolationKind::Type);
        };
        let Some(Value::Object(shared)) = self.plugin_configs.get(name) else {
            let message = format!("'_plugin_configs' has no '{name}'");
            faults.add(pointer, &message, ViolationKind::Reference);
            return faults.hint_nearest(name, self.plugin_configs.keys().map(String::as_str));
        };
        let config = plugin.entry("config").or_insert(Value::Null);
        if config.is_null() {
            *config = Value::Object(Document::new());
        }
        if let Value::Object(config) = config {
            fill(config, shared);
        }
    }
}

/// The workspace of decK's that a file is about, if that is not the one that every Kong has.
fn foreign_workspace(document: &Document) -> Option<&str> {
    let workspace = document.get("_workspace")?.as_str()?;
    (!matches!(workspace, "" | "default")).then_some(workspace)
}

/// Fills in fields that are not there, in records within records as well.
fn fill(document: &mut Document, defaults: &Document) {
    for (name, default) in defaults {
        match (document.get_mut(name), default) {
            (None | Some(Value::Null), default) => {
                document.insert(name.clone(), default.clone());
            }
            (Some(Value::Object(record)), Value::Object(defaults)) => fill(record, defaults),
            _ => {}
        }
    }
}
