//! From words to a tree.

use super::lex::{self, Token};
use super::value::Table;

/// Bound: bytes of an expression.
const MOST_BYTES: usize = 16 * 1024;
/// Bound: parts of an expression.
const MOST_NODES: usize = 1024;
/// Bound: brackets in brackets.
const DEEPEST: usize = 100;

/// A text that is not an expression, or one that takes more of Lua than there is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum ReadError {
    /// Lua could not read it either.
    #[error("not an expression: {found} at byte {at}")]
    Syntax {
        /// Where.
        at: usize,
        /// What is there.
        found: Box<str>,
    },
    /// Lua might.
    #[error(
        "needs Lua: {found} at byte {at}; there are comparisons, and, or, not, `..`, headers, query_params, uri_captures and \
         the methods sub, lower, upper, len, rep, reverse, find, match, gsub"
    )]
    NeedsLua {
        /// Where.
        at: usize,
        /// What is there.
        found: Box<str>,
    },
    /// A bound is passed.
    #[error("needs Lua: it is too long or nests too deeply; take it apart")]
    TooLarge,
}

impl ReadError {
    pub(super) fn syntax(at: usize, found: impl Into<Box<str>>) -> Self {
        let found = found.into();
        Self::Syntax { at, found }
    }

    pub(super) fn needs(at: usize, found: impl Into<Box<str>>) -> Self {
        let found = found.into();
        Self::NeedsLua { at, found }
    }
}

/// A part of an expression.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Nil,
    Bool(bool),
    Number(f64),
    Text(Box<[u8]>),
    Table(Table),
    Index(Box<(Self, Self)>),
    Unary(Unary, Box<Self>),
    Binary(Binary, Box<(Self, Self)>),
    Call(Function, Vec<Self>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Minus,
    Length,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Join,
    Plus,
    Minus,
    Times,
    Over,
    Modulo,
    Power,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    ToString,
    ToNumber,
    Sub,
    Lower,
    Upper,
    Len,
    Rep,
    Reverse,
    Find,
    Match,
    Gsub,
}

/// How tightly an operator holds its left and its right side; the right side less tightly where it binds to the right.
fn binary(token: &Token) -> Option<(Binary, u8, u8)> {
    let text = match token {
        Token::Name(name) => name.as_str(),
        Token::Sign(sign) => sign,
        _ => return None,
    };
    Some(match text {
        "or" => (Binary::Or, 1, 2),
        "and" => (Binary::And, 3, 4),
        "==" => (Binary::Equal, 5, 6),
        "~=" => (Binary::NotEqual, 5, 6),
        "<" => (Binary::Less, 5, 6),
        "<=" => (Binary::LessOrEqual, 5, 6),
        ">" => (Binary::Greater, 5, 6),
        ">=" => (Binary::GreaterOrEqual, 5, 6),
        ".." => (Binary::Join, 8, 7),
        "+" => (Binary::Plus, 9, 10),
        "-" => (Binary::Minus, 9, 10),
        "*" => (Binary::Times, 11, 12),
        "/" => (Binary::Over, 11, 12),
        "%" => (Binary::Modulo, 11, 12),
        "^" => (Binary::Power, 16, 15),
        _ => return None,
    })
}

/// How tightly `not`, `-` and `#` hold.
const UNARY: u8 = 13;

/// Words of the language that are no names.
const KEYWORDS: [&str; 21] = [
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local", "nil",
    "not", "or", "repeat", "return", "then", "true", "until", "while",
];

/// Reads an expression, and says which tables it looks into.
pub(super) fn read(source: &str) -> Result<(Node, Vec<Table>), ReadError> {
    if source.len() > MOST_BYTES {
        return Err(ReadError::TooLarge);
    }
    let mut parser = Parser {
        words: lex::words(source)?,
        position: 0,
        nodes: 0,
        depth: 0,
        tables: Vec::new(),
    };
    let root = parser.expression(0)?;
    match parser.peek() {
        Token::End => Ok((root, parser.tables)),
        _ => Err(parser.unexpected()),
    }
}

struct Parser {
    words: Vec<(usize, Token)>,
    position: usize,
    nodes: usize,
    depth: usize,
    tables: Vec<Table>,
}

impl Parser {
    fn peek(&self) -> &Token {
        self.words
            .get(self.position)
            .map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        let word = self.words.get(self.position).or(self.words.last());
        word.map_or(0, |(at, _)| *at)
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.position += 1;
        token
    }

    fn is(&self, text: &str) -> bool {
        match self.peek() {
            Token::Sign(sign) => *sign == text,
            Token::Name(name) => name == text,
            _ => false,
        }
    }

    fn take(&mut self, text: &str) -> bool {
        let is = self.is(text);
        self.position += usize::from(is);
        is
    }

