//! Reading expressions from JSON.

use serde_json::Value;

use super::{
    Connective, ExprError, ExprOptions, ExprPlace, ExprProblem, Node,
    comparison::{Comparison, Order, Test},
    literal::Literal,
    variable::Variable,
};
use crate::{
    address::{Cidr, CidrSet},
    condition::{Occurrence, OneOf, TextRegex},
};

/// Bound: how deep lists nest, the outermost included. What walks an expression recurses so deep.
pub(super) const MAX_DEPTH: usize = 32;
/// Bound: the number of comparisons, all of which a request may have to pass.
pub(super) const MAX_CONDITIONS: usize = 1024;
/// Bound: the number of regular expressions, which are the largest things that few bytes can ask for.
pub(super) const MAX_REGEXES: usize = 32;
/// Bound: the number of values in all lists of `in` and `ipmatch`.
pub(super) const MAX_VALUES: usize = 1 << 16;

/// The conditions that all must hold.
pub(super) fn expression(json: &Value, options: ExprOptions) -> Result<Vec<Node>, ExprError> {
    let mut reader = Reader {
        options,
        place: Vec::new(),
        conditions: 0,
        regexes: 0,
        values: 0,
    };
    let items = reader.list(json)?;
    let wrapped = match items.first() {
        None => return Ok(Vec::new()),
        Some(Value::String(word)) => Connective::read(word).is_some(),
        Some(first) => first.is_array(),
    };
    if !wrapped {
        return Err(reader.error(ExprProblem::Unwrapped));
    }
    Ok(match reader.node(items)? {
        Node::Group(Connective::And, operands) => operands.into(),
        node => vec![node],
    })
}

struct Reader {
    options: ExprOptions,
    /// Where it reads, from the outermost list.
    place: Vec<usize>,
    conditions: usize,
    regexes: usize,
    values: usize,
}

#[derive(Clone, Copy)]
enum Operator {
    Equal,
    NotEqual,
    Ordered(Order),
    Matches,
    MatchesAnyCase,
    In,
    Has,
    IpMatch,
}

impl Reader {
    fn error(&self, problem: ExprProblem) -> ExprError {
        ExprError {
            place: ExprPlace(self.place.as_slice().into()),
            problem,
        }
    }

    /// An error in an element of the list that is being read.
    fn error_at(&self, position: usize, problem: ExprProblem) -> ExprError {
        let mut error = self.error(problem);
        error.place.0 = self.place.iter().copied().chain([position]).collect();
        error
    }

