//! Why a schema cannot be compiled.

/// Why a schema cannot be compiled: always the author's mistake, never that of a document to be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CompileError {
    /// The document is not JSON Schema.
    #[error("schema at `{place}` is not JSON Schema 2020-12: {reason}")]
    Invalid {
        /// JSON pointer into the schema, as a fragment: `#/properties/port`.
        place: Box<str>,
        /// What is wrong there.
        reason: Box<str>,
    },
    /// A reference leaves the document, or leads nowhere.
    #[error("schema at `{place}` refers to `{target}`, which is not in this document; write `#/$defs/name`")]
    Reference {
        /// JSON pointer into the schema, as a fragment.
        place: Box<str>,
        /// What `$ref` says.
        target: Box<str>,
    },
    /// A schema applies itself to the same value again.
    #[error(
        "schema at `{place}` applies itself to the same value without end; refer to it from a property or item"
    )]
    Loop {
        /// JSON pointer into the schema, as a fragment.
        place: Box<str>,
    },
    /// One of this crate's own keywords is not written as it must be.
    #[error("schema at `{place}`: {expected}")]
    Keyword {
        /// JSON pointer into the schema, as a fragment.
        place: Box<str>,
        /// How to write it.
        expected: Box<str>,
    },
    /// A default would be refused by its own schema.
    #[error("default at `{place}` breaks its own schema: {reason}")]
    Default {
        /// JSON pointer into the schema, as a fragment.
        place: Box<str>,
        /// The first violation.
        reason: Box<str>,
    },
    /// Filling in a default brings a default of its own, without end.
    #[error("default at `{place}` contains itself when filled in; let it be null or say where it ends")]
    EndlessDefault {
        /// JSON pointer into the schema, as a fragment.
        place: Box<str>,
    },
}
