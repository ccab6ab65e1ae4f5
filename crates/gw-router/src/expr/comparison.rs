//! One variable compared with a value.

use serde_json::Value;

use super::{literal::Literal, seen::Seen, variable::Variable};
use crate::{
    address::CidrSet,
    condition::{Equality, Facts, OneOf, TextRegex},
};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Comparison {
    pub(super) variable: Variable,
    pub(super) test: Test,
    /// Whether the test must fail, as it does on an absent variable.
    pub(super) negated: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Test {
    /// The variable is absent.
    Null,
    /// A text equals this one: kept like a list, so that an index sees one form.
    Text(OneOf),
    Equals(Literal),
    /// The operand is kept as it is written; where it is none or no number, the test fails.
    Ordered(Order, Option<Literal>),
    Matches(TextRegex),
    /// An invalid regular expression, which matches nothing.
    MatchesNothing {
        text: Box<str>,
        ignore_case: bool,
    },
    In {
        texts: OneOf,
        others: Box<[Literal]>,
    },
    Has(Literal),
    IpMatch(CidrSet),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

impl Comparison {
    pub(super) fn admits(&self, facts: &Facts<'_>) -> bool {
        self.test.holds(&self.variable, facts) != self.negated
    }

    /// A text is asked for, and the variable is one that requests have as a text.
    pub(super) fn equality(&self) -> Option<Equality<'_>> {
        match (&self.variable, &self.test) {
            // Values that are not texts never equal what a request has.
            (Variable::Source(source), Test::Text(texts) | Test::In { texts, .. }) if !self.negated => {
                Some(Equality::new(source, texts))
            }
            _ => None,
        }
    }

    pub(super) fn caller_variable(&self) -> Option<&str> {
        match &self.variable {
            Variable::Other(name) => Some(name),
            _ => None,
        }
    }

    pub(super) fn cost(&self) -> u32 {
        let test = match &self.test {
            Test::Null | Test::MatchesNothing { .. } => 0,
            Test::Text(_) | Test::Equals(_) | Test::In { .. } | Test::Has(_) | Test::IpMatch(_) => 1,
            Test::Ordered(..) => 2,
            Test::Matches(_) => 8,
        };
        self.variable.cost() + test
    }

    pub(super) fn to_json(&self) -> Value {
        let (operator, operand) = self.test.to_json();
        let variable = Value::from(self.variable.to_string());
        match (operator, self.negated) {
            ("==", true) => [variable, "~=".into(), operand].into_iter().collect(),
            (operator, true) => [variable, "!".into(), operator.into(), operand]
                .into_iter()
                .collect(),
            (operator, false) => [variable, operator.into(), operand].into_iter().collect(),
        }
    }
}

impl Test {
    fn holds(&self, variable: &Variable, facts: &Facts<'_>) -> bool {
        match self {
            Self::Null => !variable.any(facts, |_| true),
            Self::Text(texts) => variable.any(facts, |seen| seen.with_text(|text| texts.admits(text))),
            Self::Equals(Literal::Number(expected)) => {
                variable.any(facts, |seen| seen.number() == Some(expected.get()))
            }
            Self::Equals(literal) => variable.any(facts, |seen| seen.is(literal)),
            Self::Ordered(order, operand) => {
                let Some(bound) = operand.as_ref().and_then(Literal::number) else {
                    return false;
                };
                variable.any(facts, |seen| {
                    seen.number().is_some_and(|found| order.holds(found, bound))
                })
            }
            Self::Matches(regex) => variable.any(facts, |seen| seen.with_text(|text| regex.admits(text))),
            Self::MatchesNothing { .. } => false,
            Self::In { texts, others } => variable.any(facts, |seen| {
                let among_texts = seen.with_text(|text| texts.admits(text));
                among_texts || others.iter().any(|literal| seen.is(literal))
            }),
            Self::Has(literal) => variable.any(facts, |seen| match seen {
                Seen::List(items) => items.iter().any(|item| Seen::from(item).is(literal)),
                item => variable.is_list() && item.is(literal),
            }),
            Self::IpMatch(blocks) => variable.any(facts, |seen| {
                seen.address().is_some_and(|address| blocks.contains(address))
            }),
        }
    }

    /// The operator and the operand.
    fn to_json(&self) -> (&'static str, Value) {
        match self {
            Self::Null => ("==", Value::Null),
            Self::Text(texts) => (
                "==",
                texts
                    .as_slice()
                    .first()
                    .map_or(Value::Null, |text| Value::from(&**text)),
            ),
            Self::Equals(literal) => ("==", literal.to_json()),
            Self::Ordered(order, operand) => (
                order.operator(),
                operand.as_ref().map_or(Value::Null, Literal::to_json),
            ),
            Self::Matches(regex) => matches_json(regex.text(), regex.ignores_case()),
            Self::MatchesNothing { text, ignore_case } => matches_json(text, *ignore_case),
            Self::In { texts, others } => {
                let texts = texts.as_slice().iter().map(|text| Value::from(&**text));
                ("in", texts.chain(others.iter().map(Literal::to_json)).collect())
            }
            Self::Has(literal) => ("has", literal.to_json()),
            Self::IpMatch(blocks) => (
                "ipmatch",
                blocks
                    .iter()
                    .map(|block| Value::from(block.to_string()))
                    .collect(),
            ),
        }
    }
}

fn matches_json(text: &str, ignore_case: bool) -> (&'static str, Value) {
    (if ignore_case { "~*" } else { "~~" }, text.into())
}

impl Order {
    fn holds(self, found: f64, bound: f64) -> bool {
        match self {
            Self::Greater => found > bound,
            Self::GreaterOrEqual => found >= bound,
            Self::Less => found < bound,
            Self::LessOrEqual => found <= bound,
        }
    }

    pub(super) fn operator(self) -> &'static str {
        match self {
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
        }
    }
}
