//! Texts with `$variables` in them, as APISIX's settings have them.

/// A text with variables in it: `$name`, `${name}`, `${name ?? default}`; `\$` is a dollar sign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DollarTemplate(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(Box<str>),
    Variable { name: Box<str>, default: Box<str> },
}

/// A text whose variables have been filled in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) text: String,
    /// How many variables had a value.
    pub(crate) found: usize,
}

impl DollarTemplate {
    /// Reads a template. A dollar sign that no name follows stands for itself.
    pub(crate) fn parse(template: &str) -> Self {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = template;
        while let Some(next) = rest.chars().next() {
            let after = rest.get(next.len_utf8()..).unwrap_or_default();
            if next == '\\' && after.starts_with('$') {
                text.push('$');
                rest = after.get(1..).unwrap_or_default();
                continue;
            }
            if next == '$'
                && let Some((variable, after)) = variable(after)
            {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text).into()));
                }
                parts.push(variable);
                rest = after;
                continue;
            }
            text.push(next);
            rest = after;
        }
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        Self(parts)
    }

    /// Fills in what `value` has for each variable; its default, or nothing, where it has none.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> Option<String>) -> Filled {
        let mut filled = Filled {
            text: String::new(),
            found: 0,
        };
        for part in &self.0 {
            match part {
                Part::Text(text) => filled.text.push_str(text),
                Part::Variable { name, default } => match value(name) {
                    Some(value) => {
                        filled.text.push_str(&value);
                        filled.found += 1;
                    }
                    None => filled.text.push_str(default),
                },
            }
        }
        filled
    }
}

/// The variable at the beginning, after its dollar sign, and what follows it.
fn variable(text: &str) -> Option<(Part, &str)> {
    if let Some(braced) = text.strip_prefix('{') {
        let (within, after) = braced.split_once('}')?;
        let (name, default) = within.split_once("??").unwrap_or((within, ""));
        let (name, default) = (name.trim(), default.trim().into());
        let is_name = !name.is_empty() && name.bytes().all(is_in_name);
        return is_name.then(|| {
            (
                Part::Variable {
                    name: name.into(),
                    default,
                },
                after,
            )
        });
    }
    let end = text
        .bytes()
        .position(|byte| !is_in_name(byte))
        .unwrap_or(text.len());
    let (name, after) = text.split_at(end);
    let variable = Part::Variable {
        name: name.into(),
        default: "".into(),
    };
    (!name.is_empty()).then_some((variable, after))
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_filled_in() {
        let value = |name: &str| match name {
            "host" => Some("a.example".to_owned()),
            "uri" => Some("/x".to_owned()),
            _ => None,
        };
        for (template, text, found) in [
            ("", "", 0),
            ("plain", "plain", 0),
            ("https://$host$uri", "https://a.example/x", 2),
            ("${host}s/$uri-é", "a.examples//x-é", 2),
            ("$nothing|${ nothing ?? else }|$", "|else|$", 0),
            (r"\$host $host", "$host a.example", 1),
            ("${host", "${host", 0),
            ("${}$ $-", "${}$ $-", 0),
        ] {
            let filled = DollarTemplate::parse(template).fill(value);
            assert_eq!((&*filled.text, filled.found), (text, found), "{template}");
        }
    }
}
