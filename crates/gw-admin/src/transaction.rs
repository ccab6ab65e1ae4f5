//! `POST /config/transaction`: several writes that are one commit, all or none.

use bytes::Buf;
use gw_core::Document;
use gw_schema::{Schema, Violation, Violations};
use http::Method;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http_body::Body;
use serde_json::{Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::body::{self, Arguments, BodyError, MAX_BODY};
use crate::conditions::{Conditions, State};
use crate::dry_run;
use crate::entity::{Verb, config_tag};
use crate::form;
use crate::intent::Intent;
use crate::plan::{Action, Step};
use crate::problem::Problem;

/// The schema of a transaction.
pub(crate) fn schema() -> Value {
    serde_json::from_str(include_str!("schemas/transaction.json")).expect("our own schema is JSON")
}

impl AdminApi {
    /// `POST /config/transaction`
    pub(crate) async fn transact<B>(
        &self,
        head: &Parts,
        mut intent: Intent,
        body: B,
    ) -> Result<Answer, Problem>
    where
        B: Body,
        B::Data: Buf,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.refuse_without_database("change", "entities")?;
        let media_type = head.headers.get(CONTENT_TYPE).map(|value| value.as_bytes());
        let bytes = body::receive(&head.headers, body, MAX_BODY).await?;
        if !media_type.is_some_and(|media_type| media_type.starts_with(b"application/json")) {
            return Err(BodyError::UnsupportedMediaType.into());
        }
        let sent: Value = serde_json::from_slice(&bytes).map_err(|error| BodyError::Json {
            detail: error.to_string().into(),
        })?;
        let steps = self.steps(&sent)?;
        if let Some(message) = sent["message"].as_str() {
            intent.message.get_or_insert_with(|| message.to_owned());
        }
        let conditions = intent.conditions.clone();
        let what = format!("{} operations in one", steps.len());
        let work = move |api: &Self, view: &gw_store::View| {
            conditions.check(State::Tagged(&config_tag(view)))?;
            api.work_out_all(view, &steps)
        };
        if intent.dry_run {
            return self.rehearse(intent.mass_delete, work).await;
        }
        let made = self.make(intent.clone(), "change", what, work).await?;
        let results = dry_run::results(&made.left);
        let body = json!({ "revision": made.revision.0, "results": results });
        let answer = Answer::ok(body, made.revision);
        Ok(self
            .when_served(answer, &intent, made.revision, made.committed)
            .await)
    }

    /// What a transaction does, in its order.
    fn steps(&self, sent: &Value) -> Result<Vec<Step>, Problem> {
        let schema = Schema::compile(schema()).map_err(|error| {
            tracing::error!(%error, "the schema of transactions does not compile");
            Problem::Internal
        })?;
        let refuse = |violations| Problem::Schema {
            violations,
            document: Box::new(sent.as_object().cloned().unwrap_or_default()),
        };
        schema.check(sent).map_err(refuse)?;
        let operations = sent["operations"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut steps = Vec::with_capacity(operations.len());
        for (index, operation) in operations.iter().enumerate() {
            let step = self.operation(operation).map_err(|problem| match problem {
                Problem::Schema { violations, .. } => {
                    let nested = violations
                        .into_iter()
                        .map(|one| one.nested(&format!("/operations/{index}")));
                    match Violations::none_in(nested.collect()) {
                        Err(violations) => refuse(violations),
                        Ok(()) => Problem::Internal,
                    }
                }
                problem => Problem::InOperation {
                    index,
                    problem: Box::new(problem),
                },
            });
            steps.push(step?);
        }
        Ok(steps)
    }

    fn operation(&self, operation: &Value) -> Result<Step, Problem> {
        let text = |field: &str| operation[field].as_str();
        let refuse = |field: &str, why: &str| {
            let violation = Violation::new(format!("/{field}"), why);
            Problem::Schema {
                violations: violation.into(),
                document: Box::default(),
            }
        };
        let (path, query) = text("path")
            .unwrap_or_default()
            .split_once('?')
            .unwrap_or((text("path").unwrap_or_default(), ""));
        let site = self
            .site(path)
            .ok_or_else(|| refuse("path", "nothing is at this path"))?;
        let method = Method::from_bytes(text("method").unwrap_or_default().as_bytes()).unwrap_or_default();
        if !Step::is_possible(&site.endpoint, &method) {
            return Err(refuse(
                "method",
                "entities are written at this path by other methods, or not at all",
            ));
        }
        let query = form::pairs(query.as_bytes()).map_err(BodyError::from)?;
        let conditions = Conditions::of(text("if_match"), text("if_none_match"))?;
        let document: Document = operation["body"].as_object().cloned().unwrap_or_default();
        body::bounded(&document)?;
        let arguments = Arguments {
            document,
            texts: false,
        };
        let action = match method {
            Method::DELETE => Action::Delete { query },
            Method::POST => Action::Write(Verb::Create, arguments),
            Method::PUT => Action::Write(Verb::Replace, arguments),
            _ => Action::Write(Verb::Patch, arguments),
        };
        Ok(Step {
            site,
            action,
            conditions,
        })
    }
}
