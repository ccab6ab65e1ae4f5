//! Sets of JSON types: what a place of a document may hold.

use serde_json::Value;

/// A set of JSON types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Types(u8);

impl Types {
    pub(crate) const NULL: Self = Self(1);
    pub(crate) const BOOLEAN: Self = Self(1 << 1);
    pub(crate) const INTEGER: Self = Self(1 << 2);
    /// Numbers with a fraction; JSON Schema's `number` is this and [`Types::INTEGER`].
    pub(crate) const FRACTION: Self = Self(1 << 3);
    pub(crate) const STRING: Self = Self(1 << 4);
    pub(crate) const ARRAY: Self = Self(1 << 5);
    pub(crate) const OBJECT: Self = Self(1 << 6);
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const ANY: Self = Self(0x7f);
    pub(crate) const NUMBER: Self = Self(Self::INTEGER.0 | Self::FRACTION.0);

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether any type of `other` is in this set.
    pub(crate) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The types named by the keyword `type`.
    pub(crate) fn named(keyword: &Value) -> Self {
        match keyword {
            Value::String(name) => match name.as_str() {
                "null" => Self::NULL,
                "boolean" => Self::BOOLEAN,
                "integer" => Self::INTEGER,
                "number" => Self::NUMBER,
                "string" => Self::STRING,
                "array" => Self::ARRAY,
                "object" => Self::OBJECT,
                _ => Self::NONE,
            },
            Value::Array(names) => names
                .iter()
                .fold(Self::NONE, |all, name| all.or(Self::named(name))),
            _ => Self::ANY,
        }
    }

    /// The type of one value.
    pub(crate) fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::NULL,
            Value::Bool(_) => Self::BOOLEAN,
            Value::Number(number) if number.as_f64().is_some_and(|n| n.fract() == 0.0) => Self::INTEGER,
            Value::Number(_) => Self::FRACTION,
            Value::String(_) => Self::STRING,
            Value::Array(_) => Self::ARRAY,
            Value::Object(_) => Self::OBJECT,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn number_takes_integers_and_integer_takes_no_fraction() {
        let number = Types::named(&json!("number"));
        assert!(number.has(Types::of(&json!(1))) && number.has(Types::of(&json!(1.5))));
        let integer = Types::named(&json!("integer"));
        assert!(integer.has(Types::of(&json!(1.0))) && !integer.has(Types::of(&json!(1.5))));
    }

    #[test]
    fn a_list_names_a_union() {
        let nullable = Types::named(&json!(["string", "null"]));
        assert!(nullable.has(Types::NULL) && nullable.has(Types::STRING) && !nullable.has(Types::OBJECT));
    }
}
