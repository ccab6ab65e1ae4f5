//! What the environment fills in: decK's `${{ env "DECK_NAME" }}`, and in files `$NAME`, `${NAME}` and
//! `${NAME:-default}` as well.
//!
//! A placeholder becomes a mark before the text is parsed, and its value after it, in the scalar it stands in: what the
//! environment holds cannot change the structure of the text, and a key of many lines stays whole. Names that the
//! environment does not have are no placeholders: they, `$(…)` and `$$` stay as they are written.

use std::borrow::Cow;

use super::Withheld;

/// Finds the value of a variable that a text names as a shell does.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The placeholders of a text.
#[derive(Debug, Default)]
pub(super) struct Placeholders {
    /// Stands on either side of a placeholder's number.
    mark: char,
    found: Vec<Placeholder>,
}

#[derive(Debug, PartialEq, Eq)]
struct Placeholder {
    /// As it is written.
    written: String,
    holds: Holds,
}

#[derive(Debug, PartialEq, Eq)]
enum Holds {
    /// A variable that has to be there.
    Name {
        name: String,
        /// Its value is to be read as if it stood there without quotes.
        cast: bool,
    },
    /// What a shell would put in.
    Text {
        value: String,
        /// It is a variable's, and not a default that is written in the text.
        is_told: bool,
    },
}

/// A part of a text.
enum Piece<'t> {
    Written(&'t str),
    Of(&'t Placeholder),
}

/// A text with its placeholders filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Whether to read it as if it stood there without quotes.
    pub(super) cast: bool,
    /// What variables have told of it.
    pub(super) told: Vec<String>,
}

impl From<&str> for Filled {
    /// A text without placeholders.
    fn from(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            cast: false,
            told: Vec::new(),
        }
    }
}

/// A placeholder without a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    pub(super) name: String,
    pub(super) why: Withheld,
}

impl Placeholders {
    /// Takes the placeholders out of a text; those of a shell's kind where `shell` is given.
    pub(super) fn take<'t>(text: &'t str, shell: Option<Lookup<'_>>) -> (Cow<'t, str>, Self) {
        let mut placeholders = Self::default();
        if !text.contains(if shell.is_some() { "$" } else { "${{" }) {
            return (Cow::Borrowed(text), placeholders);
        }
        // A character for private use that is nowhere in the text; there are more of them than a text could want.
        let Some(mark) = ('\u{E000}'..='\u{F8FF}').find(|mark| !text.contains(*mark)) else {
            return (Cow::Borrowed(text), placeholders);
        };
        placeholders.mark = mark;
        let mut marked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            marked.push_str(before);
            let read = match (after.strip_prefix("{{"), shell) {
                (Some(inside), _) => Placeholder::read(inside),
                (None, Some(lookup)) => Placeholder::read_shell(after, lookup),
                (None, None) => None,
            };
            if let Some(placeholder) = read {
                // What is written begins with the `$`.
                rest = after.get(placeholder.written.len() - 1..).unwrap_or_default();
                marked.push_str(&format!("{mark}{}{mark}", placeholders.found.len()));
                placeholders.found.push(placeholder);
                continue;
            }
            marked.push('$');
            rest = after;
            // One that another escapes begins nothing, unless it is decK's.
            if let Some(escaped) = after.strip_prefix('$')
                && !escaped.starts_with("{{")
            {
                marked.push('$');
                rest = escaped;
            }
        }
        marked.push_str(rest);
        (Cow::Owned(marked), placeholders)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Fills in what was taken out of a text; `None` when nothing was. In code, what a shell would put in is left out: it
    /// stays as it is written.
    pub(super) fn fill(
        &self,
        text: &str,
        variable: &dyn Fn(&str) -> Result<String, Withheld>,
        is_code: bool,
    ) -> Option<Result<Filled, Unfilled>> {
        if self.is_empty() || !text.contains(self.mark) {
            return None;
        }
        let mut filled = Filled::from("");
        for piece in self.pieces(text) {
            let placeholder = match piece {
                Piece::Written(piece) => {
                    filled.text.push_str(piece);
                    continue;
                }
                Piece::Of(placeholder) => placeholder,
            };
            match &placeholder.holds {
                Holds::Text { .. } if is_code => filled.text.push_str(&placeholder.written),
                Holds::Text { value, is_told } => {
                    filled.text.push_str(value);
                    filled.told.extend(is_told.then(|| value.clone()));
                }
                Holds::Name { name, cast } => match variable(name) {
                    Ok(value) => {
                        filled.text.push_str(&value);
                        filled.cast |= cast;
                        filled.told.push(value);
                    }
                    Err(why) => {
                        let name = name.clone();
                        return Some(Err(Unfilled { name, why }));
                    }
                },
            }
        }
        Some(Ok(filled))
    }

    /// A text as it was written.
    pub(super) fn written(&self, text: &str) -> String {
        let written = |piece| match piece {
            Piece::Written(piece) => piece,
            Piece::Of(placeholder) => &*placeholder.written,
        };
        self.pieces(text).map(written).collect()
    }

    /// What stands around the placeholders of a text.
    pub(super) fn around<'t>(&'t self, text: &'t str) -> impl Iterator<Item = &'t str> {
        self.pieces(text).filter_map(|piece| match piece {
            Piece::Written(piece) => Some(piece),
            Piece::Of(_) => None,
        })
    }

    fn pieces<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Piece<'t>> {
        // Without placeholders there is no mark: then one that stands in the text is the text's own.
        let mark = (!self.is_empty()).then_some(self.mark);
        // Every other piece is the number of a placeholder.
        text.split(move |letter| Some(letter) == mark)
            .enumerate()
            .map(|(position, piece)| {
                let number = piece.parse::<usize>().ok().filter(|_| position % 2 == 1);
                let placeholder = number.and_then(|number| self.found.get(number));
                placeholder.map_or(Piece::Written(piece), Piece::Of)
            })
    }
}

