//! The body of a batch: what it asks for, and what is wrong with it, in APISIX's words where it has some.

use std::collections::BTreeMap;

use bytes::Bytes;
use form_urlencoded::Serializer;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, MaxSizeReached};
use http::uri::PathAndQuery;
use http::{Method, Request, Uri, Version};
use serde_json::{Map, Value};

use crate::builtin::composition;

/// How long one request may take, unless the body says so.
const TIMEOUT: u64 = 30_000;

/// Bound: headers, and arguments of the query, of a batch and of each of its requests.
const MOST_FIELDS: usize = 100;

const METHODS: [&str; 9] = [
    "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE",
];

/// A batch that has been read.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) timeout: u64,
    pub(super) common: Common,
    pub(super) items: Vec<Item>,
}

/// What the requests have that do not say otherwise.
#[derive(Debug)]
pub(super) struct Common {
    query: Query,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// The arguments of a query by their names, in the form of a URI.
type Query = BTreeMap<String, String>;

/// A request of the batch.
#[derive(Debug)]
pub(super) struct Item {
    method: Method,
    version: Version,
    target: PathAndQuery,
    query: Query,
    headers: Vec<(HeaderName, HeaderValue)>,
    body: Bytes,
    is_json: bool,
}

impl Batch {
    pub(super) fn read(body: Option<&Bytes>, most: usize) -> Result<Self, String> {
        let body = body.filter(|body| !body.is_empty());
        let body = body.ok_or("no request body, you should give at least one pipeline setting")?;
        let document: Value = serde_json::from_slice(body).map_err(|error| {
            let shown: String = String::from_utf8_lossy(body).chars().take(200).collect();
            format!("invalid request body: {shown}, err: {error}")
        })?;
        Self::of(document, most).map_err(|error| format!("bad request body: {error}"))
    }

    fn of(document: Value, most: usize) -> Result<Self, String> {
        let Value::Object(mut fields) = document else {
            return Err("wrong type: expected object".to_owned());
        };
        let Some(pipeline) = fields.remove("pipeline") else {
            return Err("object matches none of the required: [\"pipeline\"]".to_owned());
        };
        let Value::Array(pipeline) = pipeline else {
            return Err(wrong("pipeline", "array"));
        };
        if pipeline.is_empty() {
            return Err(
                "property \"pipeline\" validation failed: expect array to have at least 1 items".to_owned(),
            );
        }
        if pipeline.len() > most {
            return Err(format!(
                "property \"pipeline\" validation failed: expect array to have at most {most} items"
            ));
        }
        let timeout = match fields.remove("timeout") {
            None => TIMEOUT,
            Some(timeout) => timeout
                .as_u64()
                .filter(|time| *time > 0)
                .ok_or_else(|| wrong("timeout", "integer"))?,
        };
        let common = Common {
            query: query(object(&mut fields, "query")?)?,
            headers: headers(object(&mut fields, "headers")?)?,
        };
        let items = pipeline.into_iter().zip(1..).map(|(item, place)| {
            Item::of(item, &common).map_err(|error| {
                format!("property \"pipeline\" validation failed: failed to validate item {place}: {error}")
            })
        });
        Ok(Self {
            timeout,
            items: items.collect::<Result<_, _>>()?,
            common,
        })
    }
}

impl Item {
    /// The request: what it does not say of itself is as the batch says, then as the request with these headers.
    ///
    /// # Errors
    /// It has more headers than there can be.
    pub(super) fn request(
        self,
        common: &Common,
        outer: &HeaderMap,
    ) -> Result<Request<Bytes>, MaxSizeReached> {
        let uri = self.uri(&common.query);
        let mut request = Request::new(self.body);
        *request.method_mut() = self.method;
        *request.version_mut() = self.version;
        *request.uri_mut() = uri.unwrap_or_else(|| Uri::from(self.target));
        let headers = request.headers_mut();
        add(headers, self.headers.iter().map(|(name, value)| (name, value)))?;
        add(headers, common.headers.iter().map(|(name, value)| (name, value)))?;
        add(headers, composition::inherited(outer))?;
        if self.is_json && !headers.contains_key(CONTENT_TYPE) {
            headers.try_insert(CONTENT_TYPE, super::JSON)?;
        }
        Ok(request)
    }

    /// Its path and query with those of the batch that it does not have itself; none if no URI can be so long.
    fn uri(&self, common: &Query) -> Option<Uri> {
        let own = self.target.query();
        let theirs = common.iter().filter(|(name, _)| !self.query.contains_key(*name));
        let more: BTreeMap<&String, &String> = theirs.chain(&self.query).collect();
        let more = more.into_values().map(String::as_str);
        let query: Vec<&str> = own
            .into_iter()
            .chain(more)
            .filter(|piece| !piece.is_empty())
            .collect();
        if query.is_empty() {
            return Some(Uri::from(self.target.clone()));
        }
        let text = format!("{}?{}", self.target.path(), query.join("&"));
        text.parse().ok()
    }

