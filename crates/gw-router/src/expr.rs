//! Expressions over variables of a request, as APISIX's `vars` has them.

use std::fmt;

use serde_json::Value;

mod comparison;
mod error;
mod literal;
mod parse;
mod seen;
mod variable;

pub use error::{ExprError, ExprPlace, ExprProblem};

use crate::condition::{Equality, Facts};
use comparison::Comparison;

/// A boolean expression over the variables of a request.
///
/// It is written as a JSON list of conditions `[variable, operator, value]`, all of which must hold. A list that
/// begins with `AND`, `OR`, `!AND` or `!OR` joins the two or more that follow; lists nest. An empty list always holds.
///
/// | operator | holds when |
/// |---|---|
/// | `==` | the variable is the value. If the value is a number, the variable is read as one (`"5.0" == 5`); a string is compared as it is; `null` means absent |
/// | `~=` | `==` does not hold, so also when the variable is absent |
/// | `>` `>=` `<` `<=` | both read as numbers, and compare so |
/// | `~~` `~*` | the regular expression matches somewhere; `~*` ignores case |
/// | `in` | the variable is in the list of values: a string equals strings only |
/// | `has` | the variable is a list, and the value is in it |
/// | `ipmatch` | the variable is an address in one of these addresses and CIDRs: a string, or a list of them |
///
/// `!` before an operator, as in `["arg_age", "!", ">", 18]`, turns it round: it holds for an absent variable then.
/// Operators and the words that join may be in any case. The short form `[variable, value]` is `==`, and the value is
/// put into lower case.
///
/// | variable | is |
/// |---|---|
/// | `arg_NAME` | the first query argument of that name, decoded; with [`ExprOptions::any_occurrence`] a list of all |
/// | `http_NAME` | the header, with `-` for every `_`, in any case: the list of its lines, of which any may meet the condition |
/// | `cookie_NAME` | the first cookie of that name; with [`ExprOptions::any_occurrence`] a list of all |
/// | `host`, `uri`, `request_method`, `scheme` | a text: the host in lower case and without port, the path without query |
/// | `remote_addr`, `server_port` | a text too |
/// | any other | what [`Facts::variables`] has under that name |
///
/// A number is decimal (`-1.5e3`) or hexadecimal (`0x1f`), with or without spaces around it.
///
/// Checking allocates nothing, save for what [`Condition`](crate::Condition) tells of.
///
/// ```
/// use gw_router::{Expr, Facts};
/// use serde_json::json;
///
/// let expr = Expr::from_json(&json!([
///     ["arg_name", "==", "jack"],
///     ["OR", ["arg_age", ">", 18], ["remote_addr", "ipmatch", "10.0.0.0/8"]],
/// ]))?;
/// assert!(expr.admits(&Facts::new().query("age=19&name=jack")));
/// assert!(!expr.admits(&Facts::new().query("age=18&name=jack")));
/// # Ok::<(), gw_router::ExprError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expr {
    /// All must hold.
    conditions: Box<[Node]>,
}

/// How an [`Expr`] is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ExprOptions {
    lenient_regex: bool,
    any_occurrence: bool,
}

