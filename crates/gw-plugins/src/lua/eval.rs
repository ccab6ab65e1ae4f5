//! Runs a tree.

use std::borrow::Cow;
use std::cmp::Ordering;

use super::parse::{Binary, Node, Unary};
use super::strings;
use super::value::{Table, Tables, Value};

/// Bound: bytes of a text that an expression makes.
pub(super) const MOST_TEXT: usize = 64 * 1024;

/// What Lua would throw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum EvalError {
    /// Something is done to a value that cannot be done to it.
    #[error("attempt to {action} a {kind} value")]
    Kind {
        /// What is done.
        action: &'static str,
        /// What it is.
        kind: &'static str,
    },
    /// A pattern that is not one.
    #[error("malformed pattern")]
    Pattern,
    /// A bound is passed.
    #[error("the expression takes too long or makes too much")]
    TooMuch,
}

impl EvalError {
    pub(super) fn of(action: &'static str, value: &Value<'_>) -> Self {
        let kind = value.kind();
        Self::Kind { action, kind }
    }
}

pub(super) fn run<'a>(node: &'a Node, tables: &'a dyn Tables) -> Result<Value<'a>, EvalError> {
    Ok(match node {
        Node::Nil => Value::Nil,
        Node::Bool(value) => Value::Bool(*value),
        Node::Number(number) => Value::Number(*number),
        Node::Text(text) => Value::Text(Cow::Borrowed(text)),
        Node::Table(table) => Value::Table(*table),
        Node::Index(parts) => index(run(&parts.0, tables)?, &run(&parts.1, tables)?, tables)?,
        Node::Unary(operator, operand) => unary(*operator, run(operand, tables)?)?,
        Node::Binary(operator, parts) => return binary(*operator, &parts.0, &parts.1, tables),
        Node::Call(function, arguments) => {
            let arguments = arguments.iter().map(|argument| run(argument, tables));
            strings::call(*function, arguments.collect::<Result<_, _>>()?)?
        }
    })
}

fn index<'a>(value: Value<'a>, key: &Value<'a>, tables: &'a dyn Tables) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Table(table) => Ok(look_up(table, key, tables)),
        Value::List(mut texts) => Ok(match key {
            Value::Number(number) => match place(*number).and_then(|place| place.checked_sub(1)) {
                Some(place) if place < texts.len() => Value::Text(texts.swap_remove(place)),
                _ => Value::Nil,
            },
            _ => Value::Nil,
        }),
        // Its fields are the functions of the string library, which are no values here.
        Value::Text(_) => Ok(Value::Nil),
        other => Err(EvalError::of("index", &other)),
    }
}

fn look_up<'a>(table: Table, key: &Value<'a>, tables: &'a dyn Tables) -> Value<'a> {
    match key {
        Value::Text(name) => match std::str::from_utf8(name) {
            Ok(name) => tables.named(table, name),
            Err(_) => Value::Nil,
        },
        Value::Number(number) => place(*number).map_or(Value::Nil, |place| tables.numbered(table, place)),
        _ => Value::Nil,
    }
}

/// A whole number that may be a place in a list.
fn place(number: f64) -> Option<usize> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "the range is checked just before"
    )]
    (number.fract() == 0.0 && (0.0..1e6).contains(&number)).then_some(number as usize)
}

fn unary(operator: Unary, operand: Value<'_>) -> Result<Value<'static>, EvalError> {
    match operator {
        Unary::Not => Ok(Value::Bool(!operand.is_true())),
        Unary::Minus => match operand.as_number() {
            Some(number) => Ok(Value::Number(-number)),
            None => Err(EvalError::of("perform arithmetic on", &operand)),
        },
        Unary::Length => match operand {
            Value::Text(text) => Ok(Value::Number(count(text.len()))),
            Value::List(texts) => Ok(Value::Number(count(texts.len()))),
            other => Err(EvalError::of("get length of", &other)),
        },
    }
}

/// A length as Lua has it.
pub(super) fn count(length: usize) -> f64 {
    f64::from(u32::try_from(length).unwrap_or(u32::MAX))
}

fn binary<'a>(
    operator: Binary,
    left: &'a Node,
    right: &'a Node,
    tables: &'a dyn Tables,
) -> Result<Value<'a>, EvalError> {
    let left = run(left, tables)?;
    match operator {
        Binary::Or if left.is_true() => return Ok(left),
        Binary::And if !left.is_true() => return Ok(left),
        Binary::Or | Binary::And => return run(right, tables),
        _ => {}
    }
    let right = run(right, tables)?;
    let is = |orders: fn(Ordering) -> bool| Ok(Value::Bool(compare(&left, &right)?.is_some_and(orders)));
    match operator {
        Binary::Equal => Ok(Value::Bool(equal(&left, &right))),
        Binary::NotEqual => Ok(Value::Bool(!equal(&left, &right))),
        Binary::Less => is(Ordering::is_lt),
        Binary::LessOrEqual => is(Ordering::is_le),
        Binary::Greater => is(Ordering::is_gt),
        Binary::GreaterOrEqual => is(Ordering::is_ge),
        Binary::Join => join(left, right),
        _ => arithmetic(operator, &left, &right),
    }
}

fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::List(_), _) | (_, Value::List(_)) => false, // Tables are equal only to themselves.
        (left, right) => left == right,
    }
}

/// None if one of them is not a number.
fn compare(left: &Value<'_>, right: &Value<'_>) -> Result<Option<Ordering>, EvalError> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Ok(left.partial_cmp(right)),
        (Value::Text(left), Value::Text(right)) => Ok(Some(left.cmp(right))),
        (Value::Number(_) | Value::Text(_), other) | (other, _) => Err(EvalError::of("compare", other)),
    }
}

fn join<'a>(left: Value<'a>, right: Value<'a>) -> Result<Value<'a>, EvalError> {
    let text = |value: Value<'a>| {
        let text = value.try_into_text();
        text.map_err(|kind| EvalError::Kind {
            action: "concatenate",
            kind,
        })
    };
    let mut joined = text(left)?.into_owned();
    joined.extend_from_slice(&text(right)?);
    match joined.len() <= MOST_TEXT {
        true => Ok(Value::Text(Cow::Owned(joined))),
        false => Err(EvalError::TooMuch),
    }
}

fn arithmetic(operator: Binary, left: &Value<'_>, right: &Value<'_>) -> Result<Value<'static>, EvalError> {
    let number = |value: &Value<'_>| {
        let number = value.as_number();
        number.ok_or_else(|| EvalError::of("perform arithmetic on", value))
    };
    let (left, right) = (number(left)?, number(right)?);
    Ok(Value::Number(match operator {
        Binary::Plus => left + right,
        Binary::Minus => left - right,
        Binary::Times => left * right,
        Binary::Over => left / right,
        Binary::Modulo => left - (left / right).floor() * right,
        _ => left.powf(right),
    }))
}