    fn of(document: Value, common: &Common) -> Result<Self, String> {
        let Value::Object(mut fields) = document else {
            return Err("wrong type: expected object".to_owned());
        };
        let method = match fields.remove("method") {
            None => Method::GET,
            Some(method) => {
                let known = method.as_str().filter(|method| METHODS.contains(method));
                let known = known.and_then(|method| method.parse().ok());
                known.ok_or("property \"method\" validation failed: matches none of the enum values")?
            }
        };
        let version = match fields.remove("version").map(|version| version.as_f64()) {
            None | Some(Some(1.1)) => Version::HTTP_11,
            Some(Some(1.0)) => Version::HTTP_10,
            Some(_) => {
                return Err(
                    "property \"version\" validation failed: matches none of the enum values".to_owned(),
                );
            }
        };
        if fields
            .remove("ssl_verify")
            .is_some_and(|verify| !verify.is_boolean())
        {
            return Err(wrong("ssl_verify", "boolean"));
        }
        let path = fields.remove("path").unwrap_or_else(|| "/".into());
        let path = path.as_str().ok_or_else(|| wrong("path", "string"))?;
        let target = path.parse().ok().filter(|_| path.starts_with('/'));
        let target =
            target.ok_or("property \"path\" validation failed: expected a path that begins with a slash")?;
        let (body, is_json) = match fields.remove("body") {
            None | Some(Value::Null) => (Bytes::new(), false),
            Some(Value::String(text)) => (Bytes::from(text), false),
            Some(document) => (Bytes::from(document.to_string()), true),
        };
        let item = Self {
            method,
            version,
            target,
            query: query(object(&mut fields, "query")?)?,
            headers: headers(object(&mut fields, "headers")?)?,
            body,
            is_json,
        };
        match item.uri(&common.query) {
            Some(_) => Ok(item),
            None => Err(
                "property \"query\" validation failed: with it the path is longer than it may be".to_owned(),
            ),
        }
    }
}

fn wrong(field: &str, expected: &str) -> String {
    format!("property \"{field}\" validation failed: wrong type: expected {expected}")
}

fn object(fields: &mut Map<String, Value>, name: &str) -> Result<Map<String, Value>, String> {
    match fields.remove(name) {
        None => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(wrong(name, "object")),
    }
}

/// The texts of a value: of a list those of its items.
fn texts(name: &str, value: Value) -> Result<Vec<String>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text]),
        Value::Bool(_) | Value::Number(_) => Ok(vec![value.to_string()]),
        Value::Array(items) => {
            let texts = items.into_iter().map(|item| match item {
                Value::Array(_) => Err(wrong(name, "string")),
                item => texts(name, item),
            });
            Ok(texts.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Object(_) => Err(wrong(name, "string")),
    }
}

fn too_many(field: &str) -> String {
    format!("property \"{field}\" validation failed: expect object to have at most {MOST_FIELDS} values")
}

fn query(object: Map<String, Value>) -> Result<Query, String> {
    let (mut query, mut count) = (Query::new(), 0);
    for (name, value) in object {
        let mut pairs = Serializer::new(String::new());
        for text in texts(&name, value)? {
            pairs.append_pair(&name, &text);
            count += 1;
        }
        query.insert(name, pairs.finish());
        if count.max(query.len()) > MOST_FIELDS {
            return Err(too_many("query"));
        }
    }
    Ok(query)
}

fn headers(object: Map<String, Value>) -> Result<Vec<(HeaderName, HeaderValue)>, String> {
    let mut headers = Vec::new();
    for (name, value) in object {
        let header = HeaderName::from_bytes(name.as_bytes());
        let header = header
            .map_err(|_| format!("property \"headers\" validation failed: '{name}' cannot name a header"))?;
        for text in texts(&name, value)? {
            let value = HeaderValue::from_bytes(text.as_bytes());
            let value = value.map_err(|_| {
                format!(
                    "property \"headers\" validation failed: '{name}' has a value that no header can have"
                )
            })?;
            headers.push((header.clone(), value));
            if headers.len() > MOST_FIELDS {
                return Err(too_many("headers"));
            }
        }
    }
    Ok(headers)
}

/// Adds those whose names are not there yet.
fn add<'h>(
    headers: &mut HeaderMap,
    more: impl Iterator<Item = (&'h HeaderName, &'h HeaderValue)>,
) -> Result<(), MaxSizeReached> {
    let added: Vec<_> = more.filter(|(name, _)| !headers.contains_key(*name)).collect();
    for (name, value) in added {
        headers.try_append(name.clone(), value.clone())?;
    }
    Ok(())
}
