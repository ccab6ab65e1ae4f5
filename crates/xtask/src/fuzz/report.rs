//! What schemathesis has seen, from its report.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::Value;

/// Requests, and the operations they were for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Report {
    requests: u64,
    /// Each operation, with whether it was ever answered with success.
    operations: BTreeMap<String, bool>,
}

impl Report {
    /// Reads a report in JSON: what was seen, and why that is not all there was to see.
    pub(super) fn read(text: &str) -> (Self, Vec<String>) {
        let document: Value = match serde_json::from_str(text) {
            Ok(document) => document,
            Err(error) => {
                let finding = format!("schemathesis left no report that could be read: {error}");
                return (Self::default(), vec![finding]);
            }
        };
        let number = |pointer: &str| document.pointer(pointer).and_then(Value::as_u64).unwrap_or(0);
        let rates = document["valid_rates"].as_object();
        let operations = rates.into_iter().flatten().map(|(operation, phases)| {
            let mut phases = phases.as_object().into_iter().flat_map(|phases| phases.values());
            let accepted = phases.any(|phase| phase["accepted"].as_u64().is_some_and(|count| count > 0));
            (operation.clone(), accepted)
        });
        let report = Self {
            requests: number("/test_cases/generated"),
            operations: operations.collect(),
        };
        let mut findings = Vec::new();
        if document["complete"] != true {
            findings.push(format!("schemathesis stopped early: {}", document["stop_reason"]));
        }
        let (tested, total) = (number("/operations/tested"), number("/operations/total"));
        if tested < total || total == 0 {
            findings.push(format!("only {tested} of {total} operations were tried"));
        }
        let failures = number("/test_cases/unique_failures");
        if failures > 0 {
            findings.push(format!(
                "{failures} answers are not as described, or are 5xx; see above"
            ));
        }
        (report, findings)
    }

    /// Takes in what another round has seen.
    pub(super) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        for (operation, accepted) in other.operations {
            *self.operations.entry(operation).or_default() |= accepted;
        }
    }

    /// Refusals alone prove little: what is wrong if most operations never did what they are for.
    pub(super) fn too_little(&self) -> Option<String> {
        let reached = self.reached();
        (reached * 2 < self.operations.len()).then(|| {
            format!(
                "only {reached} of {} operations were ever answered with success; \
                 is what crates/xtask/src/fuzz/seeds.rs plants still good?",
                self.operations.len()
            )
        })
    }

    fn reached(&self) -> usize {
        self.operations.values().filter(|accepted| **accepted).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} requests to {} operations, {} of which did what they are for at least once",
            self.requests,
            self.operations.len(),
            self.reached()
        )
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn document() -> Value {
        json!({
            "complete": true,
            "stop_reason": "completed",
            "operations": { "total": 3, "tested": 3 },
            "test_cases": { "generated": 40, "unique_failures": 0 },
            "valid_rates": {
                "GET /": { "coverage": { "accepted": 0 }, "examples": { "accepted": 2 } },
                "GET /a": { "coverage": { "accepted": 0, "unreachable": 4 } },
                "PUT /a": { "coverage": { "accepted": 0 } },
            },
        })
    }

    #[test]
    fn rounds_add_up() {
        let (mut report, findings) = Report::read(&document().to_string());
        assert_eq!(findings, [""; 0]);
        let said = "only 1 of 3 operations were ever answered with success";
        assert!(report.too_little().unwrap().starts_with(said));
        let mut second = document();
        second["valid_rates"] = json!({ "GET /a": { "fuzzing": { "accepted": 1 } } });
        report.add(Report::read(&second.to_string()).0);
        assert_eq!(report.too_little(), None);
        assert_eq!(
            report.to_string(),
            "80 requests to 3 operations, 2 of which did what they are for at least once"
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let finding = |pointer: &str, value: Value| {
            let mut document = document();
            *document.pointer_mut(pointer).unwrap() = value;
            Report::read(&document.to_string()).1.join("; ")
        };
        assert_eq!(
            finding("/complete", json!(false)),
            "schemathesis stopped early: \"completed\""
        );
        assert_eq!(
            finding("/operations/tested", json!(2)),
            "only 2 of 3 operations were tried"
        );
        assert!(finding("/test_cases/unique_failures", json!(1)).starts_with("1 answers are not"));
        let (report, findings) = Report::read("");
        assert_eq!(report, Report::default());
        assert!(
            findings[0].starts_with("schemathesis left no report"),
            "{findings:?}"
        );
    }
}
