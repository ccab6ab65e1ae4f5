//! What an unquoted text of YAML means: as in Kong, whose reader follows YAML 1.1.

use serde_json::{Number, Value};

/// The value that a text without quotes stands for.
///
/// `yes`, `on` and their opposites are flags, `0644` is octal. Note: numbers in base 60 (`22:22`) stay texts, nobody
/// means them; what JSON has no number for (`.inf`) stays a text, for a schema to refuse.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return Value::Bool(true),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    number(text).map_or_else(|| Value::from(text), Value::Number)
}

fn number(text: &str) -> Option<Number> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !unsigned.starts_with(|first: char| first.is_ascii_digit() || first == '.') {
        return None;
    }
    let digits: String = unsigned.chars().filter(|letter| *letter != '_').collect();
    let negative = text.starts_with('-');
    let radix = |prefix: &str, radix| {
        let digits = digits
            .strip_prefix(prefix)
            .filter(|digits| digits.starts_with(|first: char| first.is_digit(radix)))?;
        u64::from_str_radix(digits, radix).ok()
    };
    let whole = radix("0x", 16)
        .or_else(|| radix("0b", 2))
        .or_else(|| radix("0", 8))
        .or_else(|| {
            let all = digits.bytes().all(|byte| byte.is_ascii_digit());
            let padded = digits.len() > 1 && digits.starts_with('0');
            (all && !padded).then(|| digits.parse().ok()).flatten()
        });
    if let Some(whole) = whole {
        return if negative {
            i64::try_from(whole)
                .ok()
                .and_then(i64::checked_neg)
                .map(Number::from)
        } else {
            Some(whole.into())
        };
    }
    let is_float = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
        && digits.contains(['.', 'e', 'E']);
    let float: f64 = if is_float {
        digits.parse().ok()?
    } else {
        return None;
    };
    whole_or_not(if negative { -float } else { float })
}

/// A number as JSON has it: without a fraction where there is none, so that `5.0` does for 5.
pub(super) fn whole_or_not(float: f64) -> Option<Number> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if float.fract() == 0.0 && float.abs() <= EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and within 53 bits")]
        return Some(Number::from(float as i64));
    }
    Number::from_f64(float)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_mean_what_they_mean_in_kong() {
        for (text, value) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("Null", json!(null)),
            ("yes", json!(true)),
            ("OFF", json!(false)),
            ("y", json!("y")),
            ("0", json!(0)),
            ("-0", json!(0)),
            ("8080", json!(8080)),
            ("+5", json!(5)),
            ("-5", json!(-5)),
            ("1_000", json!(1000)),
            ("0644", json!(420)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("09", json!("09")),
            ("1.5", json!(1.5)),
            ("3.0", json!(3)),
            (".5", json!(0.5)),
            ("1e3", json!(1000)),
            ("-2.5E1", json!(-25)),
            ("18446744073709551615", json!(18_446_744_073_709_551_615_u64)),
            ("18446744073709551616", json!("18446744073709551616")),
            ("1.2.3", json!("1.2.3")),
            ("10.0.0.1", json!("10.0.0.1")),
            ("22:22", json!("22:22")),
            (".inf", json!(".inf")),
            (".nan", json!(".nan")),
            ("1e999", json!("1e999")),
            (".", json!(".")),
            ("..", json!("..")),
            ("-", json!("-")),
            ("0x", json!("0x")),
            ("0x+1", json!("0x+1")),
            ("2024-01-01", json!("2024-01-01")),
            ("a", json!("a")),
            ("/a", json!("/a")),
        ] {
            assert_eq!(resolve(text), value, "{text}");
        }
    }
}
