//! `/config`: the whole configuration, read and replaced at once.

use std::fmt::Write as _;

use bytes::{Buf, Bytes};
use gw_core::{Document, Kind};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body;
use serde_json::{Value, json};
use tokio::runtime::Handle;

use super::diff::{Diff, diff};
use super::{Configuration, Refusal, Surroundings, UnknownPlugins, Withheld, emit, export};
use crate::AdminApi;
use crate::answer::Answer;
use crate::body::{self, BodyError};
use crate::entity::{Entities, shown};
use crate::problem::Problem;
use crate::{form, multipart};

/// Bound: bytes of a configuration.
const MAX_CONFIG: usize = 32 * 1024 * 1024;

const NOT_A_CONFIGURATION: Problem = Problem::Argument {
    why: "expected a declarative configuration: as the body itself with its content type ('application/yaml', \
          'application/json'), or under the name 'config' in JSON or in a form",
};

/// What a request asks of `/config` beside what it sends.
#[derive(Clone, Copy, Debug)]
struct Wishes {
    /// Tell what would change, and write nothing.
    dry_run: bool,
    /// Answer 304 when nothing changes.
    check_hash: bool,
    /// List entities that something is wrong with one by one.
    flatten_errors: bool,
}

/// What a request may see: what is stored, nothing of the process.
struct Request<'a> {
    entities: Entities<'a>,
    unknown_plugins: UnknownPlugins,
}

impl Surroundings for Request<'_> {
    fn now(&self) -> u64 {
        self.entities.now
    }

    fn variable(&self, _: &str) -> Result<String, Withheld> {
        Err(Withheld::Secret)
    }

    fn known(&self, kind: Kind, id: &str) -> Option<Document> {
        self.entities.by_id(self.entities.kinds.spec(kind)?, id)
    }

    fn unknown_plugins(&self) -> UnknownPlugins {
        self.unknown_plugins
    }
}

impl Wishes {
    fn read(query: &[(String, String)]) -> Self {
        let is_on = |name: &str| {
            let given = query.iter().find(|(known, _)| known == name);
            given.is_some_and(|(_, value)| matches!(value.as_str(), "1" | "true" | ""))
        };
        Self {
            dry_run: is_on("dry_run") || is_on("diff"),
            check_hash: is_on("check_hash"),
            flatten_errors: is_on("flatten_errors"),
        }
    }
}

impl AdminApi {
    /// `GET /config`
    pub(crate) async fn export_config(&self) -> Result<Answer, Problem> {
        let api = self.clone();
        aside(move || {
            let view = api.store().view();
            let export = export::export(&api.entities(&view));
            let body = json!({ "config": emit::yaml(&export.document), "omitted": export.omitted });
            Answer::ok(body, view.revision())
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
        let wishes = Wishes::read(query);
        let bytes = body::receive(&head.headers, body, MAX_CONFIG).await?;
        let content_type = head
            .headers
            .get(CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        // A client that goes away leaves the change whole: nobody drops what runs aside.
        let (api, runtime) = (self.clone(), Handle::current());
        aside(move || runtime.block_on(api.load(&content_type, bytes, wishes))).await?
    }

    /// Runs on a thread that may take its time.
    async fn load(&self, content_type: &str, bytes: Bytes, wishes: Wishes) -> Result<Answer, Problem> {
        // Bound: one is read at a time, each takes many times its size.
        let _turn = self.config_turn().await;
        let text = text(content_type, bytes)?;
        let configuration = match self.read_config(&text) {
            Ok(configuration) => configuration,
            Err(refusal) => {
                return Ok(Answer {
                    body: Some(refusal.document(wishes.flatten_errors)),
                    ..Answer::empty(StatusCode::BAD_REQUEST)
                });
            }
        };
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
        if wishes.dry_run {
            let view = self.store().view();
            let mut told = diff(&self.entities(&view), &configuration)?.told();
            told["notices"] = notices(&configuration);
            told["ignored"] = ignored(&configuration);
            return Ok(Answer::ok(told, view.revision()));
        }
        let answer = self.replace_config(&configuration, wishes).await?;
        self.remember(&text);
        Ok(answer)
    }

    fn read_config(&self, text: &str) -> Result<Configuration, Refusal> {
        let view = self.store().view();
        let entities = self.entities(&view);
        let (kinds, registry) = (entities.kinds, entities.registry);
        let request = Request {
            entities,
            unknown_plugins: self.options().unknown_plugins,
        };
        super::read(text, kinds, registry, &request)
    }

    async fn replace_config(&self, configuration: &Configuration, wishes: Wishes) -> Result<Answer, Problem> {
        let mut made: Option<Diff> = None;
        let (revision, committed) = self
            .commit_ops("replace", "the configuration".to_owned(), |view| {
                let mut diff = diff(&self.entities(view), configuration)?;
                let ops = std::mem::take(&mut diff.ops);
                made = Some(diff);
                Ok(ops)
            })
            .await?;
        if !committed && wishes.check_hash {
            return Ok(Answer {
                revision: Some(revision),
                ..Answer::empty(StatusCode::NOT_MODIFIED)
            });
        }
        let pending = committed && !self.is_served(revision).await;
        let keys = made.map(|diff| diff.keys).unwrap_or_default();
        Ok(Answer {
            written: Some(self.everything(keys).into()),
            revision: Some(revision),
            pending,
            ..Answer::empty(StatusCode::CREATED)
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
pub(super) async fn aside<T: Send + 'static>(
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
