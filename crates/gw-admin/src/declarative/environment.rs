//! decK's placeholders: `${{ env "DECK_NAME" }}`.
//!
//! A placeholder becomes a mark before the text is parsed, and its value after it, in the scalar it stands in: what the
//! environment holds cannot change the structure of the text, and a key of many lines stays whole.

use std::borrow::Cow;

use super::Withheld;

/// The placeholders of a text.
#[derive(Debug, Default)]
pub(super) struct Placeholders {
    /// Stands on either side of a placeholder's number.
    mark: char,
    found: Vec<Placeholder>,
}

#[derive(Debug, PartialEq, Eq)]
struct Placeholder {
    name: String,
    /// Its value is to be read as if it stood there without quotes.
    cast: bool,
}

/// A text with its placeholders filled in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Filled {
    pub(super) text: String,
    /// Whether to read it as if it stood there without quotes.
    pub(super) cast: bool,
}

/// A placeholder without a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfilled {
    pub(super) name: String,
    pub(super) why: Withheld,
}

impl Placeholders {
    /// Takes the placeholders out of a text.
    pub(super) fn take(text: &str) -> (Cow<'_, str>, Self) {
        let mut placeholders = Self::default();
        if !text.contains("${{") {
            return (Cow::Borrowed(text), placeholders);
        }
        // A character for private use that is nowhere in the text; there are more of them than a text could want.
        let Some(mark) = ('\u{E000}'..='\u{F8FF}').find(|mark| !text.contains(*mark)) else {
            return (Cow::Borrowed(text), placeholders);
        };
        placeholders.mark = mark;
        let mut marked = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${{") {
            marked.push_str(before);
            // Bound: a placeholder stands on one line.
            let line = after.lines().next().unwrap_or_default();
            let inside = line.split_once("}}").map(|(inside, _)| inside);
            let Some((inside, placeholder)) =
                inside.and_then(|inside| Some((inside, Placeholder::read(inside)?)))
            else {
                marked.push_str("${{");
                rest = after;
                continue;
            };
            marked.push_str(&format!("{mark}{}{mark}", placeholders.found.len()));
            placeholders.found.push(placeholder);
            rest = after.get(inside.len() + 2..).unwrap_or_default();
        }
        marked.push_str(rest);
        (Cow::Owned(marked), placeholders)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Fills in what was taken out of a text; `None` when nothing was.
    pub(super) fn fill(
        &self,
        text: &str,
        variable: &dyn Fn(&str) -> Result<String, Withheld>,
    ) -> Option<Result<Filled, Unfilled>> {
        if self.is_empty() || !text.contains(self.mark) {
            return None;
        }
        let mut filled = String::new();
        let mut cast = false;
        // Every other piece is the number of a placeholder.
        for (position, piece) in text.split(self.mark).enumerate() {
            let number = piece.parse::<usize>().ok().filter(|_| position % 2 == 1);
            let Some(placeholder) = number.and_then(|number| self.found.get(number)) else {
                filled.push_str(piece);
                continue;
            };
            match variable(&placeholder.name) {
                Ok(value) => filled.push_str(&value),
                Err(why) => {
                    let name = placeholder.name.clone();
                    return Some(Err(Unfilled { name, why }));
                }
            }
            cast |= placeholder.cast;
        }
        Some(Ok(Filled { text: filled, cast }))
    }
}

impl Placeholder {
    /// Reads what stands between the braces: `env "NAME"`, perhaps `| toInt` after it.
    fn read(inside: &str) -> Option<Self> {
        let mut steps = inside.split('|').map(str::trim);
        let quoted = steps.next()?.strip_prefix("env")?.trim_start();
        let name = [("\\\"", "\\\""), ("\"", "\""), ("'", "'"), ("`", "`")]
            .into_iter()
            .find_map(|(open, close)| quoted.strip_prefix(open)?.strip_suffix(close))?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(is_name) {
            return None;
        }
        let mut cast = false;
        for step in steps {
            match step {
                "toBool" | "toInt" | "toFloat" => cast = true,
                // A value keeps its place whatever its lines: there is nothing to indent.
                step if step.starts_with("indent") || step.starts_with("nindent") => {}
                _ => return None,
            }
        }
        let name = name.to_owned();
        Some(Self { name, cast })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<(String, bool), String> {
        let (marked, placeholders) = Placeholders::take(text);
        let variable = |name: &str| match name {
            "DECK_A" => Ok("one".to_owned()),
            "DECK_PEM" => Ok("a\nb\n".to_owned()),
            _ => Err(Withheld::Unset),
        };
        match placeholders.fill(&marked, &variable) {
            None => Ok((marked.into_owned(), false)),
            Some(Ok(Filled { text, cast })) => Ok((text, cast)),
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
            ("$NAME ${NAME}", Ok(("$NAME ${NAME}", false))),
            ("${{${{ env \"DECK_A\" }}", Ok(("${{one", false))),
            (
                "\u{E000}0\u{E000} ${{ env \"DECK_A\" }}",
                Ok(("\u{E000}0\u{E000} one", false)),
            ),
        ] {
            let expected = expected
                .map(|(text, cast)| (text.to_owned(), cast))
                .map_err(str::to_owned);
            assert_eq!(filled(text), expected, "{text}");
        }
    }
}