impl Placeholder {
    /// Reads what stands after `${{`: `env "NAME" }}`, perhaps with `| toInt` in it.
    fn read(after: &str) -> Option<Self> {
        // Bound: a placeholder stands on one line.
        let line = after.lines().next().unwrap_or_default();
        let (inside, _) = line.split_once("}}")?;
        let mut steps = inside.split('|').map(str::trim);
        let quoted = steps.next()?.strip_prefix("env")?.trim_start();
        let name = [("\\\"", "\\\""), ("\"", "\""), ("'", "'"), ("`", "`")]
            .into_iter()
            .find_map(|(open, close)| quoted.strip_prefix(open)?.strip_suffix(close))?;
        if name.is_empty() || !name.bytes().all(is_part) {
            return None;
        }
        let mut cast = false;
        for step in steps {
            match step {
                "toBool" | "toInt" | "toFloat" => cast = true,
                // A value keeps its place whatever its lines: there is nothing to indent.
                step if step.starts_with("indent") => {}
                _ => return None,
            }
        }
        Some(Self {
            written: format!("${{{{{inside}}}}}"),
            holds: Holds::Name {
                name: name.to_owned(),
                cast,
            },
        })
    }

    /// Reads what stands after `$`: `NAME`, `{NAME}` or `{NAME:-default}`.
    fn read_shell(after: &str, lookup: Lookup<'_>) -> Option<Self> {
        let Some(inside) = after.strip_prefix('{') else {
            let name = name_at_start(after)?;
            return Some(Self {
                written: format!("${name}"),
                holds: Holds::Text {
                    value: lookup(name)?,
                    is_told: true,
                },
            });
        };
        let name = name_at_start(inside)?;
        let rest = inside.get(name.len()..)?;
        // Bound: a default stands on one line, and ends at the first brace.
        let (modifier, _) = rest.lines().next()?.split_once('}')?;
        let value = lookup(name);
        let (value, default) = match (modifier.strip_prefix(":-"), modifier.strip_prefix('-')) {
            (Some(default), _) => (value.filter(|value| !value.is_empty()), Some(default)),
            (None, Some(default)) => (value, Some(default)),
            (None, None) if modifier.is_empty() => (value, None),
            _ => return None,
        };
        let is_told = value.is_some();
        Some(Self {
            written: format!("${{{name}{modifier}}}"),
            holds: Holds::Text {
                value: value.or_else(|| default.map(str::to_owned))?,
                is_told,
            },
        })
    }
}

/// The names in a text that look as if the environment should have them: `$NAME` in capitals, `${name}`.
pub(super) fn left_over(text: &str) -> impl Iterator<Item = &str> {
    let mut pieces = text.split('$');
    // Before the first there is nothing.
    let _before: Option<&str> = pieces.next();
    pieces.filter_map(|piece| match piece.strip_prefix('{') {
        Some(inside) => {
            let name = name_at_start(inside)?;
            inside.get(name.len()..)?.starts_with('}').then_some(name)
        }
        None => name_at_start(piece).filter(|name| {
            let capital = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
            name.len() > 1 && name.bytes().all(capital)
        }),
    })
}

fn name_at_start(text: &str) -> Option<&str> {
    let end = text
        .find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'))
        .unwrap_or(text.len());
    let name = text.get(..end)?;
    (!name.is_empty() && !name.starts_with(|first: char| first.is_ascii_digit())).then_some(name)
}

fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, shell: bool) -> Result<(String, bool), String> {
        let lookup = |name: &str| match name {
            "A" | "SECRET_KEY" => Some(name.to_lowercase()),
            "EMPTY" => Some(String::new()),
            "PEM" => Some("a\nb\n".to_owned()),
            _ => None,
        };
        let lookup: Option<Lookup<'_>> = if shell { Some(&lookup) } else { None };
        let (marked, placeholders) = Placeholders::take(text, lookup);
        let variable = |name: &str| match name {
            "DECK_A" => Ok("one".to_owned()),
            "DECK_PEM" => Ok("a\nb\n".to_owned()),
            _ => Err(Withheld::Unset),
        };
        match placeholders.fill(&marked, &variable, false) {
            None => Ok((marked.into_owned(), false)),
            Some(Ok(Filled { text, cast, .. })) => Ok((text, cast)),
            Some(Err(unfilled)) => Err(unfilled.name),
        }
    }

    #[test]
    fn placeholders_are_filled_and_the_rest_is_left_alone() {
        for (text, expected) in [
            ("${{ env \"DECK_A\" }}", Ok(("one", false))),
            ("${{env 'DECK_A'}}", Ok(("one", false))),
            ("${{ env `DECK_A` | toInt }}", Ok(("one", true))),
            (
                "x${{ env \\\"DECK_A\\\" }}y${{ env \"DECK_A\" }}",
                Ok(("xoneyone", false)),
            ),
            ("${{ env \"DECK_PEM\" | indent 4 }}", Ok(("a\nb\n", false))),
            ("${{ env \"DECK_B\" }}", Err("DECK_B")),
            ("${{ NAME }} ${{NAME}}", Ok(("${{ NAME }} ${{NAME}}", false))),
            ("${{ env \"A\" | sh }}", Ok(("${{ env \"A\" | sh }}", false))),
            ("${{ env \"A-B\" }}", Ok(("${{ env \"A-B\" }}", false))),
            ("${{ env \"A\"", Ok(("${{ env \"A\"", false))),
            ("${{${{ env \"DECK_A\" }}", Ok(("${{one", false))),
            ("$${{ env \"DECK_A\" }}", Ok(("$one", false))),
            (
                "\u{E000}0\u{E000} ${{ env \"DECK_A\" }}",
                Ok(("\u{E000}0\u{E000} one", false)),
            ),
        ] {
            let expected = expected
                .map(|(text, cast)| (text.to_owned(), cast))
                .map_err(str::to_owned);
            assert_eq!(filled(text, false), expected, "{text}");
            assert_eq!(filled(text, true), expected, "{text}");
        }
        assert_eq!(filled("$A ${A} ${B:-c}", false).unwrap().0, "$A ${A} ${B:-c}");
    }

    #[test]
    fn what_a_shell_would_fill_in_is_filled_in() {
        for (text, expected) in [
            ("$A ${A} x$A/${A}y", "a a xa/ay"),
            ("$AB $a ${AB} ${A", "$AB $a ${AB} ${A"),
            ("${B:-c d} ${A:-c} ${EMPTY:-e} [$EMPTY]", "c d a e []"),
            ("${B-c} ${EMPTY-e} ${B:-}", "c  "),
            ("${A:?no} ${A%x} ${A-b\n}", "${A:?no} ${A%x} ${A-b\n}"),
            ("$PEM", "a\nb\n"),
            (
                "$(headers.a) $((headers.b == '$SECRET_KEY'))",
                "$(headers.a) $((headers.b == 'secret_key'))",
            ),
            ("$2a$10$x ^%s*$ (a|b)$ $", "$2a$10$x ^%s*$ (a|b)$ $"),
            ("$$A $${A} $$$A", "$$A $${A} $$a"),
            ("${request_id} $uri", "${request_id} $uri"),
        ] {
            assert_eq!(filled(text, true).unwrap().0, expected, "{text}");
        }
    }

    #[test]
    fn code_stays_as_it_is_written() {
        let lookup = |_: &str| Some("x".to_owned());
        let (marked, placeholders) = Placeholders::take("if a == '$A' or '${B:-c}' then", Some(&lookup));
        let unset = |_: &str| Err(Withheld::Unset);
        let filled = placeholders.fill(&marked, &unset, true).unwrap().unwrap();
        assert_eq!(filled.text, "if a == '$A' or '${B:-c}' then");
    }

    #[test]
    fn names_that_nobody_filled_in_are_found() {
        let names: Vec<&str> = left_over("$A $BC $bc ${d} ${e $(f) $2a $F_1/").collect();
        assert_eq!(names, ["BC", "d", "F_1"]);
    }
}
