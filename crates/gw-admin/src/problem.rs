//! Every way a request can fail, and the error document that says so: Kong's shape and wording, with extras beside it.

mod fields;

use gw_core::{Document, Kind};
use gw_schema::{Violation, ViolationKind, Violations};
use http::StatusCode;
use serde_json::{Value, json};

use crate::body::BodyError;
use crate::declarative::Refusal;
pub(crate) use fields::{lua, mirror};

/// Why a request failed; displayed as the answer's message.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// Nothing is at this path.
    #[error("Not found")]
    NotFound,
    /// Nobody has this name; says of which kind.
    #[error("{title} not found")]
    NobodyNamed { title: Box<str> },
    /// There is no schema of this name.
    #[error("No {what} named '{name}'")]
    NoSchema { what: &'static str, name: String },
    /// The path has other methods: these.
    #[error("Method not allowed")]
    MethodNotAllowed { allow: String },
    /// The body is no document.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// Code 1: the id in the path is none.
    #[error("invalid primary key: '{}'", key("id", id))]
    InvalidPrimaryKey { id: String },
    /// Code 2: the document breaks its schema; it is kept to tell arrays from records.
    #[error("{violations}")]
    Schema {
        violations: Violations,
        document: Box<Document>,
    },
    /// Code 3: the id is taken.
    #[error("primary key violation on key '{}'", key("id", id))]
    PrimaryKeyTaken { id: String },
    /// Code 4: references to nothing; at least one.
    #[error("{}", first(_0))]
    Dangling(Vec<Dangling>),
    /// Code 4: others refer to what should be deleted; at least one.
    #[error("an existing '{}' entity references this '{kind}' entity", blocking_kind(*kind, blocking))]
    Referenced {
        kind: Kind,
        blocking: Vec<(Kind, String)>,
        /// They would go along if the request said so.
        may_go: bool,
    },
    /// Code 5: other entities have these values; at least one set of them.
    #[error("{}", _0.first().map(taken).unwrap_or_default())]
    Taken(Vec<Document>),
    /// Code 6: there is nothing to patch.
    #[error("could not find the entity with primary key '{}'", key(field, value))]
    Missing { field: Box<str>, value: String },
    /// Code 7: the offset of a list is not one it gave.
    #[error("'{offset}' is not a valid offset: {why}")]
    Offset { offset: String, why: &'static str },
    /// Code 9: the size of a list.
    #[error("{why}")]
    Size { why: &'static str },
    /// Code 10: the unique value a list is asked for cannot be one.
    #[error("invalid unique ({field}: {why})")]
    InvalidUnique { field: Box<str>, why: &'static str },
    /// Code 11: a filter of a list.
    #[error("invalid option ({option}: {why})")]
    Filter { option: &'static str, why: &'static str },
    /// Code 12: the store takes no writes.
    #[error("cannot {verb} {what} while the store is read-only")]
    ReadOnly { verb: &'static str, what: String },
    /// Code 12: the configuration comes from a file.
    #[error("cannot {verb} {what} when not using a database")]
    WithoutDatabase { verb: &'static str, what: String },
    /// Code 13: references by a name nobody has; at least one.
    #[error("{}", unresolved(_0))]
    Unresolved(Vec<Unresolved>),
    /// Code 19: what should be deleted is on lists of others; at least one.
    #[error("{}", listed(title, id, blocking))]
    Listed {
        title: String,
        id: String,
        blocking: Vec<(Kind, String)>,
    },
    /// An argument of the query that is none.
    #[error("{why}")]
    Argument { why: &'static str },
    /// The health of targets is not judged, so it cannot be set.
    #[error("no healthchecker found for {upstream}")]
    NoHealthchecker { upstream: String },
    /// The node's log has no such level.
    #[error("unknown log level: {level}; use one of: {known}")]
    UnknownLogLevel { level: String, known: String },
    /// What would be stored is over a bound of the store.
    #[error("{why}")]
    TooLarge { why: String },
    /// What the request is about is not as it says.
    #[error("{}", unmet(condition, wanted, state.as_deref(), *is_list))]
    Unmet {
        condition: &'static str,
        wanted: String,
        /// The ETag it has.
        state: Option<String>,
        is_list: bool,
    },
    /// One of several operations, which are one change.
    #[error("operation {index}: {problem}")]
    InOperation { index: usize, problem: Box<Self> },
    /// No revision and no tag goes by this name.
    #[error(
        "there is no revision or tag '{name}'; /config/history lists the revisions, /config/tags the tags"
    )]
    NoRevision { name: String },
    /// The revision is no longer kept.
    #[error("revision {revision} is no longer kept; the history begins with revision {oldest}")]
    Forgotten { revision: u64, oldest: u64 },
    /// A whole configuration that is not right.
    #[error("{refusal}")]
    Refused {
        refusal: Box<Refusal>,
        flatten_errors: bool,
    },
    /// It would remove so much that nodes would hold it back.
    #[error(
        "this would remove {losses}; if that is meant, repeat the request with ?allow_mass_delete=1, or the command with --allow-mass-delete"
    )]
    MassDeletion { losses: Box<str> },
    /// Objects of an earlier revision are no longer right; at least one.
    #[error("{}", no_longer(_0))]
    NoLongerValid(Vec<Invalid>),
    /// The store does not answer; nothing was written.
    #[error("The store {place} is not available, nothing was written; try again")]
    Unavailable { place: Box<str> },
    /// The store has not answered since the start, and nothing is known of what it holds.
    #[error(
        "The store {place} has not answered since this gateway was started, and there is no checkpoint of what it \
         holds: nothing is known of the configuration; look at the store, the gateway goes on trying"
    )]
    NeverReached { place: Box<str> },
    /// Another process has taken the store over, and serves the Admin API from now on.
    #[error("The gateway is being replaced by a new process, nothing was done; try again")]
    HandedOver,
    /// The store did not say whether it wrote.
    #[error("The store did not confirm the change; look whether it was made before trying again")]
    Unknown,
    /// Ours. The log says more.
    #[error("An unexpected error occurred")]
    Internal,
}

