//! From characters to words.

use super::parse::ReadError;
use super::value::number_of;

/// A word of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A name, or a word of the language.
    Name(String),
    /// A number.
    Number(f64),
    /// A text without its quotes.
    Text(Vec<u8>),
    /// An operator or a bracket.
    Sign(&'static str),
    /// Nothing is left.
    End,
}

/// The longer ones first.
const SIGNS: [&str; 23] = [
    "...", "..", "==", "~=", "<=", ">=", "<", ">", "(", ")", "[", "]", ".", ",", ":", "#", "+", "-", "*",
    "/", "%", "^", "=",
];

/// The words, each with the byte where it begins.
pub(super) fn words(source: &str) -> Result<Vec<(usize, Token)>, ReadError> {
    let bytes = source.as_bytes();
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        if byte.is_ascii_whitespace() {
            at += 1;
            continue;
        }
        let (token, length) = word(source, at)?;
        words.push((at, token));
        at += length;
    }
    words.push((at, Token::End));
    Ok(words)
}

fn word(source: &str, at: usize) -> Result<(Token, usize), ReadError> {
    let rest = source.get(at..).unwrap_or_default();
    let bytes = rest.as_bytes();
    let first = bytes.first().copied().unwrap_or_default();
    let is_number = first.is_ascii_digit() || (first == b'.' && bytes.get(1).is_some_and(u8::is_ascii_digit));
    if first.is_ascii_alphabetic() || first == b'_' {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let name: String = rest.bytes().take_while(is_part).map(char::from).collect();
        let length = name.len();
        return Ok((Token::Name(name), length));
    }
    if is_number {
        return number(bytes).ok_or_else(|| ReadError::needs(at, "a number that is none"));
    }
    match first {
        b'"' | b'\'' => text(bytes, at),
        b'-' if bytes.get(1) == Some(&b'-') => Err(ReadError::needs(at, "a comment")),
        b'[' if matches!(bytes.get(1), Some(b'[' | b'=')) => {
            Err(ReadError::needs(at, "a text in long brackets"))
        }
        _ => match SIGNS.into_iter().find(|sign| rest.starts_with(sign)) {
            Some(sign) => Ok((Token::Sign(sign), sign.len())),
            None => {
                let found = rest.chars().next().unwrap_or_default();
                Err(ReadError::needs(at, format!("`{found}`")))
            }
        },
    }
}

fn number(bytes: &[u8]) -> Option<(Token, usize)> {
    let mut length = 0;
    while let Some(&byte) = bytes.get(length) {
        let is_exponent = |byte: u8| matches!(byte, b'e' | b'E');
        let after_exponent = length > 0 && bytes.get(length - 1).copied().is_some_and(is_exponent);
        let is_part =
            byte.is_ascii_alphanumeric() || byte == b'.' || (after_exponent && b"+-".contains(&byte));
        // `1..2` joins two numbers.
        if !is_part || bytes.get(length..).is_some_and(|rest| rest.starts_with(b"..")) {
            break;
        }
        length += 1;
    }
    let number = number_of(bytes.get(..length)?)?;
    Some((Token::Number(number), length))
}

/// A text in quotes, with Lua's escapes.
fn text(bytes: &[u8], at: usize) -> Result<(Token, usize), ReadError> {
    let quote = bytes.first().copied();
    let mut text = Vec::new();
    let mut position = 1;
    loop {
        let Some(&byte) = bytes.get(position) else {
            return Err(ReadError::syntax(at, "a text that does not end"));
        };
        position += 1;
        match byte {
            b'\n' => return Err(ReadError::syntax(at, "a text that does not end on its line")),
            b'\\' => {
                position += escape(bytes.get(position..).unwrap_or_default(), &mut text)
                    .ok_or_else(|| ReadError::needs(at + position, "an escape that is none"))?
            }
            byte if Some(byte) == quote => return Ok((Token::Text(text), position)),
            byte => text.push(byte),
        }
    }
}

/// What follows a backslash: the byte it stands for goes to `text`; how long it is.
fn escape(rest: &[u8], text: &mut Vec<u8>) -> Option<usize> {
    let first = *rest.first()?;
    let plain = match first {
        b'n' => b'\n',
        b't' => b'\t',
        b'r' => b'\r',
        b'a' => 7,
        b'b' => 8,
        b'f' => 12,
        b'v' => 11,
        b'\\' | b'"' | b'\'' | b'\n' => first,
        b'x' => {
            let digits = std::str::from_utf8(rest.get(1..3)?).ok()?;
            text.push(u8::from_str_radix(digits, 16).ok()?);
            return Some(3);
        }
        b'0'..=b'9' => {
            let length = rest
                .iter()
                .take(3)
                .take_while(|byte| byte.is_ascii_digit())
                .count();
            let digits = std::str::from_utf8(rest.get(..length)?).ok()?;
            text.push(digits.parse().ok()?);
            return Some(length);
        }
        _ => return None,
    };
    text.push(plain);
    Some(1)
}
