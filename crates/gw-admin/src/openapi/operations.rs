//! The operations of an API document: one for each method of each path.

use gw_core::{Document, Kind, Kinds, OnDelete};
use http::Method;
use serde_json::{Value, json};

use super::{config, control, reference};
use crate::api::{Collection, Endpoint};
use crate::plan::Step;

/// What makes the operations.
pub(super) struct Operations<'a> {
    pub(super) kinds: &'a Kinds,
}

impl Operations<'_> {
    /// All operations of a path.
    pub(super) fn path(&self, path: &str, endpoint: &Endpoint) -> Value {
        let names: Vec<&str> = path
            .split('/')
            .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        let mut item = Document::new();
        if !names.is_empty() {
            let parameters = names.iter().map(|name| {
                json!({
                    "name": name, "in": "path", "required": true,
                    "schema": { "type": "string", "minLength": 1 },
                    "description": "Its id, or the name it goes by.",
                })
            });
            item.insert("parameters".to_owned(), parameters.collect());
        }
        for method in endpoint.methods() {
            let operation = self.operation(path, endpoint, method, !names.is_empty());
            item.insert(method.as_str().to_ascii_lowercase(), operation);
        }
        item.into()
    }

    fn operation(&self, path: &str, endpoint: &Endpoint, method: &Method, named: bool) -> Value {
        let group = path.split(['/', '.']).nth(1).filter(|word| !word.is_empty());
        let mut operation = json!({
            "operationId": operation_id(method.as_str(), path),
            "tags": [group.unwrap_or("node")],
            "responses": self.responses(endpoint, method, named),
        });
        let mut query = match *method {
            Method::GET | Method::HEAD => self.query(endpoint),
            Method::DELETE | Method::PUT => self.options(endpoint, method),
            _ => config::query(endpoint, method),
        };
        query.extend(control::parameters(endpoint, method));
        if !query.is_empty() {
            operation["parameters"] = query.into();
        }
        if let (Endpoint::List { of, .. }, &Method::POST) = (endpoint, method)
            && let Some(links) = self.links(of)
        {
            operation["responses"]["201"]["links"] = links;
        }
        if let (Endpoint::Config, &Method::POST) = (endpoint, method) {
            operation["requestBody"] = config::body();
        }
        if let Some(schema) = self.body(endpoint, method) {
            operation["requestBody"] = body(&schema);
        }
        operation
    }

    /// The arguments of a write.
    fn options(&self, endpoint: &Endpoint, method: &Method) -> Vec<Value> {
        match endpoint {
            Endpoint::One { of } if *method == Method::DELETE => {
                let mut referrers = self.kinds.referrers(of.of);
                let told = referrers.any(|(_, field)| field.on_delete == OnDelete::RefuseUnlessTold);
                let choice = json!({ "enum": ["0", "1", "false", "true"] });
                let cascade = argument(
                    "cascade",
                    choice,
                    "1: what refers to it goes along, and refuses nothing.",
                );
                if told { vec![cascade] } else { Vec::new() }
            }
            Endpoint::SetLogLevel if *method == Method::PUT => {
                let seconds = json!({ "type": "number", "minimum": 0, "default": 60 });
                vec![argument(
                    "timeout",
                    seconds,
                    "Seconds until it is as before; 0: never.",
                )]
            }
            _ => Vec::new(),
        }
    }

    fn query(&self, endpoint: &Endpoint) -> Vec<Value> {
        let text = || json!({ "type": "string" });
        let paging = || {
            let size = json!({ "type": "integer", "minimum": 1, "maximum": 1000, "default": 100 });
            vec![
                argument("size", size, "Items of a page."),
                argument(
                    "offset",
                    text(),
                    "Where the page begins: the `offset` of the one before.",
                ),
                argument(
                    "tags",
                    text(),
                    "`a,b`: those with both tags; `a/b`: those with either.",
                ),
            ]
        };
        match endpoint {
            Endpoint::List { of, .. } => {
                let mut arguments = paging();
                let spec = self.kinds.spec(of.of);
                let unique = spec.into_iter().flat_map(|spec| {
                    let by_path = spec.endpoint_key.as_ref();
                    spec.unique.iter().filter(move |field| Some(*field) != by_path)
                });
                arguments.extend(unique.map(|field| {
                    argument(
                        field,
                        json!({ "type": "string", "minLength": 1 }),
                        "The one with this value.",
                    )
                }));
                arguments
            }
            Endpoint::Members(_) | Endpoint::Tags | Endpoint::Tagged => paging(),
            Endpoint::Health => {
                let mut arguments = paging();
                let choice = json!({ "enum": ["0", "1", "false", "true"] });
                let whole = "1: of the upstream as a whole.";
                arguments.push(argument("balancer_health", choice, whole));
                arguments
            }
            Endpoint::Status => vec![
                argument("unit", json!({ "enum": ["b", "k", "m", "g"] }), "Unit of sizes."),
                argument(
                    "scale",
                    json!({ "type": "integer", "minimum": 0, "maximum": 9 }),
                    "Digits behind the point.",
                ),
            ],
            _ => Vec::new(),
        }
    }

    /// What can be done with an entity that was just made.
    fn links(&self, of: &Collection) -> Option<Value> {
        let spec = self.kinds.spec(of.of).filter(|spec| spec.listed)?;
        let link = |method: &str| {
            json!({
                "operationId": operation_id(method, &format!("/{0}/{{{0}}}", spec.path)),
                "parameters": { &*spec.path: "$response.body#/id" },
            })
        };
        Some(json!({
            "read": link("get"), "replace": link("put"), "change": link("patch"), "delete": link("delete"),
        }))
    }

    /// What a request holds, if it holds anything.
    fn body(&self, endpoint: &Endpoint, method: &Method) -> Option<Value> {
        let suffix = match *method {
            Method::POST | Method::PUT => "new",
            Method::PATCH => "patch",
            _ => return None,
        };
        match endpoint {
            Endpoint::List { of, .. } | Endpoint::One { of } => Some(self.document(of, suffix)),
            Endpoint::Referred { to, .. } => Some(reference(&format!("{}.{suffix}", to.name()))),
            Endpoint::Members(link) => {
                let name = json!({ "type": "string", "minLength": 1 });
                let either = json!({ "anyOf": [name, { "type": "array", "items": name }] });
                Some(json!({
                    "type": "object", "additionalProperties": false,
                    "required": [link.far.argument], "properties": { &*link.far.argument: either },
                }))
            }
            Endpoint::Transaction | Endpoint::Rollback | Endpoint::Mark => control::body(endpoint),
            Endpoint::Explain => Some(reference("explain")),
            Endpoint::SetLogLevel => Some(json!({
                "type": "object", "properties": { "timeout": { "type": ["number", "null"], "minimum": 0 } },
            })),
            Endpoint::Validate { of } => Some(of.map_or_else(
                || json!({ "type": "object" }),
                |kind| reference(&format!("{}.new", kind.name())),
            )),
            _ => None,
        }
    }

    /// What creates an entity: at the top level it names what it belongs to.
    fn document(&self, of: &Collection, suffix: &str) -> Value {
        let schema = reference(&format!("{}.{suffix}", of.of.name()));
        let spec = self
            .kinds
            .spec(of.of)
            .filter(|_| of.below.is_none() && suffix == "new");
        let owners: Vec<&str> = spec
            .into_iter()
            .flat_map(|spec| spec.references.iter().map(move |field| (spec, field)))
            .filter(|(spec, field)| spec.schema.is_required(&field.field))
            .map(|(_, field)| &*field.field)
            .collect();
        if owners.is_empty() {
            schema
        } else {
            json!({ "allOf": [schema, { "required": owners }] })
        }
    }

    fn responses(&self, endpoint: &Endpoint, method: &Method, named: bool) -> Value {
        let mut responses = Document::new();
        let mut add = |status: &str, description: &str, schema: Option<Value>| {
            let mut response = json!({ "description": description });
            if let Some(schema) = schema.filter(|_| *method != Method::HEAD) {
                let is_text = *endpoint == Endpoint::Metrics && status == "200";
                let media_type = if is_text { "text/plain" } else { "application/json" };
                response["content"] = json!({ media_type: { "schema": schema } });
            }
            responses.insert(status.to_owned(), response);
        };
        let changes = control::changes(endpoint, method);
        let done = |schema: Value| {
            if changes && Step::is_possible(endpoint, method) {
                let either = json!({ "anyOf": [schema, reference("dry_run")] });
                return (either, "As it is now, or what would change.");
            }
            (schema, "As it is now.")
        };
        if *method == Method::OPTIONS {
            add("204", "The methods, in `Allow`.", None);
        } else if *method == Method::DELETE {
            add("204", "It is gone, or was not there.", None);
        } else if matches!(endpoint, Endpoint::SetHealth { .. }) {
            add("204", "It is so from now on.", None);
        } else if *method == Method::POST
            && !matches!(
                endpoint,
                Endpoint::Validate { .. } | Endpoint::Explain | Endpoint::Reseal
            )
            && !matches!(
                endpoint,
                Endpoint::Rollback | Endpoint::Transaction | Endpoint::Accept
            )
        {
            add("201", "It was made.", Some(self.shown(endpoint, method)));
            if *endpoint == Endpoint::Config {
                add("200", "What would change.", Some(reference("config.diff")));
                add("304", "Nothing changed.", None);
            }
        } else {
            let (schema, description) = done(self.shown(endpoint, method));
            add("200", description, Some(schema));
        }
        if *method == Method::OPTIONS {
            return responses.into();
        }
        control::responses(endpoint, method, &mut add);
        let mut refuse = |status: &str, description: &str| add(status, description, Some(reference("error")));
        refuse(
            "400",
            "Something is wrong with the request; `violations` says all of it.",
        );
        refuse("500", "The gateway failed.");
        if named && *endpoint != Endpoint::At {
            refuse("404", "Nothing of this name is there.");
        }
        let sets = matches!(endpoint, Endpoint::SetHealth { .. });
        let writes = !sets && !matches!(*method, Method::GET | Method::HEAD);
        let reads_body = writes && *method != Method::DELETE;
        if reads_body {
            refuse("408", "The body did not arrive in time.");
            refuse("413", "The body is too large.");
            refuse("415", "The body is of a type that is not read.");
        }
        if writes
            && !matches!(
                endpoint,
                Endpoint::Validate { .. } | Endpoint::Explain | Endpoint::SetLogLevel
            )
        {
            refuse("405", "The store takes no writes.");
            refuse("503", "The store does not answer.");
            let is_own = matches!(
                endpoint,
                Endpoint::Config | Endpoint::Reseal | Endpoint::Rollback | Endpoint::Mark | Endpoint::Accept
            );
            if reads_body && !is_own {
                refuse("409", "A unique value is taken.");
            }
        }
        responses.into()
    }

    /// What a successful answer holds.
    fn shown(&self, endpoint: &Endpoint, method: &Method) -> Value {
        match endpoint {
            Endpoint::History
            | Endpoint::At
            | Endpoint::Compare
            | Endpoint::Rollback
            | Endpoint::Transaction
            | Endpoint::Marks
            | Endpoint::Cluster
            | Endpoint::Accept
            | Endpoint::Problems => control::shown(endpoint).unwrap_or_default(),
            Endpoint::Mark if *method == Method::PUT => {
                json!({ "anyOf": [reference("config.tag"), reference("dry_run")] })
            }
            Endpoint::Mark => reference("config.tag"),
            Endpoint::Information => reference("information"),
            Endpoint::Status => reference("status"),
            Endpoint::Metrics => json!({ "type": "string" }),
            Endpoint::Endpoints => reference("endpoints"),
            Endpoint::EnabledPlugins => reference("plugins.enabled"),
            Endpoint::Config if *method == Method::POST => reference("config.loaded"),
            Endpoint::Config => reference("config"),
            Endpoint::Reseal => reference("config.sealing"),
            Endpoint::OpenApi => json!({ "type": "object", "required": ["openapi", "info", "paths"] }),
            Endpoint::Tags | Endpoint::Tagged => reference("tags.page"),
            Endpoint::Schema | Endpoint::PluginSchema | Endpoint::VaultSchema => reference("fields"),
            Endpoint::Filters(_) => reference("filters"),
            Endpoint::Dns => reference("names.page"),
            Endpoint::Caches | Endpoint::Cached => cached(),
            Endpoint::Explain => reference("explanation"),
            Endpoint::Overlaps => reference("overlaps.page"),
            Endpoint::Health => {
                json!({ "anyOf": [reference("targets.health"), reference("upstreams.health")] })
            }
            Endpoint::Validate { .. }
            | Endpoint::LogLevel
            | Endpoint::SetLogLevel
            | Endpoint::SetHealth { .. } => reference("message"),
            Endpoint::List { of, .. } if *method == Method::POST => reference(of.of.name()),
            Endpoint::List { of, .. } => reference(&format!("{}.page", of.of.name())),
            Endpoint::One { of } if *method == Method::GET && of.below.is_none() => self.one(of.of),
            Endpoint::One { of } => reference(of.of.name()),
            Endpoint::Referred { to, .. } => reference(to.name()),
            Endpoint::Members(link) if *method == Method::POST => {
                let far = self.kinds.spec(link.far.kind).map_or("", |spec| &*spec.path);
                json!({
                    "type": "object", "required": [link.near.field, far],
                    "properties": {
                        &*link.near.field: reference(link.near.kind.name()),
                        far: { "type": "array", "items": reference(link.far.kind.name()) },
                    },
                })
            }
            Endpoint::Members(link) => {
                let far = self.kinds.spec(link.far.kind).map_or("", |spec| &*spec.path);
                let list = json!({ "type": "array", "items": reference(link.far.kind.name()) });
                json!({
                    "allOf": [reference(&format!("{}.page", link.far.kind.name()))],
                    "required": [far], "properties": { far: list },
                })
            }
            Endpoint::Member(link) => json!({
                "type": "object", "required": [link.far.field],
                "properties": { &*link.far.field: reference(link.far.kind.name()) },
            }),
        }
    }

    fn one(&self, kind: Kind) -> Value {
        let tied = self.kinds.spec(kind).is_some_and(|spec| spec.shown_as.is_some());
        reference(&if tied {
            format!("{}.tied", kind.name())
        } else {
            kind.name().to_owned()
        })
    }
}

/// A response that is kept.
fn cached() -> Value {
    json!({
        "type": "object", "required": ["status", "headers", "body", "body_len", "timestamp", "ttl", "version"],
        "properties": {
            "status": { "type": "integer" }, "headers": { "type": "object" }, "body": { "type": "string" },
            "body_len": { "type": "integer" }, "timestamp": { "type": "integer" }, "ttl": { "type": "integer" },
            "version": { "type": "integer" },
        },
    })
}

pub(super) fn argument(name: &str, schema: Value, description: &str) -> Value {
    json!({ "name": name, "in": "query", "schema": schema, "description": description })
}

/// The name of an operation: `get-services-{services}`.
fn operation_id(method: &str, path: &str) -> String {
    format!(
        "{}{}",
        method.to_ascii_lowercase(),
        path.replace('/', "-").trim_end_matches('-')
    )
}

fn body(schema: &Value) -> Value {
    let form = json!({ "schema": { "type": "object" } });
    json!({
        "content": {
            "application/json": { "schema": schema },
            "application/x-www-form-urlencoded": form,
            "multipart/form-data": form,
        },
    })
}
