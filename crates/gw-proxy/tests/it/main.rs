//! The data plane over real sockets: one file per subject.

mod abuse; // floods of frames
mod bodies; // streaming, framing, back-pressure
mod buffering; // what is read ahead of a slow client
mod cost; // allocations of a request
mod embed; // as a tower service
mod farewell; // clients that are asked to leave; where no service may lead
mod frames; // HTTP/2 by hand
mod grpc; // calls, streams, trailers
mod headers; // what is added, replaced, taken away
mod health; // targets that go out and come back
mod http2; // streams, their limits, their end
mod inner; // requests that plugins make to the gateway itself
mod lender; // what plugins are lent: calls, sockets, names, tasks
mod lifecycle; // connections: aborts, shutdown, limits, reuse
mod limits; // how much, how many
mod mtls; // certificates of clients: who believes them, who requires them, who is told
mod names; // resolution off the request path
mod overload; // more than can be carried
mod passthrough; // TLS that goes to a service as it is
mod paths; // what tries to get around a protected route
mod plugins; // phases, choice, panics
mod probes; // targets that are asked how they are
mod proxy_protocol; // headers read and written
mod real_ip; // whom a request is from
mod reload; // configuration that changes under load
mod replay; // what a change would do to requests of late
mod resolver; // hosts file, search domains, name servers, types of record
mod retries; // targets that fail
mod routing; // which route, which path
mod seam; // what plugins are given and may ask for
mod slow; // clients that take their time
mod smuggling; // what two servers could read differently
mod support;
mod tls; // which certificate for whom, versions, handshakes that do not come
mod unix; // sockets in the file system, on both sides
mod upstream_tls; // whom the gateway believes, and what it shows
mod websocket; // tunnels, over HTTP/1 and in streams of HTTP/2