    fn list<'j>(&self, json: &'j Value) -> Result<&'j [Value], ExprError> {
        let found = kind(json);
        json.as_array()
            .map(Vec::as_slice)
            .ok_or_else(|| self.error(ExprProblem::NotAList { found }))
    }

    fn node(&mut self, items: &[Value]) -> Result<Node, ExprError> {
        if self.place.len() >= MAX_DEPTH {
            return Err(self.error(ExprProblem::TooDeep));
        }
        let word = match items.first() {
            None => return Err(self.error(ExprProblem::Empty)),
            Some(Value::Array(_)) => return self.group(Connective::And, items, 0),
            Some(Value::String(word)) => Connective::read(word),
            Some(_) => None,
        };
        match word {
            None => self.comparison(items).map(Node::Comparison),
            Some(connective) if items.len() > 2 => self.group(connective, items, 1),
            Some(connective) => Err(self.error(ExprProblem::TooFewOperands {
                word: connective.word(),
                found: items.len() - 1,
            })),
        }
    }

    /// The normal form: what is under `AND` holds no further `AND`, nor stands alone.
    fn group(&mut self, connective: Connective, items: &[Value], first: usize) -> Result<Node, ExprError> {
        let mut operands = Vec::with_capacity(items.len().min(MAX_CONDITIONS));
        for (position, item) in items.iter().enumerate().skip(first) {
            self.place.push(position);
            match self.list(item).and_then(|items| self.node(items))? {
                Node::Group(Connective::And, inner) if connective == Connective::And => {
                    operands.extend(inner)
                }
                node => operands.push(node),
            }
            self.place.pop();
        }
        operands.sort_by_key(Node::cost);
        Ok(match (connective, operands.len()) {
            (Connective::And, 1) => operands.swap_remove(0),
            _ => Node::Group(connective, operands.into()),
        })
    }

    fn comparison(&mut self, items: &[Value]) -> Result<Comparison, ExprError> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(self.error(ExprProblem::TooManyConditions));
        }
        let variable = self.variable(items)?;
        let (test, negated) = match items {
            [_, value] => self.short_form(value)?,
            [_, operator, operand] => self.test(1, operator, operand)?,
            [_, not, operator, operand] if not.as_str() == Some("!") => {
                let (test, negated) = self.test(2, operator, operand)?;
                (test, !negated)
            }
            [_, _, _, _] => return Err(self.error(ExprProblem::NotNegation)),
            _ => {
                let found = items.len();
                return Err(self.error(match found {
                    1 => ExprProblem::NoOperator,
                    _ => ExprProblem::TooManyElements { found },
                }));
            }
        };
        Ok(Comparison {
            variable,
            test,
            negated,
        })
    }

    fn variable(&self, items: &[Value]) -> Result<Variable, ExprError> {
        let name = items.first().unwrap_or(&Value::Null);
        let occurrence = if self.options.any_occurrence {
            Occurrence::Any
        } else {
            Occurrence::First
        };
        let Some(name) = name.as_str() else {
            return Err(self.error_at(0, ExprProblem::NotAVariable { found: kind(name) }));
        };
        let named = Variable::read(name, occurrence);
        named.ok_or_else(|| self.error_at(0, ExprProblem::Variable { name: name.into() }))
    }

    /// `[variable, value]`, or `[variable, operator]` where nothing stands for null.
    fn short_form(&self, value: &Value) -> Result<(Test, bool), ExprError> {
        match value {
            Value::String(text) => match Operator::read(text) {
                Some(Operator::Equal) => Ok((Test::Null, false)),
                Some(Operator::NotEqual) => Ok((Test::Null, true)),
                Some(operator) => {
                    let operator = operator.written();
                    Err(self.error(ExprProblem::NoValue { operator }))
                }
                None => Ok((equals(text.to_ascii_lowercase().into()), false)),
            },
            // Putting a number into lower case makes a text of it.
            Value::Number(_) => {
                let number = self.literal(Operator::Equal, value)?.to_json();
                Ok((equals(number.to_string().into()), false))
            }
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                Err(self.error(ExprProblem::NoOperator))
            }
        }
    }

    /// A test, and whether it must fail; `at` is the position of the operator.
    fn test(&mut self, at: usize, operator: &Value, operand: &Value) -> Result<(Test, bool), ExprError> {
        let Some(text) = operator.as_str() else {
            let found = kind(operator);
            return Err(self.error_at(at, ExprProblem::NotAnOperator { found }));
        };
        let operator = Operator::read(text).ok_or_else(|| {
            let found = text.into();
            self.error_at(at, ExprProblem::UnknownOperator { found })
        })?;
        self.place.push(at + 1);
        let test = match operator {
            Operator::Equal | Operator::NotEqual => match operand {
                Value::Null => Test::Null,
                Value::String(text) => equals(text.as_str().into()),
                _ => Test::Equals(self.literal(operator, operand)?),
            },
            Operator::Ordered(order) if operand.is_null() => Test::Ordered(order, None),
            Operator::Ordered(order) => Test::Ordered(order, Some(self.literal(operator, operand)?)),
            Operator::Has => Test::Has(self.literal(operator, operand)?),
            Operator::Matches | Operator::MatchesAnyCase => self.regex(operator, operand)?,
            Operator::In => self.any_of(operator, operand)?,
            Operator::IpMatch => self.addresses(operator, operand)?,
        };
        self.place.pop();
        Ok((test, matches!(operator, Operator::NotEqual)))
    }

    fn refused(&self, operator: Operator, operand: &Value) -> ExprError {
        self.error(ExprProblem::Operand {
            operator: operator.written(),
            expected: operator.expected(),
            found: kind(operand),
        })
    }

    fn literal(&self, operator: Operator, operand: &Value) -> Result<Literal, ExprError> {
        Literal::read(operand).ok_or_else(|| self.refused(operator, operand))
    }

    fn regex(&mut self, operator: Operator, operand: &Value) -> Result<Test, ExprError> {
        let text = operand.as_str().ok_or_else(|| self.refused(operator, operand))?;
        self.regexes += 1;
        if self.regexes > MAX_REGEXES {
            return Err(self.error(ExprProblem::TooManyRegexes));
        }
        let ignore_case = matches!(operator, Operator::MatchesAnyCase);
        match TextRegex::compile(text, ignore_case) {
            Ok(regex) => Ok(Test::Matches(regex)),
            Err(_) if self.options.lenient_regex => Ok(Test::MatchesNothing {
                text: text.into(),
                ignore_case,
            }),
            Err(error) => Err(self.error(ExprProblem::Regex(error))),
        }
    }

    fn count_values(&mut self, values: &[Value]) -> Result<(), ExprError> {
        self.values = self.values.saturating_add(values.len());
        if self.values > MAX_VALUES {
            return Err(self.error(ExprProblem::TooManyValues));
        }
        Ok(())
    }

    fn any_of(&mut self, operator: Operator, operand: &Value) -> Result<Test, ExprError> {
        let values = operand
            .as_array()
            .ok_or_else(|| self.refused(operator, operand))?;
        self.count_values(values)?;
        let (mut texts, mut others) = (Vec::new(), Vec::new());
        for (position, value) in values.iter().enumerate() {
            self.place.push(position);
            match self.literal(operator, value)? {
                Literal::Text(text) => texts.push(text),
                literal => others.push(literal),
            }
            self.place.pop();
        }
        Ok(Test::In {
            texts: OneOf::new(texts, false),
            others: others.into(),
        })
    }

    fn addresses(&mut self, operator: Operator, operand: &Value) -> Result<Test, ExprError> {
        let values = match operand {
            Value::String(_) => std::slice::from_ref(operand),
            Value::Array(values) if !values.is_empty() => values,
            _ => return Err(self.refused(operator, operand)),
        };
        self.count_values(values)?;
        let mut blocks = Vec::with_capacity(values.len());
        for (position, value) in values.iter().enumerate() {
            self.place.extend(operand.is_array().then_some(position));
            let text = value.as_str().ok_or_else(|| self.refused(operator, value))?;
            let block: Cidr = text
                .parse()
                .map_err(|error| self.error(ExprProblem::Address(error)))?;
            blocks.push(block);
            if operand.is_array() {
                self.place.pop();
            }
        }
        Ok(Test::IpMatch(CidrSet::from_iter(blocks)))
    }
}