/// Invariant: at most [`parse::MAX_DEPTH`] deep, so that walks may recurse.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    Comparison(Comparison),
    Group(Connective, Box<[Self]>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connective {
    And,
    Or,
    NotAnd,
    NotOr,
}

impl ExprOptions {
    /// An invalid regular expression is an error, and the first of several arguments or cookies counts.
    pub fn new() -> Self {
        Self::default()
    }

    /// An invalid regular expression is no error: it matches nothing.
    pub fn lenient_regex(mut self) -> Self {
        self.lenient_regex = true;
        self
    }

    /// Of an argument or a cookie that is given several times, any may meet a condition.
    pub fn any_occurrence(mut self) -> Self {
        self.any_occurrence = true;
        self
    }
}

impl Expr {
    /// Reads an expression.
    ///
    /// # Errors
    /// When it is not one, or nests more than 32 lists, or has more than 1,024 conditions, more than 32 regular
    /// expressions or more than 65,536 values in its lists.
    pub fn from_json(json: &Value) -> Result<Self, ExprError> {
        Self::from_json_with(json, ExprOptions::new())
    }

    /// Reads an expression by these options.
    ///
    /// # Errors
    /// As [`Expr::from_json`].
    pub fn from_json_with(json: &Value, options: ExprOptions) -> Result<Self, ExprError> {
        let conditions = parse::expression(json, options)?;
        Ok(Self {
            conditions: conditions.into(),
        })
    }

    /// Whether a request meets the expression.
    pub fn admits(&self, facts: &Facts<'_>) -> bool {
        self.conditions.iter().all(|condition| condition.admits(facts))
    }

    /// A condition that a request does not meet, if there is one: the first in the order of checking.
    pub fn failing(&self, facts: &Facts<'_>) -> Option<Value> {
        let failing = self.conditions.iter().find(|condition| !condition.admits(facts));
        failing.map(Node::to_json)
    }

    /// The number of conditions that all must hold. A group under `OR`, `!AND` or `!OR` is one.
    pub fn conditions(&self) -> usize {
        self.conditions.len()
    }

    /// Those of [`Self::conditions`] that ask for one of a few values of a header, an argument or a cookie.
    pub fn equalities(&self) -> impl Iterator<Item = Equality<'_>> {
        self.conditions.iter().filter_map(|condition| match condition {
            Node::Comparison(comparison) => comparison.equality(),
            Node::Group(..) => None,
        })
    }

    /// Whether all its conditions are among those of another expression, so that it holds where that one does.
    pub(crate) fn follows_from(&self, other: &Self) -> bool {
        let known = |condition: &Node| other.conditions.contains(condition);
        self.conditions.iter().all(known)
    }

    /// The names of the variables that the caller must supply, each as often as it is used.
    pub fn caller_variables(&self) -> impl Iterator<Item = &str> {
        let mut names = Vec::new();
        self.conditions
            .iter()
            .for_each(|condition| condition.caller_variables(&mut names));
        names.into_iter()
    }

    /// How costly a check is, on the scale of [`Condition::cost`](crate::Condition::cost).
    pub fn cost(&self) -> u32 {
        self.conditions.iter().map(Node::cost).sum()
    }

    /// The expression in its normal form: cheap conditions first, what must all hold in one list, values of `in`
    /// and `ipmatch` sorted. Read again it is equal to this one.
    pub fn to_json(&self) -> Value {
        match &*self.conditions {
            // A list around it would be one more than may nest.
            [group @ Node::Group(..)] => group.to_json(),
            conditions => conditions.iter().map(Node::to_json).collect(),
        }
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_json())
    }
}

impl Node {
    fn admits(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Comparison(comparison) => comparison.admits(facts),
            Self::Group(connective, operands) => {
                let mut operands = operands.iter();
                match connective {
                    Connective::And => operands.all(|operand| operand.admits(facts)),
                    Connective::Or => operands.any(|operand| operand.admits(facts)),
                    Connective::NotAnd => !operands.all(|operand| operand.admits(facts)),
                    Connective::NotOr => !operands.any(|operand| operand.admits(facts)),
                }
            }
        }
    }

    fn cost(&self) -> u32 {
        match self {
            Self::Comparison(comparison) => comparison.cost(),
            Self::Group(_, operands) => operands.iter().map(Self::cost).sum(),
        }
    }

    fn caller_variables<'e>(&'e self, names: &mut Vec<&'e str>) {
        match self {
            Self::Comparison(comparison) => names.extend(comparison.caller_variable()),
            Self::Group(_, operands) => operands
                .iter()
                .for_each(|operand| operand.caller_variables(names)),
        }
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Comparison(comparison) => comparison.to_json(),
            Self::Group(connective, operands) => {
                let word = Value::from(connective.word());
                let operands = operands.iter().map(Self::to_json);
                std::iter::once(word).chain(operands).collect()
            }
        }
    }
}

impl Connective {
    const ALL: [Self; 4] = [Self::And, Self::Or, Self::NotAnd, Self::NotOr];

    fn word(self) -> &'static str {
        match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::NotAnd => "!AND",
            Self::NotOr => "!OR",
        }
    }

    fn read(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|connective| connective.word().eq_ignore_ascii_case(word))
    }
}

#[cfg(test)]
mod tests;
