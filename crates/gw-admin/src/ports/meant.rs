//! The mark of a commit that removes much and was meant to: nodes take no such step without one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use gw_store::{Meta, Op};
use serde_json::{Value, json};

/// The key under which the newest mark is kept. It is reserved, so it is no configuration.
pub const MEANT: &str = "_meant/mass_delete";

/// The operation that marks the commit of `meta`: whatever it, and what came before it, removes is meant.
#[must_use]
pub fn mark(meta: &Meta) -> Op {
    let mark = json!({ "at": meta.at, "by": meta.author });
    Op::put(MEANT, mark.to_string())
}

/// When a mark was made; none if it is none.
#[must_use]
pub fn meant_at(mark: &[u8]) -> Option<SystemTime> {
    let mark: Value = serde_json::from_slice(mark).ok()?;
    let at = mark.get("at").and_then(Value::as_u64)?;
    UNIX_EPOCH.checked_add(Duration::from_millis(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_tells_when_it_was_made() {
        let meta = Meta::new("ann", "spring cleaning");
        let Op::Put { key, value } = mark(&meta) else {
            panic!("a mark is put")
        };
        assert!(key.is_reserved() && key == MEANT);
        let at = meant_at(&value).expect("it is a mark");
        assert_eq!(at, UNIX_EPOCH + Duration::from_millis(meta.at));
        assert_eq!(
            [meant_at(b""), meant_at(b"{}"), meant_at(b"{\"at\":-1}")],
            [None; 3]
        );
        assert_eq!(
            meant_at(format!("{{\"at\":{}}}", u64::MAX).as_bytes()).map(|_| ()),
            Some(())
        );
    }
}
