//! The API under test, and `check`.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use gw_admin::ports::{
    Accepting, Alarm, Applied, Cluster, ClusterError, ClusterNode, Counters, Explanation, Forecast,
    Foresight, Health, KnownName, LogLevel, Names, Node, ObjectProblem, Overlap, Planned, Problems, Question,
    Reports, Routing, SetHealthError, Status, UpstreamHealth, Word,
};
use gw_admin::{AdminApi, AdminOptions, StoreIndex};
use gw_core::{Keyring, Kinds};
use gw_plugins::{BuildEnv, BuildError, Definition, Phases, Plugin, Registry};
use gw_store::{CommitLog, MemoryLog, Op, Store, View};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

pub(crate) const FORM: &str = "application/x-www-form-urlencoded";
pub(crate) const JSON: &str = "application/json";
pub(crate) const ABSENT: &str = "00000000-0000-4000-8000-000000000000";

/// A data plane that follows at once, or not at all.
#[derive(Debug, Default)]
pub(crate) struct FakePlane {
    pub(crate) stalled: AtomicBool,
    pub(crate) panics: AtomicBool,
    pub(crate) waited_for: AtomicU64,
    pub(crate) levels: Mutex<Vec<(LogLevel, Option<Duration>)>>,
    /// Of every upstream; none knows of none, and takes whatever is set.
    pub(crate) health: Mutex<Option<UpstreamHealth>>,
    /// Whether the health of targets is not judged at all.
    pub(crate) unchecked: AtomicBool,
    /// What was set, as text.
    pub(crate) set: Mutex<Vec<String>>,
    pub(crate) names: Mutex<Vec<KnownName>>,
    /// What is said of every request, and what was asked.
    pub(crate) explanation: Mutex<Explanation>,
    pub(crate) asked: Mutex<Vec<Question>>,
    pub(crate) overlaps: Mutex<Vec<Overlap>>,
    /// What is foreseen of every change, and the changes that were asked about.
    pub(crate) forecast: Mutex<Forecast>,
    pub(crate) planned: Mutex<Vec<Planned>>,
    /// The nodes that are alive, and those of them that never serve anything new.
    pub(crate) nodes: Mutex<Vec<ClusterNode>>,
    pub(crate) behind: Mutex<Vec<ClusterNode>>,
    /// Whether nobody knows of the nodes.
    pub(crate) lost: AtomicBool,
    pub(crate) problems: Mutex<Vec<ObjectProblem>>,
    pub(crate) alarms: Mutex<Vec<Alarm>>,
    /// How much may go without a word; none = all.
    pub(crate) most_deleted: Mutex<Option<usize>>,
    /// What is held back.
    pub(crate) held: Mutex<Option<u64>>,
    /// The word by which something was accepted.
    pub(crate) word: Mutex<Option<Word>>,
}

impl Applied for FakePlane {
    fn wait(&self, revision: u64) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        self.waited_for.store(revision, Ordering::Relaxed);
        let stalled = self.stalled.load(Ordering::Relaxed);
        Box::pin(async move {
            if stalled {
                std::future::pending::<()>().await;
            }
        })
    }

    fn revision(&self) -> u64 {
        if self.stalled.load(Ordering::Relaxed) {
            0
        } else {
            u64::MAX
        }
    }
}

impl Status for FakePlane {
    fn node(&self) -> Node {
        Node {
            id: uuid::Uuid::nil(),
            hostname: "here".into(),
        }
    }

    fn counters(&self) -> Counters {
        Counters {
            requests: 7,
            ..Counters::default()
        }
    }

    fn settings(&self) -> Value {
        assert!(!self.panics.load(Ordering::Relaxed), "asked to");
        json!({ "database": "redb", "router_flavor": "kong" })
    }
}

impl Reports for FakePlane {
    fn log_level(&self) -> String {
        let levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.last().map_or("info".to_owned(), |(level, _)| {
            format!("{level:?}").to_lowercase()
        })
    }

    fn set_log_level(&self, level: LogLevel, lasting: Option<Duration>) {
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        levels.push((level, lasting));
    }

