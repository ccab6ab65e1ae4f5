//! Values the gateway makes: ids, times, random keys.

use gw_core::{Auto, Document, KindSpec};
use serde_json::{Number, Value};
use uuid::Uuid;

/// Length of a random key, and what it is made of.
const RANDOM_LENGTH: usize = 32;
const ALPHANUMERICS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Fills in the values of an entity that is new or replaced. Times of change are always those of now.
pub(crate) fn fill(spec: &KindSpec, document: &mut Document, now: u64) {
    for (field, auto) in &spec.auto {
        let absent = document.get(&**field).is_none_or(Value::is_null);
        if absent || is_time_of_change(spec, field, *auto) {
            document.insert(field.as_ref().to_owned(), value(*auto, now));
        }
    }
}

/// Moves the times of change of an entity that is patched.
pub(crate) fn touch(spec: &KindSpec, document: &mut Document, now: u64) {
    for (field, auto) in spec
        .auto
        .iter()
        .filter(|(field, auto)| is_time_of_change(spec, field, *auto))
    {
        document.insert(field.as_ref().to_owned(), value(*auto, now));
    }
}

/// Whether a field says when the entity changed last.
pub(crate) fn is_time_of_change(spec: &KindSpec, field: &str, auto: Auto) -> bool {
    matches!(auto, Auto::Now | Auto::NowMillis) && !spec.immutable.iter().any(|fixed| **fixed == *field)
}

fn value(auto: Auto, now: u64) -> Value {
    match auto {
        Auto::Uuid => Value::from(Uuid::new_v4().to_string()),
        Auto::Now => Value::from(now / 1000),
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds since 1970 fit in 53 bits for 285,000 years"
        )]
        Auto::NowMillis => Number::from_f64(now as f64 / 1000.0).map_or(Value::Null, Value::Number),
        Auto::Random => Value::from(random()),
    }
}

/// 32 alphanumerics, each as likely as the others.
fn random() -> String {
    let mut text = String::with_capacity(RANDOM_LENGTH);
    while text.len() < RANDOM_LENGTH {
        // Two bytes of a random UUID hold its version and variant; the other 14 come from the system's generator.
        let bytes = Uuid::new_v4().into_bytes();
        let fresh = bytes
            .iter()
            .enumerate()
            .filter(|(i, _)| !matches!(i, 6 | 8))
            .map(|(_, byte)| *byte);
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first characters.
        let fair = fresh
            .filter(|byte| *byte < 248)
            .filter_map(|byte| ALPHANUMERICS.get(usize::from(byte % 62)));
        text.extend(
            fair.map(|byte| char::from(*byte))
                .take(RANDOM_LENGTH - text.len()),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    #[test]
    fn random_keys_are_alphanumeric_even_and_new_each_time() {
        let keys: Vec<String> = (0..2000).map(|_| random()).collect();
        assert!(
            keys.iter()
                .all(|key| key.len() == 32 && key.bytes().all(|byte| byte.is_ascii_alphanumeric()))
        );
        assert_eq!(keys.iter().collect::<HashSet<_>>().len(), keys.len());
        let mut counts: HashMap<char, u32> = HashMap::new();
        keys.iter()
            .flat_map(|key| key.chars())
            .for_each(|letter| *counts.entry(letter).or_default() += 1);
        // 64,000 letters over 62: 1,032 expected, standard deviation 32.
        assert!(
            counts.len() == 62 && counts.values().all(|count| (800..1300).contains(count)),
            "{counts:?}"
        );
    }
}