/// A reference to nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Dangling {
    pub(crate) field: Box<str>,
    /// Where in the field, if it is a list.
    pub(crate) position: Option<usize>,
    pub(crate) id: String,
    pub(crate) target: Box<str>,
}

/// An object that would not be taken today.
#[derive(Debug)]
pub(crate) struct Invalid {
    pub(crate) kind: Box<str>,
    pub(crate) id: String,
    pub(crate) name: Option<String>,
    pub(crate) problem: Box<Problem>,
}

/// A reference by a name nobody has.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unresolved {
    pub(crate) field: Box<str>,
    pub(crate) key: String,
    pub(crate) value: String,
    pub(crate) target: Box<str>,
}

impl Problem {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::NotFound | Self::Missing { .. } => StatusCode::NOT_FOUND,
            Self::NobodyNamed { .. } | Self::NoSchema { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } | Self::ReadOnly { .. } | Self::WithoutDatabase { .. } => {
                StatusCode::METHOD_NOT_ALLOWED
            }
            Self::Body(error) => error.status(),
            Self::Taken(_) | Self::MassDeletion { .. } => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unmet { .. } => StatusCode::PRECONDITION_FAILED,
            Self::InOperation { problem, .. } => problem.status(),
            Self::NoRevision { .. } => StatusCode::NOT_FOUND,
            Self::Forgotten { .. } => StatusCode::GONE,
            Self::HandedOver | Self::Unavailable { .. } | Self::NeverReached { .. } | Self::Unknown => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// The answer's body.
    pub(crate) fn document(self) -> Value {
        let message = self.to_string();
        let coded = |code: u8, name: &str, fields: Value| json!({ "message": message, "name": name, "fields": fields, "code": code });
        match self {
            Self::Body(error) if error.detail().is_some() => {
                json!({ "message": message, "detail": error.detail() })
            }
            Self::InvalidPrimaryKey { id } => coded(1, "invalid primary key", json!({ "id": id })),
            Self::Schema { violations, document } => {
                let fields = mirror(&violations, &document);
                with_violations(coded(2, "schema violation", fields), violations)
            }
            Self::PrimaryKeyTaken { id } => {
                let document = coded(3, "primary key violation", json!({ "id": id }));
                with_violations(document, [Violation::new("/id", message)])
            }
            Self::Dangling(dangling) => {
                let mut fields = Document::new();
                for one in &dangling {
                    one.tell(&mut fields);
                }
                let violations = dangling.iter().map(Dangling::violation);
                with_violations(coded(4, "foreign key violation", fields.into()), violations)
            }
            Self::Referenced {
                kind,
                blocking,
                may_go,
            } => {
                let by = blocking_kind(kind, &blocking);
                let mut document = coded(4, "foreign key violation", json!({ "@referenced_by": by.name() }));
                if may_go {
                    document["hint"] =
                        Value::from("delete them first, or add `?cascade=1` to delete them too");
                }
                with_blocking(document, &blocking)
            }
            Self::Listed { blocking, .. } => {
                let document = json!({ "message": message, "name": "referenced by others", "code": 19 });
                with_blocking(document, &blocking)
            }
            Self::InvalidUnique { field, why } => coded(10, "invalid unique", json!({ &*field: why })),
            Self::Taken(sets) => {
                let fields = sets.first().cloned().unwrap_or_default();
                let violations = sets.iter().map(|set| {
                    // Of several fields none is wrong by itself.
                    let only = set.keys().next().filter(|_| set.len() == 1);
                    Violation::new(
                        only.map(|field| format!("/{field}")).unwrap_or_default(),
                        taken(set),
                    )
                });
                with_violations(coded(5, "unique constraint violation", fields.into()), violations)
            }
            Self::Missing { field, value } => coded(6, "not found", json!({ &*field: value })),
            Self::Offset { .. } => coded(7, "invalid offset", json!({})),
            Self::Size { .. } => coded(9, "invalid size", json!({})),
            Self::Filter { option, why } => json!({
                "message": message, "name": "invalid options", "options": { option: why }, "code": 11,
            }),
            Self::ReadOnly { .. } => coded(12, "operation unsupported", json!({})),
            Self::WithoutDatabase { .. } => {
                let mut document = coded(12, "operation unsupported", json!({}));
                document["hint"] =
                    Value::from("change the file, or replace the whole configuration by `POST /config`");
                document
            }
            Self::Unresolved(names) => {
                let field =
                    |one: &Unresolved| (one.field.as_ref().to_owned(), json!({ &*one.key: one.why() }));
                let fields: Document = names.iter().map(field).collect();
                let violations = names.iter().map(Unresolved::violation);
                with_violations(coded(13, "foreign keys unresolved", fields.into()), violations)
            }
            Self::Unmet { state, .. } => {
                json!({ "message": message, "name": "precondition failed", "etag": state })
            }
            Self::MassDeletion { .. } => json!({ "message": message, "name": "mass deletion" }),
            Self::InOperation { index, problem } => {
                let mut document = problem.document();
                let place = format!("/operations/{index}");
                if let Some(Value::Array(violations)) = document.get_mut("violations") {
                    for violation in violations {
                        let pointer = violation["pointer"].as_str().unwrap_or_default();
                        violation["pointer"] = format!("{place}/body{pointer}").into();
                    }
                }
                document["message"] = message.into();
                document["operation"] = index.into();
                document["pointer"] = place.into();
                document
            }
            Self::Refused {
                refusal,
                flatten_errors,
            } => refusal.document(flatten_errors),
            Self::NoLongerValid(objects) => {
                let objects = objects.into_iter().map(Invalid::document);
                json!({ "message": message, "name": "no longer valid", "objects": objects.collect::<Value>() })
            }
            _ => json!({ "message": message }),
        }
    }

