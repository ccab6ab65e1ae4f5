//! Who calls, once an authentication plugin has found out, and how the upstream is told.

use std::fmt::Display;
use std::io::Write;
use std::sync::Arc;

use gw_core::{Consumer, Credential};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

/// Who calls.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// The consumer.
    pub consumer: Option<Arc<Consumer>>,
    /// What it showed; none for the anonymous consumer.
    pub credential: Option<Arc<Credential>>,
    /// Whether the consumer stands in for somebody who could not be authenticated.
    pub anonymous: bool,
    /// Groups that whoever authenticated the caller vouches for, beside those that the configuration knows.
    pub groups: Option<Arc<[Box<str>]>>,
}

const CONSUMER_ID: HeaderName = HeaderName::from_static("x-consumer-id");
const CONSUMER_CUSTOM_ID: HeaderName = HeaderName::from_static("x-consumer-custom-id");
const CONSUMER_USERNAME: HeaderName = HeaderName::from_static("x-consumer-username");
const CREDENTIAL_IDENTIFIER: HeaderName = HeaderName::from_static("x-credential-identifier");
const ANONYMOUS: HeaderName = HeaderName::from_static("x-anonymous-consumer");

/// The headers that tell an upstream who calls. Only the gateway sets them: what a client sent is removed.
pub const HEADERS: [HeaderName; 5] = [
    CONSUMER_ID,
    CONSUMER_CUSTOM_ID,
    CONSUMER_USERNAME,
    CREDENTIAL_IDENTIFIER,
    ANONYMOUS,
];

impl Identity {
    /// Writes the identity into the headers for the upstream, in place of whatever was there.
    pub fn stamp(&self, headers: &mut HeaderMap) {
        self.stamp_as(headers, None);
    }

    /// The same, with another name of the credential than its id.
    pub(crate) fn stamp_as(&self, headers: &mut HeaderMap, identifier: Option<&str>) {
        // A client rarely sends any, and to look at names costs less than to look five up.
        if headers.keys().any(|sent| is_ours(sent.as_str())) {
            for name in &HEADERS {
                headers.remove(name);
            }
        }
        let Some(consumer) = &self.consumer else { return };
        if let Some(told) = consumer.told.get_or(|| Told::of(consumer)) {
            headers.insert(CONSUMER_ID, told.id.clone());
            set(headers, CONSUMER_CUSTOM_ID, told.custom_id.clone());
            set(headers, CONSUMER_USERNAME, told.username.clone());
        }
        let credential = self.credential.as_deref();
        let identifier = match identifier {
            Some(identifier) => credential.and_then(|_| value(identifier)),
            None => credential.and_then(|credential| credential.told.get_or(|| uuid(credential.id)).cloned()),
        };
        set(headers, CREDENTIAL_IDENTIFIER, identifier);
        if self.anonymous {
            headers.insert(ANONYMOUS, HeaderValue::from_static("true"));
        }
    }
}

/// Whether it may be one of [`HEADERS`]: by what they begin with.
fn is_ours(name: &str) -> bool {
    ["x-consumer-", "x-credential-", "x-anonymous-"]
        .iter()
        .any(|start| name.starts_with(start))
}

/// A consumer's headers, made once; whoever has them sent shares them.
struct Told {
    id: HeaderValue,
    custom_id: Option<HeaderValue>,
    username: Option<HeaderValue>,
}

impl Told {
    fn of(consumer: &Consumer) -> Self {
        Self {
            id: uuid(consumer.id),
            custom_id: consumer.custom_id.as_deref().and_then(value),
            username: consumer.username.as_deref().and_then(value),
        }
    }
}

/// Note: a name that no header can hold (a line break) is left out rather than altered.
fn value(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_bytes(text.as_bytes()).ok()
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<HeaderValue>) {
    if let Some(value) = value {
        headers.insert(name, value);
    }
}

fn uuid(id: impl Display) -> HeaderValue {
    let mut text = [0; 36];
    write!(text.as_mut_slice(), "{id}").expect("a UUID has 36 characters");
    HeaderValue::from_bytes(&text).expect("a UUID is visible ASCII")
}
