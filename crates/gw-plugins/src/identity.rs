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
        for name in &HEADERS {
            headers.remove(name);
        }
        let Some(consumer) = &self.consumer else { return };
        headers.insert(CONSUMER_ID, uuid(consumer.id));
        set(headers, CONSUMER_CUSTOM_ID, consumer.custom_id.as_deref());
        set(headers, CONSUMER_USERNAME, consumer.username.as_deref());
        match (&self.credential, identifier) {
            (Some(_), Some(identifier)) => set(headers, CREDENTIAL_IDENTIFIER, Some(identifier)),
            (Some(credential), None) => drop(headers.insert(CREDENTIAL_IDENTIFIER, uuid(credential.id))),
            (None, _) => {}
        }
        if self.anonymous {
            headers.insert(ANONYMOUS, HeaderValue::from_static("true"));
        }
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: Option<&str>) {
    // Note: a name that no header can hold (a line break) is left out rather than altered.
    if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
        headers.insert(name, value);
    }
}

fn uuid(id: impl Display) -> HeaderValue {
    let mut text = [0; 36];
    write!(text.as_mut_slice(), "{id}").expect("a UUID has 36 characters");
    HeaderValue::from_bytes(&text).expect("a UUID is visible ASCII")
}
