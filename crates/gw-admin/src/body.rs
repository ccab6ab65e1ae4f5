//! A request's body, bounded in size and time, as a document.

use std::time::Duration;

use bytes::{Buf, Bytes};
use gw_core::Document;
use gw_schema::{Violation, ViolationKind, Violations};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::form::{self, FormError, MAX_ARGUMENTS};
use crate::multipart::{self, MultipartError};
use crate::problem::Problem;

/// Bound: bytes of one body.
pub(crate) const MAX_BODY: usize = 10 * 1024 * 1024;

/// Bound: fields of all records of one body together. Each may be wrong, and then costs a search for the right name.
const MAX_FIELDS: usize = 10_000;

/// Bound: values of one body, at all depths.
const MAX_VALUES: usize = 100_000;

/// Bound: how long a body may take to arrive.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What a client sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Arguments {
    pub(crate) document: Document,
    /// Values are the texts of a form, for the schema to turn into what it expects.
    pub(crate) texts: bool,
}

/// Why a body is not a document; displayed as the answer's message, in Kong's words where it has any.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BodyError {
    #[error("Request body is larger than {limit} bytes; send fewer or smaller fields")]
    TooLarge { limit: usize },
    #[error("Request body did not arrive within {} seconds", MAX_WAIT.as_secs())]
    TimedOut,
    #[error("Request body ended before it was complete")]
    Broken,
    #[error("Repeated Content-Type header; send it once")]
    RepeatedContentType,
    #[error(
        "Unsupported media type; send 'application/json', 'application/x-www-form-urlencoded' or 'multipart/form-data'"
    )]
    UnsupportedMediaType,
    #[error(
        "Unsupported media type; send 'application/yaml', 'application/json' or a form with a field 'config'"
    )]
    UnsupportedConfigType,
    #[error("Request body is not UTF-8 text")]
    NotText,
    #[error("Cannot parse JSON body")]
    Json { detail: Box<str> },
    #[error(transparent)]
    Form(#[from] FormError),
    #[error(transparent)]
    Multipart(#[from] MultipartError),
}

impl BodyError {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TimedOut => StatusCode::REQUEST_TIMEOUT,
            Self::UnsupportedMediaType | Self::UnsupportedConfigType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            _ => StatusCode::BAD_REQUEST,
        }
    }

    /// What the message does not say: where the text stops being JSON.
    pub(crate) fn detail(&self) -> Option<&str> {
        match self {
            Self::Json { detail } => Some(detail),
            _ => None,
        }
    }
}

/// Reads the body to its end, and by its content type.
pub(crate) async fn read<B>(headers: &HeaderMap, body: B) -> Result<Arguments, BodyError>
where
    B: Body,
    B::Data: Buf,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let bytes = receive(headers, body, MAX_BODY).await?;
    if bytes.is_empty() {
        return Ok(Arguments::default());
    }
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(Arguments {
            document: json(&bytes)?,
            texts: false,
        }),
        "application/x-www-form-urlencoded" => Ok(Arguments {
            document: form::decode(&bytes)?,
            texts: true,
        }),
        "multipart/form-data" => {
            let pairs = multipart::pairs(&bytes, &multipart::boundary(content_type)?)?;
            Ok(Arguments {
                document: form::document(pairs)?,
                texts: true,
            })
        }
        _ => Err(BodyError::UnsupportedMediaType),
    }
}

/// Reads the body to its end, at most `limit` bytes of one content type.
pub(crate) async fn receive<B>(headers: &HeaderMap, body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body,
    B::Data: Buf,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    if headers.get_all(CONTENT_TYPE).iter().nth(1).is_some() {
        return Err(BodyError::RepeatedContentType);
    }
    collect(body, limit).await
}

async fn collect<B>(body: B, limit: usize) -> Result<Bytes, BodyError>
where
    B: Body,
    B::Data: Buf,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > limit {
        return Err(BodyError::TooLarge { limit });
    }
    match tokio::time::timeout(MAX_WAIT, Limited::new(body, limit).collect()).await {
        Err(_) => Err(BodyError::TimedOut),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge { limit }),
        Ok(Err(_)) => Err(BodyError::Broken),
    }
}

/// Refuses a document that has other fields than these.
pub(crate) fn only(document: &Document, known: &[&str]) -> Result<(), Problem> {
    let strange = document.keys().filter(|field| !known.contains(&field.as_str()));
    let found = strange.map(|field| {
        let unknown = Violation::new(format!("/{field}"), "unknown field").with_kind(ViolationKind::Unknown);
        match gw_schema::nearest(field, known.iter().copied()) {
            Some(near) => unknown.with_hint(format!("did you mean `{near}`?")),
            None => unknown,
        }
    });
    Violations::none_in(found.collect()).map_err(|violations| Problem::Schema {
        violations,
        document: Box::new(document.clone()),
    })
}

/// Refuses a document with too much in it.
pub(crate) fn bounded(document: &Document) -> Result<(), BodyError> {
    match is_excessive(document) {
        true => Err(FormError::TooManyArguments.into()),
        false => Ok(()),
    }
}

fn json(bytes: &[u8]) -> Result<Document, BodyError> {
    let refuse = |detail: String| BodyError::Json {
        detail: detail.into(),
    };
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(document)) if is_excessive(&document) => Err(FormError::TooManyArguments.into()),
        Ok(Value::Object(document)) => Ok(document),
        Ok(_) => Err(refuse("expected an object".to_owned())),
        Err(error) => Err(refuse(error.to_string())),
    }
}

fn is_excessive(document: &Document) -> bool {
    let (mut fields, mut values) = (document.len(), 0);
    let mut open: Vec<&Value> = document.values().collect();
    while let Some(value) = open.pop() {
        values += 1;
        match value {
            Value::Array(items) => open.extend(items),
            Value::Object(record) => {
                fields += record.len();
                open.extend(record.values());
            }
            _ => {}
        }
    }
    document.len() > MAX_ARGUMENTS || fields > MAX_FIELDS || values > MAX_VALUES
}
