//! JSON Schema checks with defaults filled in, every violation at once, and messages people can act on
