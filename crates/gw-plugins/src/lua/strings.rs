//! The functions of the string library.

use std::borrow::Cow;

use super::eval::{EvalError, MOST_TEXT, count};
use super::parse::Function;
use super::pattern::{self, Found};
use super::value::{Value, number_of};

/// Calls a function; there are as many arguments as it takes.
pub(super) fn call<'a>(function: Function, arguments: Vec<Value<'a>>) -> Result<Value<'a>, EvalError> {
    let mut arguments = arguments.into_iter();
    let first = arguments.next().unwrap_or(Value::Nil);
    match function {
        Function::ToString => return Ok(Value::Text(first.into_text())),
        Function::ToNumber => {
            return Ok(match &first {
                Value::Text(text) => number_of(text).map_or(Value::Nil, Value::Number),
                Value::Number(number) => Value::Number(*number),
                _ => Value::Nil,
            });
        }
        _ => {}
    }
    let subject = text(first)?;
    let mut next = || arguments.next().unwrap_or(Value::Nil);
    Ok(match function {
        Function::Lower => Value::Text(Cow::Owned(subject.to_ascii_lowercase())),
        Function::Upper => Value::Text(Cow::Owned(subject.to_ascii_uppercase())),
        Function::Len => Value::Number(count(subject.len())),
        Function::Reverse => Value::Text(subject.iter().rev().copied().collect::<Vec<_>>().into()),
        Function::Rep => {
            let times = whole(&next(), 0)?.max(0);
            let times = usize::try_from(times).unwrap_or(usize::MAX);
            if subject.len().saturating_mul(times) > MOST_TEXT {
                return Err(EvalError::TooMuch);
            }
            Value::Text(subject.repeat(times).into())
        }
        Function::Sub => {
            let (from, to) = (whole(&next(), 1)?, whole(&next(), -1)?);
            Value::Text(between(subject, from, to))
        }
        Function::Match => {
            let (pattern, from) = (text(next())?, start(&next(), subject.len())?);
            match pattern::find(&subject, &pattern, from)? {
                Some(found) => captured(&subject, &found),
                None => Value::Nil,
            }
        }
        Function::Find => {
            let (pattern, from, plain) = (text(next())?, start(&next(), subject.len())?, next());
            let found = match plain.is_true() {
                true => pattern::find_plain(&subject, &pattern, from),
                false => pattern::find(&subject, &pattern, from)?.map(|found| found.start),
            };
            found.map_or(Value::Nil, |start| Value::Number(count(start + 1)))
        }
        Function::Gsub => {
            let (pattern, replacement, most) = (text(next())?, text(next())?, next());
            let most = whole(&most, i64::MAX)?;
            Value::Text(pattern::replace(&subject, &pattern, &replacement, most)?.into())
        }
        Function::ToString | Function::ToNumber => Value::Nil,
    })
}

fn text(value: Value<'_>) -> Result<Cow<'_, [u8]>, EvalError> {
    let text = value.try_into_text();
    text.map_err(|kind| EvalError::Kind {
        action: "index or call a function of",
        kind,
    })
}

/// A whole number; `absent` stands for nil.
fn whole(value: &Value<'_>, absent: i64) -> Result<i64, EvalError> {
    if *value == Value::Nil {
        return Ok(absent);
    }
    let number = value
        .as_number()
        .ok_or_else(|| EvalError::of("count with", value))?;
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the cast saturates, and nothing is that long"
    )]
    Ok(number.floor() as i64)
}

/// Where a search begins, from 0; beyond the end, if nothing can be found.
fn start(value: &Value<'_>, length: usize) -> Result<usize, EvalError> {
    let from = whole(value, 1)?;
    let length_of = i64::try_from(length).unwrap_or(i64::MAX);
    let from = if from < 0 {
        length_of.saturating_add(from).max(0)
    } else {
        (from - 1).max(0)
    };
    Ok(usize::try_from(from).unwrap_or(usize::MAX))
}

/// From the place `from` to the place `to`, counted from 1, or from the end if negative.
fn between(text: Cow<'_, [u8]>, from: i64, to: i64) -> Cow<'_, [u8]> {
    let length = i64::try_from(text.len()).unwrap_or(i64::MAX);
    let counted = |place: i64| {
        if place < 0 {
            length.saturating_add(place) + 1
        } else {
            place
        }
    };
    let from = counted(from).max(1) - 1;
    let to = counted(to).clamp(0, length);
    let range = match (usize::try_from(from), usize::try_from(to)) {
        (Ok(from), Ok(to)) if from < to => from..to,
        _ => 0..0,
    };
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.get(range).unwrap_or_default()),
        Cow::Owned(text) => Cow::Owned(text.get(range).unwrap_or_default().to_vec()),
    }
}

/// The first capture, or the whole match if the pattern has none.
fn captured<'a>(subject: &[u8], found: &Found) -> Value<'a> {
    match found.captures.first() {
        Some(capture) => match capture.position {
            true => Value::Number(count(capture.range.start + 1)),
            false => owned(subject, capture.range.clone()),
        },
        None => owned(subject, found.start..found.end),
    }
}

fn owned<'a>(subject: &[u8], range: std::ops::Range<usize>) -> Value<'a> {
    Value::Text(Cow::Owned(subject.get(range).unwrap_or_default().to_vec()))
}
