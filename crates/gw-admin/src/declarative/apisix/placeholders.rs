//! What the environment fills in, in APISIX's way: `${{NAME}}`, `${{NAME:=default}}`, and `$env://NAME` as a whole value.

use std::collections::BTreeMap;

use gw_core::Document;
use gw_schema::ViolationKind;
use serde_json::Value;

use super::ledger::Ledger;
use crate::declarative::Withheld;
use crate::declarative::scalar;
use crate::declarative::source::Source;
use crate::declarative::spot::{Below, Spot, segment};

type Variable<'a> = &'a dyn Fn(&str) -> Result<String, Withheld>;

/// Fills in what the environment has. As in APISIX that is done after the text was parsed, so that no value changes what
/// stands around it; a value that is a number, `true` or `false` then becomes one, quotes or not.
pub(super) fn fill(source: &mut Source, variable: Variable<'_>, ledger: &mut Ledger) {
    let document = std::mem::take(&mut source.document);
    let mut filling = Filling {
        variable,
        ledger,
        pointer: Vec::new(),
    };
    source.document = filling.record(document, source.spot.as_mut());
}

/// A variable without a value.
struct Unfilled {
    name: String,
    why: Withheld,
}

struct Filling<'a> {
    variable: Variable<'a>,
    ledger: &'a mut Ledger,
    pointer: Vec<String>,
}

impl Filling<'_> {
    fn record(&mut self, fields: Document, spot: Option<&mut Spot>) -> Document {
        let mut spots = match spot.map(|spot| &mut spot.below) {
            Some(Below::Record(spots)) => Some(spots),
            _ => None,
        };
        let mut filled = Document::new();
        for (name, value) in fields {
            let to = self.name(&name);
            if let Some(spots) = spots.as_deref_mut() {
                rename(spots, &name, &to);
            }
            self.pointer.push(segment(&to));
            let below = spots.as_deref_mut().and_then(|spots| spots.get_mut(&to));
            let value = self.value(value, below);
            self.pointer.pop();
            filled.insert(to, value);
        }
        filled
    }

    fn value(&mut self, value: Value, spot: Option<&mut Spot>) -> Value {
        match value {
            Value::Object(fields) => Value::Object(self.record(fields, spot)),
            Value::Array(items) => {
                let mut spots = match spot.map(|spot| &mut spot.below) {
                    Some(Below::List(spots)) => Some(spots),
                    _ => None,
                };
                let items = items.into_iter().enumerate().map(|(position, item)| {
                    self.pointer.push(position.to_string());
                    let below = spots.as_deref_mut().and_then(|spots| spots.get_mut(position));
                    let item = self.value(item, below);
                    self.pointer.pop();
                    item
                });
                Value::Array(items.collect())
            }
            Value::String(text) => self.text(text),
            other => other,
        }
    }

    fn text(&mut self, text: String) -> Value {
        let reference = text
            .strip_prefix("$env://")
            .or_else(|| text.strip_prefix("$ENV://"));
        if let Some(reference) = reference {
            return self.reference(reference);
        }
        match substituted(&text, self.variable) {
            Ok(None) => {
                self.tell_of_others(&text);
                Value::from(text)
            }
            Ok(Some(filled)) => match filled.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                _ => number(&filled).unwrap_or_else(|| Value::from(filled)),
            },
            Err(unfilled) => {
                self.missing(&unfilled);
                Value::Null
            }
        }
    }

    /// Names of variables that something else was to put in.
    fn tell_of_others(&mut self, text: &str) {
        if let Some(name) = others(text) {
            let what =
                format!("`${{{name}}}` stays as it is written: APISIX puts in nothing but `${{{{{name}}}}}`");
            let remedy = "double the braces, or have it put in before";
            let pointer = self.pointer();
            self.ledger.unsupported(pointer, what, remedy);
        }
    }

    fn pointer(&self) -> String {
        self.pointer.iter().map(|segment| format!("/{segment}")).collect()
    }

    /// A variable as a whole value, or a field of the JSON that it holds.
    fn reference(&mut self, reference: &str) -> Value {
        let (name, field) = match reference.split_once('/') {
            Some((name, field)) => (name, Some(field)),
            None => (reference, None),
        };
        let value = match (self.variable)(name) {
            Ok(value) => value,
            Err(why) => {
                let name = name.to_owned();
                self.missing(&Unfilled { name, why });
                return Value::Null;
            }
        };
        let Some(field) = field else {
            return Value::from(value);
        };
        let held: Value = serde_json::from_str(&value).unwrap_or_default();
        match held.get(field) {
            Some(Value::String(text)) => Value::from(text.as_str()),
            Some(other) => Value::from(other.to_string()),
            None => {
                let name = format!("{name}/{field}");
                self.missing(&Unfilled {
                    name,
                    why: Withheld::Unset,
                });
                Value::Null
            }
        }
    }

    fn name(&mut self, name: &str) -> String {
        match substituted(name, self.variable) {
            Ok(filled) => filled.unwrap_or_else(|| name.to_owned()),
            Err(unfilled) => {
                self.pointer.push(segment(name));
                self.missing(&unfilled);
                self.pointer.pop();
                name.to_owned()
            }
        }
    }

    fn missing(&mut self, unfilled: &Unfilled) {
        let pointer = self.pointer();
        let name = &unfilled.name;
        let (message, hint) = match unfilled.why {
            Withheld::Unset => {
                let message = format!("the environment has no variable '{name}'");
                (message, "set it, or give a default: `${{NAME:=default}}`")
            }
            Withheld::Secret => {
                let message = format!("the environment's variable '{name}' is not read for a request");
                (message, "fill it in before sending")
            }
        };
        self.ledger
            .fault_with(pointer, &message, ViolationKind::Other, hint);
    }
}

