//! How an upstream chooses among its targets: Kong's names for it, and more.

use gw_balancer::{Bound, LeastRequest, MaglevPolicy, PeakEwma, Policy, RingPolicy, SlotsPolicy};
use serde_json::{Map, Value};

use crate::fields::Fields;

/// Kong's default of `slots`, which documents have whether anybody meant it or not.
const SLOTS_BY_DEFAULT: u32 = 10_000;

/// The policy that `algorithm` and the fields about it ask for.
pub(crate) fn policy(fields: &Fields<'_>) -> Option<Policy> {
    // In the document it is the most; in the policy, what may be beyond the mean.
    let beyond = |percent: u16| Bound::percent(percent.saturating_sub(100));
    let bound = fields.int("hash_balance_factor").map(beyond);
    let slots = || fields.int("slots").filter(|slots| *slots != SLOTS_BY_DEFAULT);
    Some(match fields.text("algorithm")? {
        "round-robin" => Policy::RoundRobin,
        "random" => Policy::Random,
        "least-connections" => Policy::LeastRequest(LeastRequest::default()),
        "latency" => Policy::PeakEwma(PeakEwma::default()),
        "consistent-hashing" => Policy::Slots(SlotsPolicy {
            slots: slots(),
            bound,
        }),
        "ketama" => Policy::Ring(RingPolicy {
            bound,
            ..RingPolicy::default()
        }),
        "maglev" => Policy::Maglev(MaglevPolicy {
            bound,
            ..MaglevPolicy::default()
        }),
        _ => return None,
    })
}

/// Choosing a hash input chooses an algorithm that hashes, Kong's unless another is chosen with it; choosing one that
/// cannot clears the hash inputs.
pub(crate) fn settle(document: &mut Map<String, Value>) {
    let text = |field: &str| document.get(field).and_then(Value::as_str);
    let algorithm = text("algorithm").unwrap_or_default();
    if matches!(algorithm, "least-connections" | "latency" | "random") {
        document.insert("hash_on".to_owned(), Value::from("none"));
        document.insert("hash_fallback".to_owned(), Value::from("none"));
    } else if text("hash_on").is_some_and(|input| input != "none")
        && !matches!(algorithm, "ketama" | "maglev")
    {
        document.insert("algorithm".to_owned(), Value::from("consistent-hashing"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(document: Value) -> Option<Policy> {
        policy(&Fields::new(document.as_object().unwrap()))
    }

    #[test]
    fn every_name_means_a_policy() {
        let (bound, none) = (Some(Bound::percent(30)), None);
        let slots = |slots, bound| Policy::Slots(SlotsPolicy { slots, bound });
        for (name, factor, slots_field, expected) in [
            ("round-robin", json!(null), 10_000, Policy::RoundRobin),
            ("random", json!(130), 10_000, Policy::Random),
            (
                "least-connections",
                json!(null),
                10,
                Policy::LeastRequest(LeastRequest::default()),
            ),
            ("latency", json!(null), 10, Policy::PeakEwma(PeakEwma::default())),
            ("consistent-hashing", json!(null), 10_000, slots(None, none)),
            (
                "consistent-hashing",
                json!(130),
                65_536,
                slots(Some(65_536), bound),
            ),
            (
                "ketama",
                json!(130),
                10,
                Policy::Ring(RingPolicy {
                    bound,
                    ..RingPolicy::default()
                }),
            ),
            ("maglev", json!(null), 10, Policy::Maglev(MaglevPolicy::default())),
        ] {
            let document = json!({ "algorithm": name, "hash_balance_factor": factor, "slots": slots_field });
            assert_eq!(read(document), Some(expected), "{name}");
        }
        assert_eq!(read(json!({ "algorithm": "sticky-sessions" })), None);
    }

    #[test]
    fn inputs_and_algorithms_settle_each_other() {
        for (given, settled) in [
            (
                json!({ "hash_on": "ip" }),
                json!({ "hash_on": "ip", "algorithm": "consistent-hashing" }),
            ),
            (
                json!({ "hash_on": "ip", "algorithm": "round-robin" }),
                json!({ "hash_on": "ip", "algorithm": "consistent-hashing" }),
            ),
            (
                json!({ "hash_on": "ip", "algorithm": "maglev" }),
                json!({ "hash_on": "ip", "algorithm": "maglev" }),
            ),
            (
                json!({ "hash_on": "ip", "algorithm": "latency" }),
                json!({ "hash_on": "none", "hash_fallback": "none", "algorithm": "latency" }),
            ),
            (json!({ "algorithm": "ketama" }), json!({ "algorithm": "ketama" })),
            (json!({ "hash_on": "none" }), json!({ "hash_on": "none" })),
            (json!({}), json!({})),
        ] {
            let mut document = given.as_object().unwrap().clone();
            settle(&mut document);
            assert_eq!(Value::Object(document), settled, "{given}");
        }
    }
}
