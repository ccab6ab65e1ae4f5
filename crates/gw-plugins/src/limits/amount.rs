//! How many: a number in settings, or a text with variables that becomes one with each call.

use serde_json::Value;

use crate::cx::RequestCx;
use crate::dollar_template::DollarTemplate;

/// How many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Fixed(u64),
    Varies(DollarTemplate),
}

/// A text that did not become a whole number.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a whole number above 0")]
pub(crate) struct NoNumber {
    text: Box<str>,
}

impl Amount {
    /// Reads a setting that its schema has let through.
    pub(crate) fn read(setting: &Value) -> Self {
        match setting {
            Value::String(text) => Self::Varies(DollarTemplate::parse(text)),
            // Note: 60.0 is a whole number to JSON Schema.
            number => Self::Fixed(
                number
                    .as_u64()
                    .unwrap_or_else(|| number.as_f64().unwrap_or(0.0) as u64),
            ),
        }
    }

    /// How many for this call.
    pub(crate) fn of<S>(&self, cx: &RequestCx<'_, S>) -> Result<u64, NoNumber> {
        match self {
            Self::Fixed(number) => Ok(*number),
            Self::Varies(template) => {
                let text = template.fill(|name| cx.variable(name)).text;
                match text.trim().parse() {
                    Ok(number) if number > 0 => Ok(number),
                    _ => Err(NoNumber { text: text.into() }),
                }
            }
        }
    }
}