    fn metrics(&self) -> String {
        METRICS.to_owned()
    }
}

/// What a fake node has counted.
pub(crate) const METRICS: &str = "# nothing\n";

impl Routing for FakePlane {
    fn explain(&self, question: &Question) -> Explanation {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.push(question.clone());
        self.explanation
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn overlaps(&self) -> Vec<Overlap> {
        self.overlaps
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn overlaps_of(&self, route: uuid::Uuid) -> Vec<Overlap> {
        let mut overlaps = self.overlaps();
        overlaps.retain(|overlap| overlap.routes.iter().any(|named| named.id == route));
        overlaps
    }
}

impl Foresight for FakePlane {
    fn foresee(&self, changes: &[Planned]) -> Forecast {
        *held(&self.planned) = changes.to_vec();
        held(&self.forecast).clone()
    }
}

type Nodes<'a> = Pin<Box<dyn Future<Output = Result<Vec<ClusterNode>, ClusterError>> + Send + 'a>>;

impl FakePlane {
    fn told(&self, nodes: &Mutex<Vec<ClusterNode>>) -> Result<Vec<ClusterNode>, ClusterError> {
        if self.lost.load(Ordering::Relaxed) {
            return Err(ClusterError {
                why: "no answer".into(),
            });
        }
        Ok(held(nodes).clone())
    }
}

impl Cluster for FakePlane {
    fn nodes(&self) -> Nodes<'_> {
        Box::pin(async { self.told(&self.nodes) })
    }

    fn served_by_all(&self, revision: u64, within: Duration) -> Nodes<'_> {
        self.waited_for.store(revision, Ordering::Relaxed);
        Box::pin(async move {
            let behind = self.told(&self.behind)?;
            if !behind.is_empty() {
                tokio::time::sleep_until(tokio::time::Instant::now() + within).await;
            }
            Ok(behind)
        })
    }
}

impl Problems for FakePlane {
    fn problems(&self) -> Vec<ObjectProblem> {
        held(&self.problems).clone()
    }

    fn alarms(&self) -> Vec<Alarm> {
        held(&self.alarms).clone()
    }

    fn too_much(&self, _: &View, changes: &[Op]) -> Option<Box<str>> {
        let most = (*held(&self.most_deleted))?;
        let deleted = changes
            .iter()
            .filter(|op| matches!(op, Op::Delete { .. }))
            .count();
        (deleted > most).then(|| format!("{deleted} objects").into())
    }

    fn accept(&self, word: Word) -> Accepting<'_> {
        *held(&self.word) = Some(word);
        Box::pin(async { Ok(held(&self.held).take()) })
    }
}

pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Names for FakePlane {
    fn names(&self) -> Vec<KnownName> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Health for FakePlane {
    fn health(&self, _: uuid::Uuid) -> Option<UpstreamHealth> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_health(
        &self,
        upstream: uuid::Uuid,
        target: &str,
        address: Option<SocketAddr>,
        healthy: bool,
    ) -> Result<(), SetHealthError> {
        if self.unchecked.load(Ordering::Relaxed) {
            return Err(SetHealthError::NotChecked);
        }
        let Some(health) = self.health(upstream) else {
            return Ok(());
        };
        let known = health.targets.iter().find(|known| *known.target == *target);
        let known = known.filter(|known| {
            address.is_none_or(|address| known.addresses.iter().any(|known| known.address == address))
        });
        known.ok_or(SetHealthError::NoTarget)?;
        let mut set = self.set.lock().unwrap_or_else(PoisonError::into_inner);
        set.push(format!("{upstream} {target} {address:?} {healthy}"));
        Ok(())
    }
}

/// The plugins of the gateway under test.
pub(crate) fn plugins() -> Registry {
    shared().0.clone()
}

/// The kinds of the gateway under test.
pub(crate) fn kinds() -> Kinds {
    shared().1.clone()
}

/// Compiled once for all tests: schemas take their time where nothing is optimised.
fn shared() -> &'static (Registry, Kinds) {
    static SHARED: OnceLock<(Registry, Kinds)> = OnceLock::new();
    SHARED.get_or_init(|| {
        let registry = Registry::builtin()
            .with::<Bomb>()
            .with::<Idle<false>>()
            .with::<Idle<true>>();
        let kinds = registry.kinds().unwrap();
        (registry, kinds)
    })
}

