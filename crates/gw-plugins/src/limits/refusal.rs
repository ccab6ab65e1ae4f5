//! What the plugins that limit as APISIX's do answer.

use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue};
use serde_json::json;

use crate::limits::refused;
use crate::plugin::BuildError;
use crate::reply::{Flow, Reply};

/// The answer to a call that is one too many.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    body: Option<Bytes>,
}

impl Refusal {
    /// Reads `rejected_code` and `rejected_msg`.
    pub(crate) fn read(code: u16, message: Option<&str>) -> Result<Self, BuildError> {
        Ok(Self {
            status: StatusCode::from_u16(code)
                .map_err(|_| refused("/rejected_code", "value should be between 200 and 599"))?,
            body: message.map(|message| json!({ "error_msg": message }).to_string().into()),
        })
    }

    /// The answer.
    pub(crate) fn flow(&self) -> Flow {
        match &self.body {
            None => Reply::message(self.status, self.status.canonical_reason().unwrap_or_default()).into(),
            Some(body) => json_reply(self.status, body.clone()).into(),
        }
    }
}

/// The answer where it cannot be told how many there were: none, if the plugin may do without.
pub(crate) fn failed(may_degrade: bool, message: &'static str) -> Flow {
    match may_degrade {
        true => Flow::Continue,
        false => {
            let body = json!({ "error_msg": message }).to_string();
            json_reply(StatusCode::INTERNAL_SERVER_ERROR, body.into()).into()
        }
    }
}

fn json_reply(status: StatusCode, body: Bytes) -> Reply {
    Reply::bytes(status, body).header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
}
