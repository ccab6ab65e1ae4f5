//! What an expression is about.

use std::borrow::Cow;

/// A value of Lua's, as far as expressions have them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    /// Nothing.
    Nil,
    /// Yes or no.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// Bytes; mostly text.
    Text(Cow<'a, [u8]>),
    /// Several texts: a header that came twice. As a table in Lua it equals nothing.
    List(Vec<Cow<'a, [u8]>>),
    /// One of the request's tables.
    Table(Table),
}

/// The tables an expression may look into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Table {
    /// `headers`: names in any case, with `_` for `-`.
    Headers,
    /// `query_params`, decoded.
    QueryParams,
    /// `uri_captures`: by name, or by number from 1.
    UriCaptures,
    /// `shared`: what other plugins left for this one.
    Shared,
}

/// Where an expression finds what is in its tables.
pub(crate) trait Tables {
    /// The value of this name.
    fn named(&self, table: Table, name: &str) -> Value<'_>;

    /// The value at this place, from 1.
    fn numbered(&self, table: Table, number: usize) -> Value<'_>;
}

impl<'a> Value<'a> {
    /// What counts as true: everything but nil and false.
    pub(crate) fn is_true(&self) -> bool {
        !matches!(self, Self::Nil | Self::Bool(false))
    }

    /// Lua's name for what it is.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Bool(_) => "boolean",
            Self::Number(_) => "number",
            Self::Text(_) => "string",
            Self::List(_) | Self::Table(_) => "table",
        }
    }

    /// As `tostring` writes it; but the texts of a list, which Lua would name by its address, are joined by commas.
    pub(crate) fn into_text(self) -> Cow<'a, [u8]> {
        match self {
            Self::Nil => Cow::Borrowed(b"nil"),
            Self::Bool(true) => Cow::Borrowed(b"true"),
            Self::Bool(false) => Cow::Borrowed(b"false"),
            Self::Number(number) => Cow::Owned(number_text(number).into_bytes()),
            Self::Text(text) => text,
            Self::List(texts) => Cow::Owned(texts.join(&b","[..])),
            Self::Table(_) => Cow::Borrowed(b"table"),
        }
    }

    /// As text where Lua takes numbers for texts; none if it is neither.
    pub(super) fn try_into_text(self) -> Result<Cow<'a, [u8]>, &'static str> {
        match self {
            Self::Text(text) => Ok(text),
            Self::Number(number) => Ok(Cow::Owned(number_text(number).into_bytes())),
            other => Err(other.kind()),
        }
    }

    /// As a number where Lua takes texts for numbers.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => number_of(text),
            _ => None,
        }
    }
}

/// A number as Lua reads it: decimal or hexadecimal, with or without spaces around it.
pub(super) fn number_of(text: &[u8]) -> Option<f64> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text),
    };
    if let Some(hexadecimal) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        let number = u32::from_str_radix(hexadecimal, 16).ok()?;
        return Some(sign * f64::from(number));
    }
    let is_decimal = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte));
    let starts = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.');
    (is_decimal && starts).then(|| digits.parse::<f64>().ok().map(|number| sign * number))?
}

/// As C's `%.14g` writes it.
fn number_text(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    if number == 0.0 {
        return "0".to_owned();
    }
    let scientific = format!("{number:.13e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..14).contains(&exponent) {
        let decimals = usize::try_from(13 - exponent).unwrap_or_default();
        return trimmed(&format!("{number:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
}

/// Without the zeros at the end of its decimals.
fn trimmed(digits: &str) -> &str {
    match digits.contains('.') {
        true => digits.trim_end_matches('0').trim_end_matches('.'),
        false => digits,
    }
}
