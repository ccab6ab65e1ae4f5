//! What the engine knows of the connection a request came over; not its transport.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use gw_core::Protocol;
use http::HeaderValue;

use crate::arrival::Arrival;
use crate::gateway::Gateway;
use crate::worker::Worker;

/// Where a request came from and where it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// The client's address.
    pub client: SocketAddr,
    /// The address it connected to.
    pub local: SocketAddr,
    /// How it came in: [`Protocol::Http`] or [`Protocol::Https`].
    pub scheme: Protocol,
}

/// One connection of a client, shared by its requests.
#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) worker: Arc<Worker>,
    pub(crate) scheme: Protocol,
    /// The client's address; one of IPv4 is never written as IPv6.
    pub(crate) client: IpAddr,
    pub(crate) client_port: u16,
    pub(crate) client_value: HeaderValue,
    /// The port it connected to.
    pub(crate) port: u16,
    pub(crate) port_value: HeaderValue,
    /// The server name that the client asked for in TLS.
    pub(crate) server_name: Option<Box<str>>,
    /// Requests begun.
    pub(crate) heads: AtomicU32,
    /// Requests begun and not finished.
    pub(crate) in_flight: AtomicU32,
    /// Bytes written to the client.
    pub(crate) written: AtomicU64,
    /// Requests that the client let go of before it had its answer.
    pub(crate) aborted: AtomicU32,
    /// The client was answered before it had sent all: closing on it at once could cost it the answer.
    pub(crate) unread: AtomicBool,
}

impl Conn {
    pub(crate) fn new(gateway: Arc<Gateway>, worker: Arc<Worker>, connection: Connection) -> Self {
        let client = connection.client.ip().to_canonical();
        Self {
            gateway,
            worker,
            scheme: connection.scheme,
            client,
            client_port: connection.client.port(),
            client_value: text_value(client.to_string()),
            port: connection.local.port(),
            port_value: HeaderValue::from(connection.local.port()),
            server_name: None,
            heads: AtomicU32::new(0),
            in_flight: AtomicU32::new(0),
            written: AtomicU64::new(0),
            aborted: AtomicU32::new(0),
            unread: AtomicBool::new(false),
        }
    }

    /// What decides on the routes of its requests.
    pub(crate) fn arrival(&self) -> Arrival<'_> {
        Arrival {
            client: self.client,
            scheme: self.scheme,
            port: self.port,
            sni: self.server_name.as_deref(),
        }
    }
}

fn text_value(text: String) -> HeaderValue {
    HeaderValue::try_from(text).expect("an address is visible ASCII")
}
