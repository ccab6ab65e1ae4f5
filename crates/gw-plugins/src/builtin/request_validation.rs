//! `request-validation`: refuses requests whose headers or body are not as a JSON Schema says.

mod draft;
mod repeated;

use std::collections::HashMap;

use bytes::Bytes;
use gw_schema::Schema;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};

use super::edit::{self, Format};
use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BodyNeed, BuildError, Definition, Needs, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct RequestValidation {
    headers: Option<HeaderSchema>,
    body: Option<Schema>,
    status: StatusCode,
    message: Option<Box<str>>,
    most: usize,
}

/// What headers must be.
struct HeaderSchema {
    schema: Schema,
    /// How the schema writes the names it asks for, by the names in lower case.
    written: HashMap<Box<str>, Box<str>>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    header_schema: Option<Value>,
    body_schema: Option<Value>,
    rejected_code: u16,
    rejected_msg: Option<Box<str>>,
    max_req_body_size: usize,
}

impl Definition for RequestValidation {
    const NAME: &'static str = "request-validation";
    const PRIORITY: i32 = 999;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("request_validation.json");

    type Config = Config;

    fn build(config: Config, _: &BuildEnv) -> Result<Self, BuildError> {
        let headers = config.header_schema.map(HeaderSchema::read).transpose()?;
        let body = config
            .body_schema
            .map(|schema| compile(schema, "/body_schema"))
            .transpose()?;
        Ok(Self {
            headers,
            body,
            status: StatusCode::from_u16(config.rejected_code).map_err(|_| BuildError::Setting {
                pointer: "/rejected_code".into(),
                message: "is not a status; write a number from 200 to 599".into(),
            })?,
            message: config.rejected_msg,
            most: config.max_req_body_size,
        })
    }
}

fn compile(mut schema: Value, pointer: &str) -> Result<Schema, BuildError> {
    draft::modernise(&mut schema);
    Schema::compile(schema).map_err(|error| BuildError::Setting {
        pointer: pointer.into(),
        message: error.to_string().into(),
    })
}

impl HeaderSchema {
    fn read(schema: Value) -> Result<Self, BuildError> {
        let schema = compile(schema, "/header_schema")?;
        let document = schema.document();
        let properties = document.get("properties").and_then(Value::as_object).into_iter();
        let required = document.get("required").and_then(Value::as_array).into_iter();
        let names = properties.flat_map(Map::keys).map(String::as_str);
        let names = names.chain(required.flatten().filter_map(Value::as_str));
        let written = names
            .map(|name| (name.to_ascii_lowercase().into(), name.into()))
            .collect();
        Ok(Self { schema, written })
    }

    /// What is wrong with the headers.
    fn fault(&self, headers: &HeaderMap) -> Option<String> {
        let mut object = Map::new();
        for name in headers.keys() {
            let text = |value: &http::HeaderValue| {
                Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned())
            };
            let mut values: Vec<_> = headers.get_all(name).iter().map(text).collect();
            let value = match values.len() {
                1 => values.swap_remove(0),
                _ => Value::Array(values),
            };
            let name = self
                .written
                .get(name.as_str())
                .map_or(name.as_str(), |written| written);
            object.insert(name.to_owned(), value);
        }
        let checked = self.schema.check(&Value::Object(object));
        checked.err().map(|violations| violations.to_string())
    }
}

impl Plugin for RequestValidation {
    type State = ();

    fn needs(&self) -> Needs {
        match self.body {
            Some(_) => Needs::none().request_body(BodyNeed::Whole { max: self.most }),
            None => Needs::none(),
        }
    }

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        let fault = self
            .headers
            .as_ref()
            .and_then(|headers| headers.fault(cx.headers()));
        if let Some(fault) = fault {
            return self.refuse(fault);
        }
        let Some(schema) = &self.body else {
            return Flow::Continue;
        };
        let body = cx.body().cloned().unwrap_or_default();
        match checked(schema, cx.headers(), &body) {
            Ok(None) => Flow::Continue,
            Ok(Some(written)) => {
                cx.set_body(written);
                Flow::Continue
            }
            Err(fault) => self.refuse(fault),
        }
    }
}

impl RequestValidation {
    fn refuse(&self, fault: String) -> Flow {
        match &self.message {
            Some(message) => Reply::message(self.status, message.to_string()).into(),
            None => Reply::message(self.status, fault).into(),
        }
    }
}

/// The body as it goes upstream, if it is to be written anew; or what is wrong with it.
fn checked(schema: &Schema, headers: &HeaderMap, body: &Bytes) -> Result<Option<Bytes>, String> {
    if body.is_empty() {
        return Err("a request body is required".to_owned());
    }
    let told = |violations: gw_schema::Violations| violations.to_string();
    if headers.contains_key(CONTENT_TYPE) && edit::format(headers) == Some(Format::Form) {
        schema.check(&form(body)).map_err(told)?;
        return Ok(None);
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|error| format!("the request body is not JSON: {error}"))?;
    schema.check(&value).map_err(told)?;
    let mut filled = value.clone();
    schema.fill_defaults(&mut filled);
    // What was checked must be what the upstream reads: of members of one name readers take the first or the last.
    match filled != value || repeated::has_repeated_names(body) {
        true => Ok(serde_json::to_vec(&filled).ok().map(Bytes::from)),
        false => Ok(None),
    }
}

/// A form as an object: texts, lists where a name comes more than once.
fn form(body: &[u8]) -> Value {
    let mut object = Map::new();
    for (name, value) in form_urlencoded::parse(body) {
        let value = Value::String(value.into_owned());
        match object.get_mut(&*name) {
            None => drop(object.insert(name.into_owned(), value)),
            Some(Value::Array(values)) => values.push(value),
            Some(held) => *held = Value::Array(vec![held.take(), value]),
        }
    }
    Value::Object(object)
}

#[cfg(test)]
mod tests;
