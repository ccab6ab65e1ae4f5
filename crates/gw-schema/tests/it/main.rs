//! What a user of the crate sees: compiling, wording, and agreement with JSON Schema itself.

mod agreement; // properties over random schemas and documents
mod compile; // what does not compile, and where it says so
mod wording; // every message, in Kong's words
