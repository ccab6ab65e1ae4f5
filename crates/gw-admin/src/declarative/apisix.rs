//! APISIX's standalone file, `apisix.yaml`, as Kong's would say it.
//!
//! ```text
//!   source ─▶ placeholders ─▶ shelf ─▶ certificates, upstreams, routes, consumers, rules ─▶ Mapped
//!             environment     objects  plugins merged by name, each config translated
//! ```
//! Nothing is passed over in silence: what is not exactly what it was is a remark, what cannot be is a fault.

mod certificates;
mod checks;
mod conf;
mod consumers;
mod credentials;
mod groups;
mod hashing;
mod ledger;
mod merge;
mod names;
mod placeholders;
mod plugins;
mod routes;
mod shelf;
mod upstreams;
mod uris;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gw_core::{Document, Kinds};
use gw_plugins::Registry;
use gw_schema::ViolationKind;
use serde_json::Value;

use super::mapped::Mapped;
use super::source::{self, Source};
use super::{Refusal, Surroundings};
use ledger::Ledger;
use names::Names;
pub(super) use plugins::instead;
use shelf::Shelf;
pub(super) use shelf::list;
use upstreams::{Services, Upstream};

/// What the last line of a file is, so that one that is half-written is known.
const END: &str = "#END";

/// What stands at the top of APISIX's files, and never of Kong's.
const TELLING: [&str; 7] = [
    "global_rules",
    "plugin_configs",
    "plugin_metadata",
    "ssls",
    "protos",
    "stream_routes",
    "credentials",
];

/// Whether a text is a file of APISIX's.
pub(super) fn is_meant(text: &str, document: &Document) -> bool {
    if document.contains_key("_format_version") {
        return false;
    }
    let item = |list: &str, is: fn(&Document) -> bool| {
        let items = document.get(list).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_object).any(is)
    };
    let has_plugins = |item: &Document| item.get("plugins").is_some_and(Value::is_object);
    text.trim_end().ends_with(END)
        || TELLING.iter().any(|name| document.contains_key(*name))
        || item("routes", |route| {
            ["uri", "upstream", "upstream_id", "plugin_config_id"]
                .iter()
                .any(|field| route.contains_key(*field))
        })
        || item("upstreams", |upstream| upstream.contains_key("nodes"))
        || ["routes", "services", "consumers"]
            .iter()
            .any(|list| item(list, has_plugins))
}

/// Reads a file, and maps it.
pub(super) fn read(
    text: &str,
    kinds: &Kinds,
    registry: &Registry,
    surroundings: &dyn Surroundings,
) -> Result<Source, Refusal> {
    let variable = |name: &str| surroundings.variable(name);
    // What a shell would fill in is for plugins here: `$uri`, `$1`.
    let mut source = source::load(text, &variable, None).map_err(Refusal::from_syntax)?;
    let mut ledger = Ledger::default();
    // JSON knows by itself where it ends.
    if !text.trim_end().ends_with(END) && source.spot.is_some() {
        let message = "its last line is not `#END`, so it is taken for a file that is not written to its end, as APISIX does";
        let hint = "end the file with a line `#END`";
        ledger.fault_with("", message, ViolationKind::Other, hint);
    } else {
        placeholders::fill(&mut source, &variable, &mut ledger);
        let shelf = Shelf::read(&shelf::without_nulls(&source.document), &mut ledger);
        ledger = map(&shelf, kinds, registry, ledger);
    }
    let Mapped {
        document,
        origins,
        remarks,
        faults,
    } = ledger.finish();
    let original = std::mem::replace(&mut source.document, document);
    source.original = Some(Value::Object(original));
    source.origins = Some(origins);
    source.remarks = remarks;
    source.faults = faults;
    Ok(source)
}

fn map(shelf: &Shelf, kinds: &Kinds, registry: &Registry, ledger: Ledger) -> Ledger {
    let mut mapping = Mapping {
        shelf,
        kinds,
        registry,
        ledger,
        names: Names::default(),
        by_id: HashMap::new(),
        nameless: HashMap::new(),
        services: Services::new(),
        certificate_ids: HashMap::new(),
        guarded: Vec::new(),
        groups: BTreeMap::new(),
        uri: None,
        destination: None,
    };
    mapping.certificates();
    mapping.upstreams();
    mapping.routes();
    mapping.rules();
    mapping.consumers();
    mapping.tell_of_lists();
    mapping.ledger
}

/// A file on its way.
struct Mapping<'a> {
    shelf: &'a Shelf,
    kinds: &'a Kinds,
    registry: &'a Registry,
    ledger: Ledger,
    names: Names,
    /// Upstreams by their ids.
    by_id: HashMap<String, Upstream>,
    /// Upstreams within objects that have no name, by what they hold.
    nameless: HashMap<String, Upstream>,
    services: Services,
    /// Our ids of certificates, by those of the file.
    certificate_ids: HashMap<String, String>,
    /// Server names whose clients must show a certificate.
    guarded: Vec<String>,
    /// Groups of access lists that were made for rules about consumers, by the consumers in them.
    groups: BTreeMap<String, BTreeSet<String>>,
    /// The path of the route whose plugins are read, if it has one.
    uri: Option<String>,
    /// Where the route goes whose plugins are read, if they do not say so.
    destination: Option<Upstream>,
}

impl Mapping<'_> {
    /// Lists that nothing comes of.
    fn tell_of_lists(&mut self) {
        let lists = [
            (
                "stream_routes",
                "streams are not proxied",
                "publish the service beside the gateway; TLS can pass through by a route of `tls_passthrough`",
            ),
            (
                "protos",
                "gRPC is not transcoded, so nothing asks for it",
                "leave it out",
            ),
            (
                "secrets",
                "no secrets are fetched: fields that refer to it are refused",
                "give them by the environment: `${{NAME}}`",
            ),
        ];
        for (list, what, remedy) in lists {
            for item in self.shelf.list(list) {
                self.ledger.unsupported(&item.pointer, what, remedy);
            }
        }
        for item in self.shelf.list("plugin_metadata") {
            plugins::tell_of_metadata(item, &mut self.ledger);
        }
    }
}

/// Labels as tags, `name:value`.
fn tags(fields: &Document) -> Option<Value> {
    let labels = fields.get("labels")?.as_object()?;
    let plain = |letter: char| {
        if ",/".contains(letter) || letter.is_control() {
            '_'
        } else {
            letter
        }
    };
    let tags = labels.iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let tag: String = format!("{name}:{value}").chars().map(plain).collect();
        Value::from(tag)
    });
    Some(tags.collect())
}

#[cfg(test)]
mod tests;
