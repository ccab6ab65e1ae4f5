//! What a test asks a cluster, past the gateways: keys, compaction, users.

use std::sync::PoisonError;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};
use tokio::time::interval;

use super::{AGAIN, Etcd};
use crate::Client;
use crate::deadline::within;

/// What a member says while a change of users is on its way through the cluster, or while a leader is elected. What is
/// asked here may be asked again.
const PASSING: [&str; 4] = [
    "revision of auth store is old",
    "request timed out",
    "no leader",
    "leader changed",
];

impl Etcd {
    /// Writes a key.
    pub async fn put(&self, key: &str, value: &str) {
        let body = json!({ "key": base64(key), "value": base64(value) });
        self.call("/v3/kv/put", &body).await;
    }

    /// Deletes all keys that begin with `prefix`, which ends in a slash.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn delete_all(&self, prefix: &str) {
        let body = json!({ "key": base64(prefix), "range_end": base64(&end_of(prefix)) });
        self.call("/v3/kv/deleterange", &body).await;
    }

    /// The keys that begin with `prefix`, which ends in a slash, in order.
    ///
    /// # Panics
    ///
    /// If it does not.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let body = json!({ "key": base64(prefix), "range_end": base64(&end_of(prefix)), "keys_only": true });
        let found = self.call("/v3/kv/range", &body).await;
        let text = |kv: &Value| {
            let key = kv["key"]
                .as_str()
                .and_then(|key| BASE64_STANDARD.decode(key).ok());
            String::from_utf8_lossy(&key.expect("a key")).into_owned()
        };
        found["kvs"]
            .as_array()
            .map(|kvs| kvs.iter().map(text).collect())
            .unwrap_or_default()
    }

    /// etcd's own revision.
    ///
    /// # Panics
    ///
    /// If it does not tell.
    pub async fn revision(&self) -> u64 {
        let answer = self.call("/v3/kv/range", &json!({ "key": base64("none") })).await;
        let revision = answer["header"]["revision"]
            .as_str()
            .and_then(|text| text.parse().ok());
        revision.expect("every answer has it")
    }

    /// Drops all of etcd's history, as compaction does that an operator or another user of the cluster has set up.
    pub async fn compact(&self) {
        let body = json!({ "revision": self.revision().await.to_string(), "physical": true });
        self.call("/v3/kv/compaction", &body).await;
    }

    /// From now on only users count: `root`, with the password `root`, and each of `users`, a name that is its password
    /// too, who may use what begins with this prefix.
    ///
    /// # Panics
    ///
    /// If the cluster does not take it.
    pub async fn ask_who(&self, users: &[(&str, &str)]) {
        self.add_user("root", "root").await;
        self.call("/v3/auth/role/add", &json!({ "name": "root" })).await;
        self.call("/v3/auth/user/grant", &json!({ "user": "root", "role": "root" }))
            .await;
        for (user, prefix) in users {
            self.add_user(user, user).await;
            self.call("/v3/auth/role/add", &json!({ "name": user })).await;
            let perm = json!({
                "permType": "READWRITE", "key": base64(prefix), "range_end": base64(&end_of(prefix))
            });
            self.call("/v3/auth/role/grant", &json!({ "name": user, "perm": perm }))
                .await;
            self.call("/v3/auth/user/grant", &json!({ "user": user, "role": user }))
                .await;
        }
        self.call("/v3/auth/enable", &json!({})).await;
        self.log_in().await;
    }

    /// Takes a user its role, and so all it may do.
    pub async fn revoke(&self, user: &str) {
        self.log_in().await;
        self.call("/v3/auth/user/revoke", &json!({ "name": user, "role": user }))
            .await;
    }

    /// Gives it back.
    pub async fn grant(&self, user: &str) {
        self.log_in().await;
        self.call("/v3/auth/user/grant", &json!({ "user": user, "role": user }))
            .await;
    }

    /// Calls etcd's JSON interface at a member that runs.
    ///
    /// # Panics
    ///
    /// If none runs, or it refuses.
    pub async fn call(&self, path: &str, body: &Value) -> Value {
        let member = self.awake().next().expect("a member runs");
        self.ask(member, path, body).await
    }

    pub(super) async fn ask(&self, member: usize, path: &str, body: &Value) -> Value {
        let url = format!("http://{}{path}", self.plain(member));
        let asking = async {
            let mut tries = interval(AGAIN);
            loop {
                tries.tick().await;
                let mut call = Client::without_keep_alive().call("POST", &url).json(body);
                if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
                    call = call.header("authorization", token);
                }
                let answer = call.send().await;
                let text = answer.text();
                if !PASSING.iter().any(|passing| text.contains(passing)) {
                    return answer.expect_status(200).json();
                }
            }
        };
        within("etcd to know its users", asking).await
    }

    async fn add_user(&self, name: &str, password: &str) {
        self.call(
            "/v3/auth/user/add",
            &json!({ "name": name, "password": password }),
        )
        .await;
    }

    async fn log_in(&self) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let user = json!({ "name": "root", "password": "root" });
        let token = self.call("/v3/auth/authenticate", &user).await["token"]
            .as_str()
            .map(str::to_owned);
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }
}

fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// The first key after those that begin with `prefix`.
fn end_of(prefix: &str) -> String {
    format!(
        "{}0",
        prefix.strip_suffix('/').expect("a prefix that ends in a slash")
    )
}
