//! What an import may take away, and how it says that this is meant.

use std::fmt;

use gw_store::{Meta, Op, View};

use crate::ports;

/// Says what of changes of a view is too much, if anything is.
pub type Objection<'a> = dyn Fn(&View, &[Op]) -> Option<Box<str>> + Send + Sync + 'a;

/// How much an import may remove.
#[derive(Clone, Copy)]
pub enum Removal<'a> {
    /// However much: it is meant, and the commit says so to all who serve the store.
    Meant,
    /// What this does not object to, in words that say what of the changes is too much.
    Unless(&'a Objection<'a>),
}

impl fmt::Debug for Removal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Meant => "Meant",
            Self::Unless(_) => "Unless",
        })
    }
}

impl Removal<'_> {
    /// The changes as they are to be committed with `meta`.
    ///
    /// # Errors
    /// What they remove, if that is too much.
    pub fn judge(self, view: &View, mut ops: Vec<Op>, meta: &Meta) -> Result<Vec<Op>, Box<str>> {
        match self {
            Self::Meant if !ops.is_empty() => ops.push(ports::mark(meta)),
            Self::Meant => {}
            Self::Unless(too_much) => {
                if let Some(losses) = too_much(view, &ops) {
                    return Err(losses);
                }
            }
        }
        Ok(ops)
    }
}
