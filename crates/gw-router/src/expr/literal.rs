//! The values that expressions are written with, and how texts read as numbers.

use serde_json::Value;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Literal {
    Text(Box<str>),
    Number(Number),
    Bool(bool),
}

/// Invariant: never NaN, so that it equals itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Number(f64);

impl Literal {
    /// `None` for what is not a single value.
    pub(super) fn read(json: &Value) -> Option<Self> {
        match json {
            Value::String(text) => Some(Self::Text(text.as_str().into())),
            Value::Number(number) => number.as_f64().and_then(Number::new).map(Self::Number),
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Text(text) => Value::from(&**text),
            Self::Number(number) => number.to_json(),
            Self::Bool(value) => Value::from(*value),
        }
    }

    /// The value read as a number.
    pub(super) fn number(&self) -> Option<f64> {
        match self {
            Self::Text(text) => number(text.as_bytes()),
            Self::Number(number) => Some(number.get()),
            Self::Bool(_) => None,
        }
    }
}

impl Number {
    fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    pub(super) fn get(self) -> f64 {
        self.0
    }

    fn to_json(self) -> Value {
        /// Up to here every whole number has its own floating-point number.
        const WHOLE: f64 = 9_007_199_254_740_992.0;
        if self.0.fract() == 0.0 && self.0.abs() < WHOLE {
            Value::from(self.0 as i64)
        } else {
            Value::from(self.0)
        }
    }
}

impl Eq for Number {}

/// Reads a number as Lua does: decimal or hexadecimal, with spaces around it, but without its infinities.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    // Lua's spaces are these and the vertical tab.
    let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0x0b;
    let start = text.iter().position(|byte| !is_space(byte))?;
    let end = text.iter().rposition(|byte| !is_space(byte))?;
    let text = str::from_utf8(text.get(start..=end)?).ok()?;
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) if !digits.is_empty() => digits.chars().try_fold(0.0, |value, digit| {
            Some(value * 16.0 + f64::from(digit.to_digit(16)?))
        })?,
        Some(_) => return None,
        None => {
            let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-');
            // A second sign in front would be read as well.
            let signed = digits.starts_with(['+', '-']);
            if signed || !digits.bytes().all(plain) {
                return None;
            }
            digits.parse().ok()?
        }
    };
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn texts_read_as_numbers() {
        let cases = [
            ("5", Some(5.0)),
            ("5.0", Some(5.0)),
            ("5.", Some(5.0)),
            (".5", Some(0.5)),
            ("-5", Some(-5.0)),
            ("+5", Some(5.0)),
            (" \t5\r\n", Some(5.0)),
            ("\x0b5", Some(5.0)),
            ("05", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("1E-1", Some(0.1)),
            ("0x1F", Some(31.0)),
            ("-0X1f", Some(-31.0)),
            ("", None),
            (" ", None),
            (".", None),
            ("-", None),
            ("+-5", None),
            ("--5", None),
            ("0x", None),
            ("0xg", None),
            ("1e", None),
            ("5a", None),
            ("5 5", None),
            ("5,0", None),
            ("1_000", None),
            ("inf", None),
            ("infinity", None),
            ("nan", None),
            ("٥", None),
        ];
        for (text, expected) in cases {
            assert_eq!(number(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(number(b"5\xff"), None);
        let long = "9".repeat(1 << 16);
        assert_eq!(number(long.as_bytes()), Some(f64::INFINITY));
    }
}