/// The names of variables and what stands between them; `None` where there is none.
fn substituted(text: &str, variable: Variable<'_>) -> Result<Option<String>, Unfilled> {
    if !text.contains("${{") {
        return Ok(None);
    }
    let (mut filled, mut used) = (String::new(), false);
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${{") {
        filled.push_str(before);
        let Some((inside, behind)) = after.split_once("}}") else {
            filled.push_str("${{");
            rest = after;
            continue;
        };
        let (name, default) = match inside.split_once(":=") {
            Some((name, default)) => (name.trim(), Some(default.trim())),
            None => (inside.trim(), None),
        };
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        {
            filled.push_str("${{");
            rest = after;
            continue;
        }
        match (variable(name), default) {
            (Ok(value), _) => filled.push_str(&value),
            (Err(Withheld::Unset), Some(default)) => filled.push_str(default),
            (Err(why), _) => {
                let name = name.to_owned();
                return Err(Unfilled { name, why });
            }
        }
        used = true;
        rest = behind;
    }
    filled.push_str(rest);
    Ok(used.then_some(filled))
}

/// A name that a shell would fill in: `${NAME}`, in capitals. Others are variables of requests.
pub(super) fn others(text: &str) -> Option<&str> {
    text.split("${").skip(1).find_map(|piece| {
        let (name, _) = piece.split_once('}')?;
        let fitting = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        (!name.is_empty() && name.bytes().all(fitting)).then_some(name)
    })
}

/// A number, as Lua reads one from a text.
fn number(text: &str) -> Option<Value> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(Value::from);
    }
    // What Rust takes for a number beside digits: names such as `inf`.
    if !text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || b".eE+-".contains(&byte))
    {
        return None;
    }
    if let Ok(whole) = text.parse::<i64>() {
        return Some(Value::from(whole));
    }
    scalar::whole_or_not(text.parse().ok()?).map(Value::Number)
}

