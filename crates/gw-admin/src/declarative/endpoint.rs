//! `/config`: the whole configuration, read and replaced at once.

use std::cell::RefCell;
use std::fmt::Write as _;

use bytes::{Buf, Bytes};
use gw_core::{Document, Kind, index};
use gw_store::{Revision, View};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::diff::{Diff, diff};
use super::{Configuration, Surroundings, UnknownPlugins, Withheld, emit, export};
use crate::AdminApi;
use crate::answer::Answer;
use crate::body::{self, BodyError};
use crate::conditions::{Conditions, State};
use crate::dry_run::foreseen;
use crate::entity::{Entities, config_tag, shown};
use crate::intent::Intent;
use crate::problem::Problem;
use crate::{form, multipart};

/// Bound: bytes of a configuration.
const MAX_CONFIG: usize = 32 * 1024 * 1024;

const NOT_A_CONFIGURATION: Problem = Problem::Argument {
    why: "expected a declarative configuration: as the body itself with its content type ('application/yaml', \
          'application/json'), or under the name 'config' in JSON or in a form",
};

/// What a request asks of `/config` beside what it sends.
#[derive(Clone, Debug)]
struct Wishes {
    intent: Intent,
    /// Answer 304 when nothing changes.
    check_hash: bool,
    /// List entities that something is wrong with one by one.
    flatten_errors: bool,
    /// What is sent is all that there will be, even if it says that it is about a part.
    replace_everything: bool,
}

/// What became of a configuration that was sent.
enum Done {
    Told(Answer),
    /// It is stored, and may still have to be served.
    Made {
        answer: Answer,
        revision: Revision,
        committed: bool,
    },
}

/// What a request may see: what is stored, nothing of the process.
struct Request<'a> {
    entities: Entities<'a>,
    unknown_plugins: UnknownPlugins,
    replaces_everything: bool,
    seen: RefCell<Vec<Seen>>,
}

/// A store key that was looked at while a text was read, and the version that was there.
type Seen = (String, Option<Revision>);

/// A text that was read, and what of the store went into it.
struct Reading {
    configuration: Configuration,
    seen: Vec<Seen>,
}

impl Surroundings for Request<'_> {
    fn now(&self) -> u64 {
        self.entities.now
    }

    fn variable(&self, _: &str) -> Result<String, Withheld> {
        Err(Withheld::Secret)
    }

    fn known(&self, kind: Kind, id: &str) -> Option<Document> {
        let key = index::entity_key(kind, id);
        let version = version(self.entities.view, &key);
        self.seen.borrow_mut().push((key, version));
        self.entities.by_id(self.entities.kinds.spec(kind)?, id)
    }

    fn unknown_plugins(&self) -> UnknownPlugins {
        self.unknown_plugins
    }

    fn replaces_everything(&self) -> bool {
        self.replaces_everything
    }
}

fn version(view: &View, key: &str) -> Option<Revision> {
    view.get(key).map(|entry| entry.modified)
}

impl Reading {
    /// Whether it would be read the same in a view.
    fn holds_in(&self, view: &View) -> bool {
        self.seen.iter().all(|(key, seen)| version(view, key) == *seen)
    }
}

impl Wishes {
    fn read(head: &Parts, query: &[(String, String)]) -> Result<Self, Problem> {
        let is_on = |name: &str| {
            let given = query.iter().find(|(known, _)| known == name);
            given.is_some_and(|(_, value)| matches!(value.as_str(), "1" | "true" | ""))
        };
        let mut intent = Intent::read(head, query)?;
        intent.dry_run |= is_on("diff");
        Ok(Self {
            intent,
            check_hash: is_on("check_hash"),
            flatten_errors: is_on("flatten_errors"),
            replace_everything: is_on("replace_everything"),
        })
    }
}

impl AdminApi {
    /// `GET /config`
    pub(crate) async fn export_config(&self, conditions: &Conditions) -> Result<Answer, Problem> {
        self.export(self.store().view(), conditions).await
    }

