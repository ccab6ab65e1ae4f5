//! Why a JSON document is not an expression.

use std::{error::Error, fmt};

use super::parse::{MAX_CONDITIONS, MAX_DEPTH, MAX_REGEXES, MAX_VALUES};
use crate::{address::CidrError, regex::RegexError};

/// Why a JSON document is not an expression, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ExprError {
    /// Where it is.
    pub place: ExprPlace,
    /// What is wrong there.
    pub problem: ExprProblem,
}

/// A place in an expression: the positions, counted from 0, that lead to it from the outermost list.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ExprPlace(pub(super) Box<[usize]>);

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExprProblem {
    /// There is something else than a list.
    #[error("{found} is not a condition; write a list such as `[\"arg_name\", \"==\", \"jack\"]`")]
    NotAList {
        /// What there is.
        found: &'static str,
    },
    /// The expression is a condition, and not a list of them.
    #[error("a single condition is not wrapped in a list; put `[` and `]` around it")]
    Unwrapped,
    /// A list inside the expression is empty.
    #[error("empty list; put a condition into it, or leave it out")]
    Empty,
    /// There is too little to join.
    #[error("`{word}` joins {found} conditions; give it at least two")]
    TooFewOperands {
        /// The word that joins.
        word: &'static str,
        /// How many there are.
        found: usize,
    },
    /// A condition begins with something else than the name of a variable.
    #[error("{found} is not a variable; write a name such as `arg_name`")]
    NotAVariable {
        /// What there is.
        found: &'static str,
    },
    /// The name of a variable stands for nothing.
    #[error("variable `{name}` names nothing; write for example `arg_name`, `http_x_name` or `cookie_name`")]
    Variable {
        /// The variable.
        name: Box<str>,
    },
    /// A condition has nothing to compare its variable with.
    #[error("condition has no operator; write `[variable, operator, value]`")]
    NoOperator,
    /// A condition ends with its operator.
    #[error("operator `{operator}` has no value; write it behind the operator")]
    NoValue {
        /// The operator.
        operator: &'static str,
    },
    /// A condition of four elements has something else than `!` before its operator.
    #[error(
        "condition has four elements without `!` as the second; write `[variable, \"!\", operator, value]`"
    )]
    NotNegation,
    /// A condition has more elements than there is a meaning for.
    #[error("condition has {found} elements; write `[variable, operator, value]`, several values as a list")]
    TooManyElements {
        /// How many there are.
        found: usize,
    },
    /// An operator is not a string.
    #[error("{found} is not an operator; write one of {operators}", operators = OPERATORS)]
    NotAnOperator {
        /// What there is.
        found: &'static str,
    },
    /// There is no such operator.
    #[error("there is no operator `{found}`; write one of {operators}, if need be after `!`", operators = OPERATORS)]
    UnknownOperator {
        /// What is written.
        found: Box<str>,
    },
    /// An operator cannot take this value.
    #[error("operator `{operator}` cannot take {found}; give it {expected}")]
    Operand {
        /// The operator.
        operator: &'static str,
        /// What it takes.
        expected: &'static str,
        /// What there is.
        found: &'static str,
    },
    /// An invalid regular expression.
    #[error("value is not a regular expression; correct it")]
    Regex(#[source] RegexError),
    /// A value of `ipmatch` is no address.
    #[error("value of `ipmatch` is not usable; correct it")]
    Address(#[source] CidrError),
    /// Lists nest too deep.
    #[error("lists nest deeper than {limit}; join conditions of one kind in one list", limit = MAX_DEPTH)]
    TooDeep,
    /// There are too many conditions.
    #[error("there are more than {limit} conditions; use `in` or a regular expression", limit = MAX_CONDITIONS)]
    TooManyConditions,
    /// There are too many regular expressions.
    #[error("there are more than {limit} regular expressions; join some with `|`", limit = MAX_REGEXES)]
    TooManyRegexes,
    /// There are too many values in the lists.
    #[error("there are more than {limit} values in the lists; use a regular expression or several rules", limit = MAX_VALUES)]
    TooManyValues,
}

const OPERATORS: &str = "`==` `~=` `>` `>=` `<` `<=` `~~` `~*` `in` `has` `ipmatch`";

impl ExprPlace {
    /// The positions, from the outside in.
    pub fn positions(&self) -> &[usize] {
        &self.0
    }
}

impl fmt::Display for ExprError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl Error for ExprError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        // The problem itself is told already.
        self.problem.source()
    }
}

impl fmt::Display for ExprPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("expression");
        }
        f.write_str("at ")?;
        self.0.iter().try_for_each(|position| write!(f, "[{position}]"))
    }
}