    /// Whether to ask again is all that is to be done about it.
    pub(crate) fn passes(&self) -> bool {
        match self {
            Self::InOperation { problem, .. } => problem.passes(),
            _ => self.status() == StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

impl Invalid {
    fn document(self) -> Value {
        let mut document = self.problem.document();
        document["entity_name"] = (*self.kind).into();
        document["entity_id"] = self.id.into();
        document["entity"] = self.name.into();
        document
    }
}

impl Dangling {
    /// Adds itself to the fields of an error document, in the shape of the field it is in.
    fn tell(&self, fields: &mut Document) {
        let Some(position) = self.position else {
            fields.insert(self.field.as_ref().to_owned(), json!({ "id": self.id }));
            return;
        };
        let list = fields.entry(&*self.field).or_insert_with(|| json!([]));
        if let Value::Array(list) = list {
            list.resize(position, Value::Null);
            list.push(Value::from(self.id.as_str()));
        }
    }

    fn violation(&self) -> Violation {
        let Self {
            field, id, target, ..
        } = self;
        let why = format!(
            "the foreign key '{}' does not reference an existing '{target}' entity.",
            key("id", id)
        );
        let below = self
            .position
            .map_or_else(|| "id".to_owned(), |position| position.to_string());
        Violation::new(format!("/{field}/{below}"), why).with_kind(ViolationKind::Reference)
    }
}

impl Unresolved {
    fn why(&self) -> String {
        let named = key(&self.key, &self.value);
        format!(
            "the foreign key cannot be resolved with '{named}' for an existing '{}' entity",
            self.target
        )
    }

    fn violation(&self) -> Violation {
        let pointer = format!("/{}/{}", self.field, self.key);
        Violation::new(pointer, self.why()).with_kind(ViolationKind::Reference)
    }
}

fn with_violations(mut document: Value, violations: impl IntoIterator<Item = Violation>) -> Value {
    let list = violations.into_iter().map(|violation| {
        json!({ "pointer": violation.pointer, "message": violation.message, "hint": violation.hint })
    });
    document["violations"] = list.collect();
    document
}

fn with_blocking(mut document: Value, blocking: &[(Kind, String)]) -> Value {
    let named = blocking
        .iter()
        .map(|(kind, id)| json!({ "entity_name": kind.name(), "entity_id": id }));
    document["blocking"] = named.collect();
    document
}

fn key(field: &str, value: &str) -> String {
    lua(&json!({ field: value }))
}

fn first(dangling: &[Dangling]) -> String {
    dangling
        .first()
        .map(|one| one.violation().message)
        .unwrap_or_default()
}

fn unresolved(names: &[Unresolved]) -> String {
    let list: Vec<String> = names.iter().map(|one| one.violation().to_string()).collect();
    match list.as_slice() {
        [one] => format!("foreign key unresolved ({one})"),
        all => format!("{} foreign keys unresolved ({})", all.len(), all.join("; ")),
    }
}

fn taken(set: &Document) -> String {
    format!(
        "UNIQUE violation detected on '{}'",
        lua(&Value::Object(set.clone()))
    )
}

fn unmet(condition: &str, wanted: &str, state: Option<&str>, is_list: bool) -> String {
    match (condition, state) {
        (_, _) if is_list => format!("{condition} holds for one entity; a list has no ETag"),
        ("If-Match", Some(state)) => {
            format!("it has changed: its ETag is {state} and not {wanted}; read it again, then decide anew")
        }
        ("If-Match", None) => format!("it is not there, so that its ETag is not {wanted}"),
        (_, Some(state)) if wanted == "*" => format!("it is there already, with the ETag {state}"),
        (_, state) => format!("its ETag is {}", state.unwrap_or("none")),
    }
}

fn no_longer(objects: &[Invalid]) -> String {
    let named = objects.iter().take(10).map(|object| {
        let name = object.name.as_deref().unwrap_or(&object.id);
        format!("{} '{name}': {}", object.kind, object.problem)
    });
    let named: Vec<String> = named.collect();
    format!(
        "{} objects would not be taken today: {}",
        objects.len(),
        named.join("; ")
    )
}

fn listed(title: &str, id: &str, blocking: &[(Kind, String)]) -> String {
    let by = blocking
        .first()
        .map(|(kind, by)| format!("{kind} (id = {by})"))
        .unwrap_or_default();
    format!("{title} {id} is still referenced by {by}")
}

fn blocking_kind(kind: Kind, blocking: &[(Kind, String)]) -> Kind {
    blocking.first().map_or(kind, |(by, _)| *by)
}
