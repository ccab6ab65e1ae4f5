//! `/config/reseal`: how secrets are stored; and what an older key has sealed, or none has, is sealed with the key that
//! seals now.

use gw_core::{Document, Kind};
use gw_store::{Op, View};
use serde_json::{Value, json};

use crate::AdminApi;
use crate::answer::Answer;
use crate::entity::written;
use crate::intent::Intent;
use crate::problem::Problem;

/// Bound: entities of one commit. Other writers get their turn between two.
const BATCH: usize = 500;

/// How secrets are stored.
#[derive(Default)]
struct Stored {
    /// Sealed with the key that seals now.
    current: usize,
    older: usize,
    clear: usize,
    /// Those that were sealed anew.
    resealed: usize,
    /// Entities with secrets that cannot be opened.
    unopened: Vec<Value>,
}

/// A part of the entities of a kind.
struct Batch {
    ops: Vec<Op>,
    stored: Stored,
    /// The last key that was looked at; none if nothing comes after it.
    next: Option<String>,
}

impl AdminApi {
    /// `GET /config/reseal`
    pub(crate) async fn sealing(&self) -> Result<Answer, Problem> {
        let api = self.clone();
        let told = tokio::task::spawn_blocking(move || {
            let view = api.store().view();
            let mut stored = Stored::default();
            for kind in api.secretive() {
                stored.add(api.batch(&view, kind, None, usize::MAX)?.stored);
            }
            stored.resealed = 0;
            Ok(Answer::ok(api.told(stored), view.revision()))
        });
        told.await.map_err(|error| {
            tracing::error!(%error, "how secrets are stored was not found out");
            Problem::Internal
        })?
    }

    /// `POST /config/reseal`
    pub(crate) async fn reseal(&self, intent: &Intent) -> Result<Answer, Problem> {
        if intent.dry_run {
            return self.sealing().await;
        }
        if self.kinds().keyring().is_none() {
            return Err(Problem::Argument {
                why: "there is nothing to seal with; start the gateway with --keyring",
            });
        }
        if self.options().without_database {
            return Err(Problem::WithoutDatabase {
                verb: "reseal",
                what: "secrets".to_owned(),
            });
        }
        let mut stored = Stored::default();
        for kind in self.secretive() {
            let mut after = None;
            loop {
                let batch = self.reseal_some(intent, kind, after.as_deref()).await?;
                stored.add(batch.stored);
                after = batch.next;
                if after.is_none() {
                    break;
                }
            }
        }
        Ok(Answer::ok(self.told(stored), self.store().view().revision()))
    }

    /// The kinds whose entities may have secrets.
    fn secretive(&self) -> Vec<Kind> {
        let kinds = self.kinds().iter().map(|spec| spec.kind);
        kinds.filter(|kind| self.kinds().has_secrets(*kind)).collect()
    }

    fn told(&self, stored: Stored) -> Value {
        let key = self.kinds().keyring().and_then(|keyring| keyring.names().next());
        json!({
            "key": key,
            "sealed": stored.current,
            "sealed_with_older_keys": stored.older,
            "in_clear_text": stored.clear,
            "resealed": stored.resealed,
            "unopened": stored.unopened,
        })
    }

    async fn reseal_some(&self, intent: &Intent, kind: Kind, after: Option<&str>) -> Result<Batch, Problem> {
        let mut made = None;
        let what = format!("the secrets of {kind}");
        let committed = self.commit_ops(intent, "reseal", what, |view| {
            let mut batch = self.batch(view, kind, after, BATCH)?;
            let ops = std::mem::take(&mut batch.ops);
            made = Some(batch);
            Ok(ops)
        });
        let (revision, changed) = committed.await?;
        if changed {
            // Bound: it says by itself when that takes too long.
            let _in_time: bool = self.is_served(revision).await;
        }
        let mut batch = made.ok_or(Problem::Internal)?;
        // What was sealed anew is no longer what it was before.
        batch.stored.current = batch.stored.current.saturating_add(batch.stored.resealed);
        let old = batch.stored.older.saturating_add(batch.stored.clear);
        batch.stored.older = old.saturating_sub(batch.stored.resealed);
        batch.stored.clear = 0;
        Ok(batch)
    }

    /// The operations for the next entities of a kind. What is stored stays as it is but for its secrets.
    fn batch(&self, view: &View, kind: Kind, after: Option<&str>, most: usize) -> Result<Batch, Problem> {
        let mut batch = Batch {
            ops: Vec::new(),
            stored: Stored::default(),
            next: None,
        };
        for (key, entry) in view.list(&format!("{kind}/"), after) {
            if batch.ops.len() == most {
                return Ok(batch);
            }
            batch.next = Some(key.as_str().to_owned());
            // What is no document the node reports as what it cannot serve.
            if let Ok(document) = serde_json::from_slice::<Document>(&entry.value) {
                let resealed = self.resealed(kind, document, &mut batch.stored)?;
                batch
                    .ops
                    .extend(resealed.map(|document| Op::put(key.clone(), written(document))));
            }
        }
        batch.next = None;
        Ok(batch)
    }

    /// A document with its secrets sealed as they should be; none if they are.
    fn resealed(
        &self,
        kind: Kind,
        mut document: Document,
        stored: &mut Stored,
    ) -> Result<Option<Document>, Problem> {
        let kinds = self.kinds();
        let found = kinds.sealing(kind, &mut document);
        let before = Value::Object(document.clone());
        if let Err(violations) = kinds.open(kind, &mut document) {
            let fields: Vec<Value> = violations
                .iter()
                .map(|one| json!({ "field": one.field(), "message": one.message }))
                .collect();
            let id = document.get("id");
            stored
                .unopened
                .push(json!({ "entity_name": kind.name(), "entity_id": id, "fields": fields }));
        }
        kinds.seal(kind, &mut document, Some(&before)).map_err(|error| {
            tracing::error!(%kind, %error, "nothing was stored");
            Problem::Internal
        })?;
        let anew = kinds
            .sealing(kind, &mut document)
            .current
            .saturating_sub(found.current);
        stored.add(Stored {
            current: found.current,
            older: found.older,
            clear: found.clear,
            resealed: anew,
            unopened: Vec::new(),
        });
        Ok((anew > 0).then_some(document))
    }
}

impl Stored {
    fn add(&mut self, other: Self) {
        self.current = self.current.saturating_add(other.current);
        self.older = self.older.saturating_add(other.older);
        self.clear = self.clear.saturating_add(other.clear);
        self.resealed = self.resealed.saturating_add(other.resealed);
        self.unopened.extend(other.unopened);
    }
}
