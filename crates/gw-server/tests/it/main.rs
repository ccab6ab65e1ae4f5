//! What a user of the program sees, and the rules its sources keep.

#![recursion_limit = "256"]

mod support; // starting the program, its operator, its access log

mod access; // who reaches the Admin API and who does not: tokens, certificates, names, pages, routes
mod apisix; // a file of APISIX's: served, refused, followed
mod bad_input; // what no honest client sends: answered with 4xx or closed, and nothing changes
mod clients; // open clients of Kong's Admin API, from PyPI
mod cluster; // several gateways on one etcd; objects that cannot run; deletions that must be meant
mod commands; // check, import, dump, diff, sync
mod corpus; // public configurations: every route of every file
mod dns; // names whose addresses change, name servers that fail
mod drain; // how it stops: balancers are told, clients asked, what has begun is finished
mod durability; // what was acknowledged survives kill -9, restarts and a second process; stopping loses no request
mod edge; // what stands in front: balancers, unix sockets, client certificates, TLS that passes through
mod exports; // a store moves to another, and is copied while a gateway runs
mod failover; // outages under load: tries, budgets, timeouts, recovery
mod faults; // an etcd that is killed, wiped, restored: what is served goes on and catches up
mod file; // the configuration as a file: followed, refused whole; the Admin API then
mod flags; // flags, variables, what is said about wrong ones
mod headers; // what is added, dropped and rewritten on the way, both ways
mod health; // targets that keep failing go out and come back; what operators see and set
mod kept; // counts, caches, health, turns and connections, through changes of something else
mod kong_variables; // Kong's own variables
mod limits; // limits as flags, overload, no descriptors left
mod live; // a write is live when its answer arrives, and disturbs nobody
mod matchers; // what routes match beside Kong's own fields, how it is explained, what is warned of
mod one_line; // the command `proxy`
mod plugins; // plugins as an operator configures them and a client meets them
mod probes; // targets that are asked how they are, in Kong's words
mod retries; // dead, hanging and failing targets, and what the access log says of them
mod routing; // which route gets a request, and what becomes of its path
mod secrets; // what is sealed where it is stored; what a change would do to requests of late
mod spread; // which target gets the next request, by algorithm and priority
mod sticking; // requests that stick to a target, by each hash input
mod streaming; // bodies of any size in flat memory; HEAD, 204, 304, chunks
mod system_calls; // what a request costs in system calls
mod tidy; // arrows between crates, no runtime in the pure ones, how files are kept
mod tls; // certificates from the Admin API, seen by a client that verifies
mod tutorial; // Kong's load-balancing tutorial, call by call
mod upgrade; // a new process takes over: under load, when it cannot, from systemd's sockets