    fn expect(&mut self, text: &str) -> Result<(), ReadError> {
        if self.take(text) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    fn unexpected(&self) -> ReadError {
        let at = self.at();
        match self.peek() {
            Token::End => ReadError::syntax(at, "nothing where a value is expected"),
            Token::Name(name) if KEYWORDS.contains(&name.as_str()) => {
                ReadError::needs(at, format!("`{name}`"))
            }
            Token::Name(name) => ReadError::syntax(at, format!("`{name}`")),
            Token::Number(_) => ReadError::syntax(at, "a number"),
            Token::Text(_) => ReadError::needs(at, "a text"),
            Token::Sign(sign) => ReadError::needs(at, format!("`{sign}`")),
        }
    }

    fn count(&mut self) -> Result<(), ReadError> {
        self.nodes += 1;
        if self.nodes > MOST_NODES {
            Err(ReadError::TooLarge)
        } else {
            Ok(())
        }
    }

    /// An expression whose operators hold at least this tightly.
    fn expression(&mut self, least: u8) -> Result<Node, ReadError> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(ReadError::TooLarge);
        }
        let mut left = self.unary()?;
        while let Some((operator, holds, right)) = binary(self.peek())
            && holds >= least
        {
            self.count()?;
            self.position += 1;
            let right = self.expression(right)?;
            left = Node::Binary(operator, Box::new((left, right)));
        }
        self.depth -= 1;
        Ok(left)
    }

    fn unary(&mut self) -> Result<Node, ReadError> {
        self.count()?;
        let operator = match self.peek() {
            Token::Name(name) if name == "not" => Unary::Not,
            Token::Sign("-") => Unary::Minus,
            Token::Sign("#") => Unary::Length,
            _ => return self.suffixed(),
        };
        self.position += 1;
        let operand = self.expression(UNARY)?;
        Ok(Node::Unary(operator, Box::new(operand)))
    }

    /// A value, and what is picked from it.
    fn suffixed(&mut self) -> Result<Node, ReadError> {
        let mut node = self.primary()?;
        loop {
            self.count()?;
            if self.take(".") {
                let name = self.name()?;
                node = Node::Index(Box::new((node, Node::Text(name.into_bytes().into()))));
            } else if self.take("[") {
                let key = self.expression(0)?;
                self.expect("]")?;
                node = Node::Index(Box::new((node, key)));
            } else if self.is(":") {
                let at = self.at();
                self.position += 1;
                let name = self.name()?;
                let function =
                    method(&name).ok_or_else(|| ReadError::needs(at, format!("the method `{name}`")))?;
                node = self.call(function, Some(node))?;
            } else if self.is("(") || matches!(self.peek(), Token::Text(_)) {
                return Err(ReadError::needs(self.at(), "a call"));
            } else {
                return Ok(node);
            }
        }
    }

    fn primary(&mut self) -> Result<Node, ReadError> {
        if self.take("(") {
            let node = self.expression(0)?;
            self.expect(")")?;
            return Ok(node);
        }
        let at = self.at();
        match self.peek() {
            Token::Number(_) | Token::Text(_) | Token::Name(_) => {}
            _ => return Err(self.unexpected()),
        }
        match self.next() {
            Token::Number(number) => Ok(Node::Number(number)),
            Token::Text(text) => Ok(Node::Text(text.into())),
            Token::Name(name) => {
                self.position -= 1;
                self.named(&name, at)
            }
            _ => Err(self.unexpected()),
        }
    }

    fn named(&mut self, name: &str, at: usize) -> Result<Node, ReadError> {
        let node = match name {
            "nil" => Node::Nil,
            "true" => Node::Bool(true),
            "false" => Node::Bool(false),
            "headers" => self.table(Table::Headers),
            "query_params" => self.table(Table::QueryParams),
            "uri_captures" => self.table(Table::UriCaptures),
            "shared" => self.table(Table::Shared),
            "tostring" | "tonumber" | "string" => return self.function(name, at),
            word if KEYWORDS.contains(&word) => return Err(self.unexpected()),
            _ => Node::Nil,
        };
        self.position += 1;
        Ok(node)
    }

    fn table(&mut self, table: Table) -> Node {
        if !self.tables.contains(&table) {
            self.tables.push(table);
        }
        Node::Table(table)
    }

    /// `tostring(…)`, `string.sub(…)`: only where they are called.
    fn function(&mut self, name: &str, at: usize) -> Result<Node, ReadError> {
        self.position += 1;
        let function = match name {
            "tostring" => Some(Function::ToString),
            "tonumber" => Some(Function::ToNumber),
            _ if self.take(".") => method(&self.name()?),
            _ => None,
        };
        match function {
            Some(function) if self.is("(") => self.call(function, None),
            _ => Err(ReadError::needs(at, format!("`{name}`"))),
        }
    }

    fn call(&mut self, function: Function, subject: Option<Node>) -> Result<Node, ReadError> {
        let at = self.at();
        let mut arguments: Vec<Node> = subject.into_iter().collect();
        if let Token::Text(text) = self.peek() {
            arguments.push(Node::Text(text.as_slice().into()));
            self.position += 1;
        } else {
            self.expect("(")?;
            if !self.take(")") {
                loop {
                    arguments.push(self.expression(0)?);
                    if !self.take(",") {
                        break;
                    }
                }
                self.expect(")")?;
            }
        }
        let (least, most) = function.arguments();
        if arguments.len() < least || arguments.len() > most {
            return Err(ReadError::needs(at, "a call with these arguments"));
        }
        Ok(Node::Call(function, arguments))
    }

    fn name(&mut self) -> Result<String, ReadError> {
        match self.peek() {
            Token::Name(name) if !KEYWORDS.contains(&name.as_str()) => {
                let name = name.clone();
                self.position += 1;
                Ok(name)
            }
            _ => Err(self.unexpected()),
        }
    }
}

impl Function {
    /// How many arguments it takes, its subject among them.
    fn arguments(self) -> (usize, usize) {
        match self {
            Self::ToString | Self::ToNumber | Self::Lower | Self::Upper | Self::Len | Self::Reverse => (1, 1),
            Self::Rep => (2, 2),
            Self::Sub | Self::Match => (2, 3),
            Self::Find => (2, 4),
            Self::Gsub => (3, 4),
        }
    }
}

fn method(name: &str) -> Option<Function> {
    Some(match name {
        "sub" => Function::Sub,
        "lower" => Function::Lower,
        "upper" => Function::Upper,
        "len" => Function::Len,
        "rep" => Function::Rep,
        "reverse" => Function::Reverse,
        "find" => Function::Find,
        "match" => Function::Match,
        "gsub" => Function::Gsub,
        _ => return None,
    })
}
