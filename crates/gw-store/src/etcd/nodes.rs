//! What gateways say about themselves, each under a lease that ends when it is silent.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tonic::Status;
use tonic::codegen::tokio_stream;

use super::Shared;
use super::channel::Channel;
use super::client::CallError;
use super::wire::{LeaseGrantRequest, LeaseKeepAliveRequest, TxnRequest, get, put_leased, range, ranges};
use crate::log::{Announced, LogError};

/// What this process has said.
#[derive(Debug, Default)]
pub(super) struct Nodes(Mutex<HashMap<String, Word>>);

#[derive(Clone, Debug)]
struct Word {
    about: Bytes,
    lease: i64,
    seconds: i64,
}

impl Shared {
    pub(super) async fn announce(&self, node: &str, about: Bytes, lasting: Duration) -> Result<(), LogError> {
        let seconds = i64::try_from(lasting.as_secs().max(1)).unwrap_or(i64::MAX);
        let held = self
            .words()
            .get(node)
            .filter(|word| word.seconds == seconds)
            .cloned();
        if let Some(word) = held
            && self.renewed(word.lease).await?
        {
            if word.about == about {
                return Ok(());
            }
            match self.say(node, about.clone(), word.lease, seconds).await {
                // It ended between the two.
                Err(CallError::Refused(_)) => {}
                said => return said.map_err(|error| error.at(self.client.place())),
            }
        }
        let granting = |channel: Channel| {
            let request = channel.request(LeaseGrantRequest { ttl: seconds, id: 0 });
            async move { channel.lease().lease_grant(request).await }
        };
        let place = || self.client.place();
        let granted = self
            .client
            .call(granting)
            .await
            .map_err(|error| error.at(place()))?;
        let said = self.say(node, about, granted.id, seconds).await;
        said.map_err(|error| error.at(place()))
    }

    async fn say(&self, node: &str, about: Bytes, lease: i64, seconds: i64) -> Result<(), CallError> {
        let key = self.keys.node(node);
        self.client
            .txn(TxnRequest {
                success: vec![put_leased(key, about.clone(), lease)],
                ..TxnRequest::default()
            })
            .await?;
        let word = Word {
            about,
            lease,
            seconds,
        };
        self.words().insert(node.to_owned(), word);
        Ok(())
    }

    /// Makes a lease last as long as at first, from now on; tells whether there still is one.
    async fn renewed(&self, lease: i64) -> Result<bool, LogError> {
        let renewing = |channel: Channel| async move {
            let once = tokio_stream::iter([LeaseKeepAliveRequest { id: lease }]);
            let answers = channel.lease().lease_keep_alive(channel.request(once)).await?;
            let answer = answers.into_inner().message().await?;
            answer
                .map(tonic::Response::new)
                .ok_or_else(|| Status::unavailable("etcd ended the lease's stream"))
        };
        match self.client.call(renewing).await {
            Ok(answer) => Ok(answer.ttl > 0),
            Err(CallError::Refused(_)) => Ok(false),
            Err(error) => Err(error.at(self.client.place())),
        }
    }

    pub(super) async fn announced(&self) -> Result<Vec<Announced>, LogError> {
        let (from, end) = self.keys.all_nodes();
        let skip = from.len();
        let answer = self
            .run(TxnRequest {
                success: vec![get(range(from, end, 0))],
                ..TxnRequest::default()
            })
            .await?;
        let found = ranges(answer).next().unwrap_or_default();
        Ok(found
            .kvs
            .into_iter()
            .map(|kv| Announced {
                node: String::from_utf8_lossy(kv.key.get(skip..).unwrap_or_default()).into(),
                about: kv.value,
            })
            .collect())
    }

    fn words(&self) -> std::sync::MutexGuard<'_, HashMap<String, Word>> {
        self.nodes.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
