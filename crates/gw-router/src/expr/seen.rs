//! One value of a variable, as comparisons see it.

use std::{fmt::Write, net::IpAddr};

use smallvec::SmallVec;

use super::literal::{Literal, number};
use crate::condition::{Text, VariableValue};

#[derive(Clone, Copy)]
pub(super) enum Seen<'a> {
    Text(Text<'a>),
    /// A text too, written only when it is compared with one.
    Address(IpAddr),
    /// A text too.
    Port(u16),
    Number(f64),
    Bool(bool),
    List(&'a [VariableValue<'a>]),
}

impl Seen<'_> {
    /// Equality of type and value.
    pub(super) fn is(self, literal: &Literal) -> bool {
        match (literal, self) {
            (Literal::Number(expected), Seen::Number(found)) => expected.get() == found,
            (Literal::Bool(expected), Seen::Bool(found)) => *expected == found,
            (Literal::Text(expected), Seen::Text(text)) => text.equals(expected.as_bytes()),
            (Literal::Text(expected), Seen::Address(_) | Seen::Port(_)) => {
                self.with_text(|found| found.equals(expected.as_bytes()))
            }
            _ => false,
        }
    }

    /// Asks something of the value's text; false where it has none.
    pub(super) fn with_text(self, test: impl FnOnce(Text<'_>) -> bool) -> bool {
        let mut buffer = Buffer(SmallVec::new());
        let written = match self {
            Seen::Text(text) => return test(text),
            Seen::Address(address) => write!(buffer, "{address}"),
            Seen::Port(port) => write!(buffer, "{port}"),
            Seen::Number(_) | Seen::Bool(_) | Seen::List(_) => return false,
        };
        written.is_ok() && test(Text::Plain(&buffer.0))
    }

    /// The value read as a number.
    pub(super) fn number(self) -> Option<f64> {
        match self {
            Seen::Text(text) => text.with(number),
            Seen::Port(port) => Some(port.into()),
            Seen::Number(number) => Some(number),
            Seen::Address(_) | Seen::Bool(_) | Seen::List(_) => None,
        }
    }

    /// The value read as an address.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Seen::Text(text) => text.with(|bytes| str::from_utf8(bytes).ok()?.parse().ok()),
            Seen::Address(address) => Some(address),
            Seen::Port(_) | Seen::Number(_) | Seen::Bool(_) | Seen::List(_) => None,
        }
    }
}

impl<'a> From<&'a VariableValue<'_>> for Seen<'a> {
    fn from(value: &'a VariableValue<'_>) -> Self {
        match value {
            VariableValue::Text(text) => Self::Text(Text::Plain(text.as_bytes())),
            VariableValue::Number(number) => Self::Number(*number),
            VariableValue::Bool(value) => Self::Bool(*value),
            VariableValue::List(items) => Self::List(items),
        }
    }
}

/// Holds the longest address.
struct Buffer(SmallVec<[u8; 48]>);

impl Write for Buffer {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}