    /// Everything that a view holds, as a file.
    pub(crate) async fn export(&self, view: View, conditions: &Conditions) -> Result<Answer, Problem> {
        let (tag, revision) = (config_tag(&view), view.revision());
        if conditions.has(&tag) {
            return Ok(Answer::ok(Value::Null, revision).tagged(Some(tag), conditions));
        }
        let api = self.clone();
        aside(move || {
            let export = export::export(&api.entities(&view));
            let config = emit::yaml(&export.document);
            let body = json!({ "config": config, "omitted": export.omitted, "revision": revision.0 });
            Answer {
                tag: Some(tag),
                ..Answer::ok(body, revision)
            }
        })
        .await
    }

    /// `POST /config`
    pub(crate) async fn load_config<B>(
        &self,
        head: &Parts,
        query: &[(String, String)],
        body: B,
    ) -> Result<Answer, Problem>
    where
        B: Body,
        B::Data: Buf,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let wishes = Wishes::read(head, query)?;
        let bytes = body::receive(&head.headers, body, MAX_CONFIG).await?;
        let content_type = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let intent = wishes.intent.clone();
        // A client that goes away leaves the change whole: nobody drops what runs aside.
        let (api, runtime) = (self.clone(), Handle::current());
        let done = aside(move || runtime.block_on(api.load(&content_type, bytes, wishes))).await??;
        match done {
            Done::Told(answer) => Ok(answer),
            Done::Made {
                answer,
                revision,
                committed,
            } => Ok(self.when_served(answer, &intent, revision, committed).await),
        }
    }

    /// Runs on a thread that may take its time.
    async fn load(&self, content_type: &str, bytes: Bytes, wishes: Wishes) -> Result<Done, Problem> {
        // Bound: one is read at a time, each takes many times its size.
        let _turn = self.config_turn().await;
        let text = text(content_type, bytes)?;
        let reading = self.read_config(&self.store().view(), &text, &wishes)?;
        let configuration = &reading.configuration;
        for notice in &configuration.notices {
            tracing::warn!(pointer = notice.pointer, "configuration: {}", notice.message);
        }
        for ignored in &configuration.ignored {
            tracing::warn!(
                pointer = ignored.pointer,
                "left out of the configuration: {}; {}",
                ignored.what,
                ignored.remedy
            );
        }
        if wishes.intent.dry_run {
            let view = self.store().view();
            wishes
                .intent
                .conditions
                .check(State::Tagged(&config_tag(&view)))?;
            let mut diff = diff(&self.entities(&view), configuration)?;
            let ops = std::mem::take(&mut diff.ops);
            let after = self.store().preview(&view, ops.clone());
            let how = (wishes.intent.mass_delete, false);
            let (mut told, refused) = self.foretold(&view, &after, &ops, how);
            told.extend(diff.told());
            told.insert("notices".to_owned(), notices(configuration));
            told.insert("ignored".to_owned(), ignored(configuration));
            return Ok(Done::Told(foreseen(told, refused, view.revision())));
        }
        let done = self.replace_config(&text, reading, wishes).await?;
        self.remember(&text);
        Ok(done)
    }

    fn read_config(&self, view: &View, text: &str, wishes: &Wishes) -> Result<Reading, Problem> {
        let entities = self.entities(view);
        let (kinds, registry) = (entities.kinds, entities.registry);
        let request = Request {
            entities,
            unknown_plugins: self.options().unknown_plugins,
            replaces_everything: wishes.replace_everything,
            seen: RefCell::default(),
        };
        let configuration = super::read(text, kinds, registry, &request);
        let configuration = configuration.map_err(|refusal| Problem::Refused {
            refusal: Box::new(refusal),
            flatten_errors: wishes.flatten_errors,
        })?;
        Ok(Reading {
            configuration,
            seen: request.seen.into_inner(),
        })
    }

    async fn replace_config(
        &self,
        text: &str,
        mut reading: Reading,
        wishes: Wishes,
    ) -> Result<Done, Problem> {
        let mut made: Option<Diff> = None;
        let intent = &wishes.intent;
        let (revision, committed) = self
            .commit_ops(intent, "replace", "the configuration".to_owned(), |view| {
                intent.conditions.check(State::Tagged(&config_tag(view)))?;
                if !reading.holds_in(view) {
                    reading = self.read_config(view, text, &wishes)?;
                }
                let mut diff = diff(&self.entities(view), &reading.configuration)?;
                let ops = std::mem::take(&mut diff.ops);
                made = Some(diff);
                Ok(ops)
            })
            .await?;
        if !committed && wishes.check_hash {
            return Ok(Done::Told(Answer {
                revision: Some(revision),
                ..Answer::empty(StatusCode::NOT_MODIFIED)
            }));
        }
        let keys = made.map(|diff| diff.keys).unwrap_or_default();
        let answer = Answer {
            written: Some(self.everything(keys).into()),
            revision: Some(revision),
            ..Answer::empty(StatusCode::CREATED)
        };
        Ok(Done::Made {
            answer,
            revision,
            committed,
        })
    }

    /// What is stored under these keys, by kind and id. Written at once: as a value it would take many times its size.
    fn everything(&self, mut keys: Vec<(Kind, String)>) -> String {
        let view = self.store().view();
        let entities = self.entities(&view);
        keys.sort_by_key(|(kind, _)| kind.name());
        let mut text = String::from("{");
        for of_kind in keys.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(spec) = of_kind.first().and_then(|(kind, _)| self.kinds().spec(*kind)) else {
                continue;
            };
            let mut all = String::new();
            for document in of_kind.iter().filter_map(|(_, key)| entities.document(spec, key)) {
                let comma = if all.is_empty() { "" } else { "," };
                let id = document.get("id").cloned().unwrap_or_default();
                let document = Value::Object(shown(spec, document));
                // Writing to a string does not fail.
                let _written = write!(all, "{comma}{id}:{document}");
            }
            let comma = if text.len() == 1 { "" } else { "," };
            let _written = write!(text, "{comma}{}:{{{all}}}", json!(spec.kind.name()));
        }
        text.push('}');
        text
    }
}