fn equals(text: Box<str>) -> Test {
    Test::Text(OneOf::new([text], false))
}

impl Operator {
    const ALL: [Self; 11] = [
        Self::Equal,
        Self::NotEqual,
        Self::Ordered(Order::Greater),
        Self::Ordered(Order::GreaterOrEqual),
        Self::Ordered(Order::Less),
        Self::Ordered(Order::LessOrEqual),
        Self::Matches,
        Self::MatchesAnyCase,
        Self::In,
        Self::Has,
        Self::IpMatch,
    ];

    fn read(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|operator| operator.written().eq_ignore_ascii_case(text))
    }

    fn written(self) -> &'static str {
        match self {
            Self::Equal => "==",
            Self::NotEqual => "~=",
            Self::Ordered(order) => order.operator(),
            Self::Matches => "~~",
            Self::MatchesAnyCase => "~*",
            Self::In => "in",
            Self::Has => "has",
            Self::IpMatch => "ipmatch",
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Equal | Self::NotEqual => "a string, a number, true, false or null (`in` takes a list)",
            Self::Ordered(_) => "a number",
            Self::Matches | Self::MatchesAnyCase => "a regular expression as a string",
            Self::In => "a list of strings and numbers",
            Self::Has => "a string or a number",
            Self::IpMatch => "an address or a CIDR as a string, or a list of them",
        }
    }
}

/// What a JSON value is called in an error.
fn kind(json: &Value) -> &'static str {
    match json {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(items) if items.is_empty() => "an empty list",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
