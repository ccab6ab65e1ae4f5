//! Plugins as an operator configures them and a client meets them.

mod auth; // who is let in
mod cache; // what is kept of responses
mod compose; // one request answered with the answers to several
mod limits; // how many requests, how large, and what is answered in the upstream's place
mod logs; // what is logged, counted and traced, by real receivers
mod transform; // what becomes of requests and responses on their way: rewritten, checked, shared out