/// Runs what takes as long as a configuration is large, where it holds nothing else up.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "a configuration was not handled to the end");
        Problem::Internal
    })
}

fn notices(configuration: &Configuration) -> Value {
    let notices = configuration.notices.iter().map(|notice| {
        let (line, column) = notice.position.map(|at| (at.line, at.column)).unzip();
        json!({ "pointer": notice.pointer, "message": notice.message, "line": line, "column": column })
    });
    notices.collect()
}

fn ignored(configuration: &Configuration) -> Value {
    let ignored = configuration.ignored.iter().map(|ignored| {
        let (line, column) = ignored.position.map(|at| (at.line, at.column)).unzip();
        json!({
            "pointer": ignored.pointer, "name": ignored.name, "message": ignored.what, "hint": ignored.remedy,
            "line": line, "column": column,
        })
    });
    ignored.collect()
}

/// The text of a configuration, by how it was sent.
fn text(content_type: &str, bytes: Bytes) -> Result<String, Problem> {
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let named = |pairs: Vec<(String, String)>| {
        let config = pairs.into_iter().find(|(name, _)| name == "config");
        config.map(|(_, text)| text).ok_or(NOT_A_CONFIGURATION)
    };
    match essence.as_str() {
        "" if bytes.is_empty() => Err(NOT_A_CONFIGURATION),
        "application/json" => {
            let value: Value = serde_json::from_slice(&bytes).map_err(|error| {
                let detail = error.to_string().into();
                BodyError::Json { detail }
            })?;
            match value {
                Value::Object(mut document) if !document.contains_key("_format_version") => {
                    match document.remove("config") {
                        Some(Value::String(text)) => Ok(text),
                        _ => Err(NOT_A_CONFIGURATION),
                    }
                }
                Value::Object(_) => whole(bytes),
                _ => Err(NOT_A_CONFIGURATION),
            }
        }
        "application/yaml" | "text/yaml" | "application/x-yaml" | "text/x-yaml" => whole(bytes),
        "application/x-www-form-urlencoded" => named(form::pairs(&bytes).map_err(BodyError::from)?),
        "multipart/form-data" => {
            let boundary = multipart::boundary(content_type).map_err(BodyError::from)?;
            named(multipart::pairs(&bytes, &boundary).map_err(BodyError::from)?)
        }
        _ => Err(BodyError::UnsupportedConfigType.into()),
    }
}

fn whole(bytes: Bytes) -> Result<String, Problem> {
    String::from_utf8(bytes.into()).map_err(|_| BodyError::NotText.into())
}
