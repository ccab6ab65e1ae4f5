//! What the gateway lends to a plugin in each phase.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use gw_core::{Config, Consumer, Credential, Protocol, Route, Service};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::client_certificate::ClientCertificate;
use crate::identity::Identity;

/// What does not change while a request goes through its phases.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The configuration this request is served under: consumers and credentials are looked up here.
    pub config: &'a Config,
    /// The client's address.
    pub client: IpAddr,
    /// How the request came in.
    pub scheme: Protocol,
    /// The certificate that the client has shown in TLS.
    pub client_certificate: Option<&'a ClientCertificate>,
    /// The gateway's name for this request, 32 hexadecimal digits.
    pub request_id: &'a str,
    /// The matched route.
    pub route: Option<&'a Arc<Route>>,
    /// The route's service.
    pub service: Option<&'a Arc<Service>>,
    /// When the request began.
    pub now: SystemTime,
}

/// A request in the hands of the chain: lent to one plugin after the other.
#[derive(Debug)]
pub struct RequestParts<'a> {
    /// Method, URI and headers, as they will go upstream.
    pub head: &'a mut http::request::Parts,
    /// The whole body, where an instance of the chain asked for it.
    pub body: &'a mut Option<Bytes>,
    /// Who calls, as far as it is known.
    pub identity: &'a mut Identity,
    /// What does not change.
    pub facts: Facts<'a>,
}

/// A request as one plugin sees it, with that instance's own state.
#[derive(Debug)]
pub struct RequestCx<'a, S = ()> {
    pub(crate) parts: RequestParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}

impl<'a, S> RequestCx<'a, S> {
    /// The request's method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.parts.head.method
    }

    /// The request's URI: normalised path, and query.
    #[must_use]
    pub fn uri(&self) -> &Uri {
        &self.parts.head.uri
    }

    /// The request's headers.
    #[must_use]
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.head.headers
    }

    /// The request's headers, as they will go upstream.
    #[must_use]
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.head.headers
    }

    /// Replaces the query, `None` for no question mark at all. A text that no URI can hold is not taken.
    pub fn set_query(&mut self, query: Option<&str>) {
        let path = self.parts.head.uri.path();
        let text = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
        let Ok(path_and_query) = text.parse::<PathAndQuery>() else {
            return;
        };
        let mut uri = self.parts.head.uri.clone().into_parts();
        uri.path_and_query = Some(path_and_query);
        if let Ok(uri) = Uri::from_parts(uri) {
            self.parts.head.uri = uri;
        }
    }

    /// The whole body, if this or another instance of the chain declared [`BodyNeed::Whole`](crate::BodyNeed::Whole).
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.parts.body.as_ref()
    }

    /// Replaces the whole body.
    pub fn set_body(&mut self, body: Bytes) {
        *self.parts.body = Some(body);
    }

    /// What does not change while the request goes through its phases.
    #[must_use]
    pub fn facts(&self) -> Facts<'a> {
        self.parts.facts
    }

    /// Who calls, as far as it is known.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.parts.identity
    }

    /// Settles who calls, and tells the upstream by headers.
    pub fn authenticate(&mut self, consumer: Arc<Consumer>, credential: Arc<Credential>) {
        self.identify(Identity {
            consumer: Some(consumer),
            credential: Some(credential),
            anonymous: false,
        });
    }

    /// Lets `consumer` stand in for a caller who could not be authenticated.
    pub fn pass_as(&mut self, consumer: Arc<Consumer>) {
        self.identify(Identity {
            consumer: Some(consumer),
            credential: None,
            anonymous: true,
        });
    }

    fn identify(&mut self, identity: Identity) {
        identity.stamp(&mut self.parts.head.headers);
        *self.parts.identity = identity;
    }
}

/// A response's head in the hands of the chain.
#[derive(Debug)]
pub struct ResponseParts<'a> {
    /// Status and headers, as the client will get them.
    pub head: &'a mut http::response::Parts,
    /// Who called.
    pub identity: &'a Identity,
    /// What does not change.
    pub facts: Facts<'a>,
}

/// A response's head as one plugin sees it.
#[derive(Debug)]
pub struct ResponseCx<'a, S = ()> {
    pub(crate) parts: ResponseParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}

impl<'a, S> ResponseCx<'a, S> {
    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.parts.head.status
    }

    /// The response's headers, as the client will get them.
    #[must_use]
    pub fn headers_mut(&mut self) -> &mut HeaderMap {
        &mut self.parts.head.headers
    }

    /// The response's status and headers.
    #[must_use]
    pub fn head_mut(&mut self) -> &mut http::response::Parts {
        self.parts.head
    }

    /// Who called.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        self.parts.identity
    }

    /// What does not change.
    #[must_use]
    pub fn facts(&self) -> Facts<'a> {
        self.parts.facts
    }
}

/// A chunk of a response's body in the hands of the chain.
#[derive(Debug)]
pub struct BodyParts<'a> {
    /// The chunk; it may be replaced, also by nothing.
    pub chunk: &'a mut Bytes,
    /// Whether it is the last; a last chunk may be empty.
    pub last: bool,
    /// What does not change.
    pub facts: Facts<'a>,
}

/// A chunk of a response's body as one plugin sees it.
#[derive(Debug)]
pub struct BodyCx<'a, S = ()> {
    /// The chunk and what belongs to it.
    pub parts: BodyParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}

/// What is known of an exchange when it is over.
#[derive(Clone, Copy, Debug)]
pub struct LogParts<'a> {
    /// The status the client got.
    pub status: StatusCode,
    /// From the first byte of the request to the last of the response.
    pub total: Duration,
    /// Waiting for the upstream; none if it was not asked.
    pub upstream: Option<Duration>,
    /// Who called.
    pub identity: &'a Identity,
    /// What does not change.
    pub facts: Facts<'a>,
}

/// An exchange that is over, as one plugin sees it.
#[derive(Debug)]
pub struct LogCx<'a, S = ()> {
    /// What is known.
    pub parts: LogParts<'a>,
    /// This instance's state for this request.
    pub state: &'a mut S,
}
