//! What a plugin's author and an operator are promised, through the crate's public face.

mod docs; // docs/plugins.md is what the schemas say
mod registry; // names, settings, waiting plugins
