//! What is kept of an exchange until it is over, where a plugin needs it.

use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use gw_plugins::Needs;
use gw_plugins::cx::Kept;
use http::{HeaderMap, Uri};

use crate::body::RequestBody;
use crate::cell::Member;
use crate::lock;

/// What is kept of an exchange until it is over.
#[derive(Debug)]
pub(crate) struct Record {
    kept: Kept,
    /// Path and query that the upstream is asked for.
    path: Option<Box<str>>,
    keep_request: usize,
    keep_response: usize,
    /// The beginning of a request's body that streams.
    uploaded: Option<Arc<Mutex<BytesMut>>>,
    downloaded: BytesMut,
}

impl Record {
    pub(super) fn new(needs: Needs, headers: &HeaderMap) -> Self {
        let mut kept = Kept::default();
        kept.request_headers = headers.clone();
        Self {
            kept,
            path: None,
            keep_request: needs.keep_request,
            keep_response: needs.keep_response,
            uploaded: None,
            downloaded: BytesMut::new(),
        }
    }

    /// The request as it goes upstream.
    pub(super) fn goes_up(&mut self, headers: &HeaderMap, uri: &Uri, body: &mut RequestBody) {
        self.kept.request_headers = headers.clone();
        self.path = uri.path_and_query().map(|target| target.as_str().into());
        self.body(body);
    }

    /// The request's body.
    pub(super) fn body(&mut self, body: &mut RequestBody) {
        match body {
            _ if self.keep_request == 0 => {}
            RequestBody::Empty => {}
            RequestBody::Buffered(bytes) => self.whole(bytes),
            RequestBody::Stream(stream) => {
                let uploaded = self.uploaded.get_or_insert_default();
                stream.copy(self.keep_request, uploaded);
            }
        }
    }

    /// The request's body, of a request that goes nowhere.
    pub(super) fn whole(&mut self, bytes: &Bytes) {
        self.kept.request_body = bytes.slice(..bytes.len().min(self.keep_request));
    }

    /// The response's head.
    pub(super) fn comes_down(&mut self, headers: &HeaderMap) {
        self.kept.response_headers = headers.clone();
    }

    /// A piece of the response's body.
    pub(super) fn piece(&mut self, bytes: &[u8]) {
        let room = self.keep_response.saturating_sub(self.downloaded.len());
        let taken = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        self.downloaded.extend_from_slice(taken);
    }

    /// It is over; `target` was the last that was asked.
    pub(super) fn complete(&mut self, target: Option<&Member>, tls: bool) {
        if let Some(uploaded) = self.uploaded.take() {
            self.kept.request_body = lock(&uploaded).split().freeze();
        }
        self.kept.response_body = self.downloaded.split().freeze();
        if let (Some(target), Some(path)) = (target, &self.path) {
            let scheme = if tls { "https" } else { "http" };
            self.kept.upstream_uri = Some(format!("{scheme}://{}{path}", target.label).into());
        }
    }

    pub(super) fn kept(&self) -> &Kept {
        &self.kept
    }
}