#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) api: AdminApi,
    pub(crate) store: Store,
    pub(crate) plane: Arc<FakePlane>,
}

impl Admin {
    pub(crate) async fn new() -> Self {
        Self::over(Arc::new(MemoryLog::new())).await
    }

    /// An Admin API of its own over a log that others may write to as well.
    pub(crate) async fn over(log: Arc<dyn CommitLog>) -> Self {
        Self::with(log, plugins()).await
    }

    /// An Admin API of its own over a log, with these of the plugins.
    pub(crate) async fn with(log: Arc<dyn CommitLog>, registry: Registry) -> Self {
        Self::made(log, registry, kinds()).await
    }

    /// An Admin API of its own over a log, with this keyring; none if it is empty.
    pub(crate) async fn sealing(log: Arc<dyn CommitLog>, keyring: &str) -> Self {
        let kinds = match keyring {
            "" => kinds(),
            keyring => kinds().sealed_with(Keyring::parse(keyring).unwrap()),
        };
        Self::made(log, plugins(), kinds).await
    }

    async fn made(log: Arc<dyn CommitLog>, registry: Registry, kinds: Kinds) -> Self {
        let store = Store::open(log, StoreIndex::new(kinds.clone())).await.unwrap();
        let plane = Arc::new(FakePlane::default());
        Self {
            api: AdminApi::new(store.clone(), registry, kinds, plane.clone()),
            store,
            plane,
        }
    }

    /// One whose configuration comes as a whole.
    pub(crate) async fn without_database() -> Self {
        let mut admin = Self::new().await;
        let mut options = AdminOptions::default();
        options.without_database = true;
        admin.api = AdminApi::with(
            admin.store.clone(),
            plugins(),
            kinds(),
            admin.plane.clone(),
            options,
        );
        admin
    }

    pub(crate) fn revision(&self) -> u64 {
        self.store.info().revision.0
    }

    /// Sends a request as it is, and returns head and body of the answer.
    pub(crate) async fn raw(&self, request: Request<Full<Bytes>>) -> (Response<()>, Bytes) {
        let (head, body) = self.api.handle(request).await.into_parts();
        (
            Response::from_parts(head, ()),
            body.collect().await.unwrap().to_bytes(),
        )
    }

    /// `call` is a method and a path; what has no body answers null.
    pub(crate) async fn send(&self, call: &str, media: &str, body: &str) -> (u16, Value) {
        let (method, path) = call.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        if !media.is_empty() {
            request = request.header("content-type", media);
        }
        let (head, body) = self.raw(request.body(Full::from(body.to_owned())).unwrap()).await;
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        (head.status().as_u16(), value)
    }

    /// Sends JSON (null: no body) with headers, and returns status, headers and document of the answer.
    pub(crate) async fn with_headers(
        &self,
        call: &str,
        headers: &[(&str, &str)],
        body: Value,
    ) -> (u16, HeaderMap, Value) {
        let (method, path) = call.split_once(' ').unwrap();
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let mut text = String::new();
        if !body.is_null() {
            request = request.header("content-type", JSON);
            text = body.to_string();
        }
        let (head, body) = self.raw(request.body(Full::from(text)).unwrap()).await;
        let value = if body.is_empty() {
            Value::Null
        } else {
            serde_json::from_slice(&body).unwrap()
        };
        (head.status().as_u16(), head.headers().clone(), value)
    }

    /// The ETag that a path answers with.
    pub(crate) async fn tag(&self, path: &str) -> String {
        let (status, headers, answer) = self.with_headers(&format!("GET {path}"), &[], Value::Null).await;
        assert_eq!(status, 200, "{path}: {answer}");
        let tag = headers
            .get("etag")
            .unwrap_or_else(|| panic!("{path} has no ETag"));
        tag.to_str().unwrap().to_owned()
    }

