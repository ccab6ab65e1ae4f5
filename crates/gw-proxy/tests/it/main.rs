//! The data plane over real sockets: one file per subject.

mod bodies; // streaming, framing, back-pressure
mod embed; // as a tower service
mod grpc; // calls, streams, trailers
mod headers; // what is added, replaced, taken away
mod health; // targets that go out and come back
mod http2; // streams, their limits, their end
mod lifecycle; // connections: aborts, shutdown, limits, reuse
mod names; // resolution off the request path
mod plugins; // phases, choice, panics
mod probes; // targets that are asked how they are
mod reload; // configuration that changes under load
mod resolver; // hosts file, search domains, name servers, types of record
mod retries; // targets that fail
mod routing; // which route, which path
mod support;
mod tls; // which certificate for whom, versions, handshakes that do not come
mod upstream_tls; // whom the gateway believes, and what it shows
mod websocket; // tunnels, over HTTP/1 and in streams of HTTP/2
