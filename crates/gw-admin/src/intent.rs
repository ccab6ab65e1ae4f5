//! What a request says of the change it asks for: who wants it and why, under which conditions, and whether to make it.

use std::time::Duration;

use http::request::Parts;
use http::{HeaderMap, HeaderName};
use uuid::Uuid;

use crate::conditions::Conditions;
use crate::problem::Problem;

const AUTHOR: HeaderName = HeaderName::from_static("x-config-author");
const MESSAGE: HeaderName = HeaderName::from_static("x-config-message");
/// Of whoever calls; handed through to the history and the answer.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Who makes a change that nobody signs.
const NOBODY: &str = "admin-api";

/// Bounds: bytes of these headers.
const MAX_AUTHOR: usize = 256;
const MAX_MESSAGE: usize = 4096;
const MAX_REQUEST_ID: usize = 128;

/// How long all nodes are waited for unless the request says.
const PATIENCE: Duration = Duration::from_secs(10);

/// Bound: how long they may be waited for.
const MAX_PATIENCE: Duration = Duration::from_secs(60);

/// What a request says of the change it asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Intent {
    /// Who makes it.
    pub(crate) author: String,
    /// What for; none if nothing is said.
    pub(crate) message: Option<String>,
    /// The request's own name.
    pub(crate) request: String,
    pub(crate) conditions: Conditions,
    /// Tell what would change, and change nothing.
    pub(crate) dry_run: bool,
    /// Take much away, and mean it: no node holds it back.
    pub(crate) mass_delete: bool,
    /// How long to wait for every node; none = for this one only.
    pub(crate) everywhere: Option<Duration>,
}

impl Intent {
    /// That of a request.
    pub(crate) fn read(head: &Parts, query: &[(String, String)]) -> Result<Self, Problem> {
        let headers = &head.headers;
        Ok(Self {
            author: text(
                headers,
                &AUTHOR,
                MAX_AUTHOR,
                "X-Config-Author must be 1 to 256 bytes of UTF-8 text",
            )?
            .unwrap_or_else(|| NOBODY.to_owned()),
            message: text(
                headers,
                &MESSAGE,
                MAX_MESSAGE,
                "X-Config-Message must be 1 to 4096 bytes of UTF-8 text",
            )?,
            request: request_id(headers),
            conditions: Conditions::read(headers)?,
            dry_run: flag(
                query,
                "dry_run",
                "invalid dry_run; use 1 to be told what would change, or 0",
            )?,
            mass_delete: flag(
                query,
                "allow_mass_delete",
                "invalid allow_mass_delete; use 1 to say that much is meant to go, or 0",
            )?,
            everywhere: everywhere(query)?,
        })
    }

    /// That of a change that nobody asked for by a request.
    pub(crate) fn of(author: &str) -> Self {
        Self {
            author: author.to_owned(),
            message: None,
            request: String::new(),
            conditions: Conditions::default(),
            dry_run: false,
            mass_delete: false,
            everywhere: None,
        }
    }
}

/// The name that a request has, or gets.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    match given.filter(|id| (1..=MAX_REQUEST_ID).contains(&id.len())) {
        Some(id) => id.to_owned(),
        None => Uuid::new_v4().simple().to_string(),
    }
}

/// A header that people write.
fn text(
    headers: &HeaderMap,
    name: &HeaderName,
    limit: usize,
    why: &'static str,
) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    let text = std::str::from_utf8(value.as_bytes()).map(str::trim);
    match text {
        Ok(text) if (1..=limit).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err(Problem::Argument { why }),
    }
}

/// An argument that says yes or no.
pub(crate) fn flag(query: &[(String, String)], name: &str, why: &'static str) -> Result<bool, Problem> {
    let given = query.iter().find(|(known, _)| known == name);
    match given.map(|(_, value)| value.as_str()) {
        None | Some("0" | "false") => Ok(false),
        Some("1" | "true" | "") => Ok(true),
        Some(_) => Err(Problem::Argument { why }),
    }
}

/// `?wait=cluster&timeout=10`
fn everywhere(query: &[(String, String)]) -> Result<Option<Duration>, Problem> {
    let argument = |name: &str| {
        query
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, value)| value.as_str())
    };
    match argument("wait") {
        None | Some("node") => return Ok(None),
        Some("cluster") => {}
        Some(_) => {
            return Err(Problem::Argument {
                why: "invalid wait; use 'cluster' to wait for every node, or 'node' for this one",
            });
        }
    }
    let Some(text) = argument("timeout") else {
        return Ok(Some(PATIENCE));
    };
    let seconds = text.parse::<f64>().ok();
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match timeout.filter(|timeout| *timeout <= MAX_PATIENCE) {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(Problem::Argument {
            why: "invalid timeout; use a number of seconds from 0 to 60",
        }),
    }
}