    pub(crate) async fn json(&self, call: &str, body: Value) -> (u16, Value) {
        self.send(call, JSON, &body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> (u16, Value) {
        self.send(&format!("GET {path}"), "", "").await
    }

    /// Sends JSON (null: no body), checks the status and that the answer holds `expected`, and returns the answer.
    pub(crate) async fn check(&self, call: &str, body: Value, status: u16, expected: Value) -> Value {
        let text = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let (found, answer) = self
            .send(call, if body.is_null() { "" } else { JSON }, &text)
            .await;
        assert_eq!(found, status, "{call} {body}: {answer:#}");
        assert_holds(&answer, &expected, &format!("{call} {body}"));
        answer
    }

    /// As [`Admin::check`], with a form.
    pub(crate) async fn check_form(&self, call: &str, form: &str, status: u16, expected: Value) -> Value {
        let (found, answer) = self
            .send(call, if form.is_empty() { "" } else { FORM }, form)
            .await;
        assert_eq!(found, status, "{call} {form}: {answer:#}");
        assert_holds(&answer, &expected, &format!("{call} {form}"));
        answer
    }

    /// Creates an entity and returns its id.
    pub(crate) async fn make(&self, path: &str, body: Value) -> String {
        id(&self.check(&format!("POST {path}"), body, 201, json!({})).await)
    }

    /// How many entities a list holds.
    pub(crate) async fn count(&self, path: &str) -> usize {
        let (status, list) = self.get(path).await;
        assert_eq!(status, 200, "{path}: {list}");
        list["data"].as_array().unwrap().len()
    }
}

/// A plugin that cannot be made without a panic.
#[derive(Debug)]
struct Bomb;

impl Definition for Bomb {
    const NAME: &'static str = "bomb";
    const PRIORITY: i32 = 1;
    const PHASES: Phases = Phases::of(&[]);
    const SCHEMA: &'static str = r#"{ "type": "object" }"#;
    type Config = Value;

    fn build(_: Value, _: &BuildEnv) -> Result<Self, BuildError> {
        panic!("made to")
    }
}

impl Plugin for Bomb {
    type State = ();
}

/// A plugin that does nothing, for anyone.
#[derive(Debug)]
struct Idle<const TOO: bool>;

impl<const TOO: bool> Definition for Idle<TOO> {
    const NAME: &'static str = if TOO { "idle-too" } else { "idle" };
    const PRIORITY: i32 = 0;
    const PHASES: Phases = Phases::of(&[]);
    const SCHEMA: &'static str = r#"{ "type": "object", "additionalProperties": false, "properties": {} }"#;
    type Config = Value;

    fn build(_: Value, _: &BuildEnv) -> Result<Self, BuildError> {
        Ok(Self)
    }
}

impl<const TOO: bool> Plugin for Idle<TOO> {
    type State = ();
}

/// A PEM file of the entities' own tests.
pub(crate) fn pem(name: &str) -> String {
    let path = format!(
        "{}/../gw-core/tests/fixtures/pem/{name}",
        env!("CARGO_MANIFEST_DIR")
    );
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The body of a certificate with its key, by the name of their files.
pub(crate) fn pair(name: &str) -> Value {
    json!({ "cert": pem(&format!("{name}.crt")), "key": pem(&format!("{name}.key")) })
}

/// One of each kind that a path can name, all tied to each other, and the names paths have for them.
pub(crate) async fn one_of_each(admin: &Admin) -> BTreeMap<&'static str, String> {
    let text = |document: &Value| id(document);
    let certificate = with(pair("rsa"), json!({ "snis": ["a.test"], "tags": ["t"] }));
    let certificate = text(
        &admin
            .check("POST /certificates", certificate, 201, json!({}))
            .await,
    );
    let authority = admin
        .make("/ca_certificates", json!({ "cert": pem("ca.crt") }))
        .await;
    let service = json!({
        "name": "s", "host": "a", "protocol": "https", "client_certificate": { "id": certificate },
        "ca_certificates": [authority], "tags": ["t", "u"],
    });
    admin.make("/services", service).await;
    admin
        .make("/services/s/routes", json!({ "name": "r", "paths": ["/"] }))
        .await;
    let upstream = json!({ "name": "u", "client_certificate": { "id": certificate } });
    admin.make("/upstreams", upstream).await;
    admin
        .make("/upstreams/u/targets", json!({ "target": "t:80" }))
        .await;
    admin
        .make("/consumers", json!({ "username": "c", "tags": ["t"] }))
        .await;
    let plugin = json!({ "name": "idle-too", "instance_name": "pc" });
    admin.make("/consumers/c/plugins", plugin).await;
    admin.make("/consumers/c/key-auth", json!({ "key": "k" })).await;
    let basic = json!({ "username": "ba", "password": "secret" });
    admin.make("/consumers/c/basic-auth", basic).await;
    admin.make("/consumers/c/jwt", json!({ "key": "jw" })).await;
    admin
        .make("/consumers/c/hmac-auth", json!({ "username": "ha" }))
        .await;
    let acl = admin.make("/consumers/c/acls", json!({ "group": "g" })).await;
    for (path, name) in [
        ("/plugins", "p"),
        ("/routes/r/plugins", "pr"),
        ("/services/s/plugins", "ps"),
    ] {
        let plugin = json!({ "name": "key-auth", "instance_name": name });
        admin.make(path, plugin).await;
    }
    admin.make("/consumer_groups", json!({ "name": "gold" })).await;
    let member = json!({ "consumer": "c" });
    admin
        .check("POST /consumer_groups/gold/consumers", member, 201, json!({}))
        .await;
    let plugin = json!({ "name": "idle-too", "instance_name": "pg" });
    admin.make("/consumer_groups/gold/plugins", plugin).await;
    let vault = json!({ "prefix": "v1", "name": "env" });
    admin.make("/vaults", vault).await;
    admin.make("/key-sets", json!({ "name": "set" })).await;
    let key = json!({ "name": "key", "kid": "1", "jwk": jwk("1") });
    admin.make("/key-sets/set/keys", key).await;
    for (path, name) in [
        ("/routes/r/filter-chains", "fr"),
        ("/services/s/filter-chains", "fs"),
    ] {
        let chain = json!({ "name": name, "filters": [{ "name": "f" }] });
        admin.make(path, chain).await;
    }
    let named = |name: &str| name.to_owned();
    BTreeMap::from([
        ("services", named("s")),
        ("routes", named("r")),
        ("upstreams", named("u")),
        ("targets", named("t:80")),
        ("consumers", named("c")),
        ("key-auths", named("k")),
        ("basic-auths", named("ba")),
        ("jwts", named("jw")),
        ("hmac-auths", named("ha")),
        ("plugins", named("p")),
        ("snis", named("a.test")),
        ("consumer_groups", named("gold")),
        ("vaults", named("v1")),
        ("key-sets", named("set")),
        ("keys", named("key")),
        ("filter-chains", named("fr")),
        ("certificates", certificate),
        ("ca_certificates", authority),
        ("acls", acl),
    ])
}

/// The text of a public JSON web key.
pub(crate) fn jwk(kid: &str) -> String {
    json!({ "kty": "OKP", "crv": "Ed25519", "kid": kid, "x": "open" }).to_string()
}

/// A record with the fields of another laid over it.
pub(crate) fn with(mut record: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    record.as_object_mut().unwrap().extend(more);
    record
}

pub(crate) fn id(answer: &Value) -> String {
    answer["id"].as_str().unwrap().to_owned()
}

/// Every field of `expected` is in `found`, at every depth; lists are equal.
#[track_caller]
pub(crate) fn assert_holds(found: &Value, expected: &Value, what: &str) {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            for (name, expected) in expected {
                let Some(found) = found.get(name) else {
                    panic!("{what}: no `{name}` in {found:?}")
                };
                assert_holds(found, expected, &format!("{what} /{name}"));
            }
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            found
                .iter()
                .zip(expected)
                .for_each(|(found, expected)| assert_holds(found, expected, what));
        }
        _ => assert_eq!(found, expected, "{what}"),
    }
}
