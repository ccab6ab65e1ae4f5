//! `POST /config/rollback`: a new commit by which everything is as it was at an earlier revision.

use gw_core::{Document, index};
use gw_store::{Op, View};
use serde_json::{Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::body::{self, Arguments};
use crate::changes::{Changes, name_of};
use crate::conditions::State;
use crate::entity::config_tag;
use crate::intent::Intent;
use crate::plan::Worked;
use crate::problem::{Invalid, Problem};

/// Bound: objects that a refusal names.
const MAX_NAMED: usize = 100;

impl AdminApi {
    /// `POST /config/rollback`
    pub(crate) async fn roll_back(&self, sent: &Arguments, mut intent: Intent) -> Result<Answer, Problem> {
        self.refuse_without_database("roll back", "the configuration")?;
        body::only(&sent.document, &["to", "message"])?;
        let to = match sent.document.get("to") {
            Some(Value::String(name)) => name.clone(),
            Some(Value::Number(number)) => number.to_string(),
            _ => {
                return Err(Problem::Argument {
                    why: "name what to go back to, a revision or a tag: {\"to\": 7}",
                });
            }
        };
        // What there was stays what it was: it can be looked for before the commit.
        let then = self.at(&to).await?;
        let revision = then.revision().0;
        if let Some(message) = sent.document.get("message").and_then(Value::as_str) {
            intent.message.get_or_insert_with(|| message.to_owned());
        }
        let named = to.parse::<u64>().is_err();
        let what = if named {
            format!("to revision {revision}, tagged '{to}'")
        } else {
            format!("to revision {revision}")
        };
        let conditions = intent.conditions.clone();
        let work = move |api: &Self, view: &View| {
            conditions.check(State::Tagged(&config_tag(view)))?;
            api.back_to(view, &then)
        };
        if intent.dry_run {
            let answer = self.rehearse(intent.mass_delete, work).await?;
            return Ok(with_goal(answer, revision));
        }
        let (api, before) = (self.clone(), self.store().view());
        let made = self.make(intent.clone(), "roll back", what, work).await?;
        let told = crate::declarative::aside(move || {
            let after = api.store().view();
            Changes::between(&api.entities(&before), &api.entities(&after)).told()
        });
        let mut told = told.await?;
        told.insert("revision".to_owned(), made.revision.0.into());
        let answer = Answer::ok(told.into(), made.revision);
        let answer = self
            .when_served(answer, &intent, made.revision, made.committed)
            .await;
        Ok(with_goal(answer, revision))
    }

    /// The operations by which what is in `view` becomes what was `then`, if all of that would be taken today.
    fn back_to(&self, view: &View, then: &View) -> Result<Worked, Problem> {
        let (mut ops, mut puts) = (Vec::new(), Vec::new());
        let today = self.entities(view);
        for difference in view.differences(then) {
            // Names for revisions, and other notes, are no configuration: they stay.
            if difference.key.is_reserved() {
                continue;
            }
            match difference.after {
                // What is the same but for how it is sealed stays as it is.
                Some(entry) => {
                    let value = today.sealed_again(difference.key.as_str(), &entry.value)?;
                    if difference.before.is_none_or(|before| before.value != value) {
                        puts.push((difference.key.clone(), value));
                    }
                }
                None => ops.push(Op::delete(difference.key.clone())),
            }
        }
        ops.extend(
            puts.iter()
                .map(|(key, value)| Op::put(key.clone(), value.clone())),
        );
        let after = self.store().preview(view, ops.clone());
        let entities = self.entities(&after);
        let mut invalid = Vec::new();
        for (key, value) in &puts {
            if let Err(problem) = entities.recheck(key.as_str()) {
                let (kind, id) = index::split_entity_key(key.as_str()).unwrap_or_default();
                let document: Document = serde_json::from_slice(value).unwrap_or_default();
                let name = self
                    .kinds()
                    .by_name(kind)
                    .and_then(|spec| name_of(spec, &document));
                invalid.push(Invalid {
                    kind: kind.into(),
                    id: id.to_owned(),
                    name: name.map(str::to_owned),
                    problem: Box::new(problem),
                });
            }
            if invalid.len() == MAX_NAMED {
                break;
            }
        }
        if !invalid.is_empty() {
            return Err(Problem::NoLongerValid(invalid));
        }
        Ok(Worked {
            ops,
            after,
            left: Vec::new(),
        })
    }
}

fn with_goal(mut answer: Answer, to: u64) -> Answer {
    if let Some(Value::Object(body)) = &mut answer.body {
        body.insert("to".to_owned(), json!(to));
    }
    answer
}