fn rename(spots: &mut BTreeMap<String, Spot>, from: &str, to: &str) {
    if from != to
        && let Some(spot) = spots.remove(from)
    {
        spots.insert(to.to_owned(), spot);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::declarative::source;

    fn variable(name: &str) -> Result<String, Withheld> {
        match name {
            "HOST" => Ok("app".to_owned()),
            "PORT" => Ok("8080".to_owned()),
            "ON" => Ok("true".to_owned()),
            "YES" => Ok("yes".to_owned()),
            "PEM" => Ok("-----BEGIN X-----\na: [\n".to_owned()),
            "JSON" => Ok("{\"a\": \"b\", \"n\": 7}".to_owned()),
            _ => Err(Withheld::Unset),
        }
    }

    fn filled(text: &str) -> (Document, Vec<String>, Source) {
        let unset = |_: &str| Err(Withheld::Unset);
        let mut source = source::load(text, &unset, None).unwrap();
        let mut ledger = Ledger::default();
        fill(&mut source, &variable, &mut ledger);
        let faults = ledger.finish().faults;
        let told = faults
            .iter()
            .map(|fault| format!("{}: {}", fault.pointer, fault.message));
        (source.document.clone(), told.collect(), source)
    }

    #[test]
    fn values_become_what_they_hold() {
        for (text, value) in [
            ("${{HOST}}", json!("app")),
            ("'${{ HOST }}:${{PORT}}'", json!("app:8080")),
            ("${{PORT}}", json!(8080)),
            ("\"${{PORT}}\"", json!(8080)),
            ("${{PORT}}.5", json!(8080.5)),
            ("${{ON}}", json!(true)),
            ("${{YES}}", json!("yes")),
            ("${{NONE:=7}}", json!(7)),
            ("${{NONE:= a b }}", json!("a b")),
            ("${{NONE:=}}", json!("")),
            ("${{PORT:=7}}", json!(8080)),
            ("${{PEM}}", json!("-----BEGIN X-----\na: [\n")),
            ("${PORT} $HOST", json!("${PORT} $HOST")),
            ("${{a-b}} ${{", json!("${{a-b}} ${{")),
            ("$env://PEM", json!("-----BEGIN X-----\na: [\n")),
            ("$ENV://PORT", json!("8080")),
            ("$env://JSON/a", json!("b")),
            ("$env://JSON/n", json!("7")),
            ("inf", json!("inf")),
        ] {
            let (document, faults, _) = filled(&format!("a: [{{b: \"{}\"}}]", text.replace(['"', '\''], "")));
            assert_eq!(document["a"][0]["b"], value, "{text}");
            assert!(faults.is_empty(), "{faults:?}");
        }
    }

    #[test]
    fn names_that_a_shell_would_fill_in_are_told() {
        for (text, name) in [
            ("http://${HOST}:80", Some("HOST")),
            ("${host} $HOST ${a-b} ${", None),
            ("${{HOST}}", None),
        ] {
            assert_eq!(others(text), name, "{text}");
        }
    }

    #[test]
    fn names_of_fields_are_filled_in_and_keep_their_place() {
        let (document, faults, source) = filled("nodes:\n  \"${{HOST}}:${{PORT}}\": 1\n");
        assert_eq!(document["nodes"], json!({ "app:8080": 1 }));
        assert_eq!(source.locate("/nodes/app:8080").unwrap().0.line, 2);
        assert!(faults.is_empty());
    }

    #[test]
    fn what_the_environment_lacks_is_told_with_its_place() {
        let (document, faults, _) =
            filled("a:\n- ${{NONE}}\n- $env://NONE\n- $env://JSON/z\n- {'${{NO}}/x': 1}\n");
        assert_eq!(document["a"], json!([null, null, null, { "${{NO}}/x": 1 }]));
        assert_eq!(
            faults,
            [
                "/a/0: the environment has no variable 'NONE'",
                "/a/1: the environment has no variable 'NONE'",
                "/a/2: the environment has no variable 'JSON/z'",
                "/a/3/${{NO}}~1x: the environment has no variable 'NO'",
            ]
        );
    }
}
