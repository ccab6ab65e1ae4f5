//! Expressions as Lua has them, of the kind that templates hold: read when a plugin is configured, bounded when they run.
//!
//! `headers.authorization ~= nil and headers.authorization:sub(1, 7) == 'Bearer ' or 'none'`
//!
//! There are `and`, `or`, `not`, comparisons, `..`, `#`, arithmetic, texts, numbers, `nil`, `true`, `false`, the tables
//! `headers`, `query_params`, `uri_captures` and `shared`, the functions `tostring` and `tonumber`, and of the string
//! library `sub`, `lower`, `upper`, `len`, `rep`, `reverse`, `find`, `match` and `gsub`, as functions and as methods. A name
//! that Kong's sandbox does not have is nil, as it is there. Whatever else Lua can do (statements, functions, tables) is
//! refused when the expression is read.

mod eval;
mod lex;
mod parse;
mod pattern;
mod strings;
mod value;

pub(crate) use eval::EvalError;
pub(crate) use parse::ReadError;
pub(crate) use value::{Table, Tables, Value};

use parse::Node;

/// An expression that has been read. Its run takes time and room that are bounded by its length and by its texts'.
#[derive(Clone, Debug)]
pub(crate) struct Expression {
    root: Node,
    tables: Vec<Table>,
}

impl Expression {
    /// Reads an expression.
    ///
    /// # Errors
    /// It is not one, or it does what only Lua can.
    pub(crate) fn read(source: &str) -> Result<Self, ReadError> {
        let (root, tables) = parse::read(source)?;
        Ok(Self { root, tables })
    }

    /// Whether it looks into `table`.
    pub(crate) fn uses(&self, table: Table) -> bool {
        self.tables.contains(&table)
    }

    /// Its value.
    ///
    /// # Errors
    /// What Lua would throw: nil that is indexed, joined or compared; or a bound that is passed.
    pub(crate) fn run<'a>(&'a self, tables: &'a dyn Tables) -> Result<Value<'a>, EvalError> {
        eval::run(&self.root, tables)
    }
}

#[cfg(test)]
mod tests;
