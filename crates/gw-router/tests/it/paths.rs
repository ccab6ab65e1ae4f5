//! Random paths, and patterns as plain data.

use std::{collections::HashMap, sync::LazyLock};

use gw_router::Pattern;
use proptest::{collection::vec, prelude::*, sample::select};

/// A pattern, from whose text the router reads it, and from whose parts the oracle.
#[derive(Clone, Debug)]
pub(crate) enum PathSpec {
    Native(Native),
    /// Kong's prefix.
    Prefix(String),
    /// Kong's expression.
    Regex(&'static RegexSpec),
}

#[derive(Clone, Debug)]
pub(crate) struct Native {
    pub(crate) text: String,
    /// Two texts never follow each other.
    pub(crate) tokens: Vec<Token>,
    pub(crate) tail: Tail,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Text(String),
    Param(String),
    /// Several segments, before the end of a pattern.
    Wild {
        name: String,
        least: bool,
    },
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tail {
    End,
    /// The rest of the path.
    Rest {
        name: String,
        least: bool,
    },
    /// `*` behind a byte that is no slash.
    Raw,
    /// The end of a segment: [`Pattern::prefix`].
    Segments,
}

/// An expression, its literal head, and the one it has where case is ignored.
#[derive(Debug)]
pub(crate) struct RegexSpec {
    pub(crate) text: &'static str,
    pub(crate) head: &'static str,
    pub(crate) folded_head: &'static str,
}

const fn regex(text: &'static str, head: &'static str, folded_head: &'static str) -> RegexSpec {
    RegexSpec {
        text,
        head,
        folded_head,
    }
}

pub(crate) static REGEXES: [RegexSpec; 11] = [
    regex(r"/a", "/a", "/"),
    regex(r"/ab?", "/a", "/"),
    regex(r"/(?<p0>[^/]+)$", "/", "/"),
    regex(r"/a/(?<p0>[a-z]+)/(?<p1>.*)", "/a/", "/"),
    regex(r"/(?:a|b)/", "/", "/"),
    regex(r"/ab(?<p0>c)?", "/ab", "/"),
    regex(r"/a|/b", "/", "/"),
    regex(r"/a/b+$", "/a/b", "/"),
    regex(r"/-(?<p0>.)(?<p1>[.]a)?", "/-", "/-"),
    regex(r"/?a?", "", ""),
    regex(r"/(?i)AB/(?-i)c", "/", "/"),
];

/// Compiling takes longer than everything else in these tests together.
static COMPILED: LazyLock<HashMap<&str, Pattern>> = LazyLock::new(|| {
    REGEXES
        .iter()
        .map(|spec| (spec.text, Pattern::kong(&format!("~{}", spec.text)).unwrap()))
        .collect()
});

impl PathSpec {
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Native(native) => native.text.clone(),
            Self::Prefix(text) => text.clone(),
            Self::Regex(spec) => format!("~{}", spec.text),
        }
    }

    pub(crate) fn pattern(&self) -> Pattern {
        match self {
            Self::Native(native) if native.tail == Tail::Segments => Pattern::prefix(&native.text).unwrap(),
            Self::Native(native) => Pattern::parse(&native.text).unwrap(),
            Self::Prefix(text) => Pattern::kong(text).unwrap(),
            Self::Regex(spec) => COMPILED[spec.text].clone(),
        }
    }
}

// --- Patterns ---

/// What one segment of a pattern consists of.
#[derive(Clone, Debug)]
enum Segment {
    Text(&'static str),
    /// `{name}` or `:name`.
    Param {
        colon: bool,
    },
    /// Text before, parameters with text between them, text behind.
    Template(&'static str, Vec<&'static str>, &'static str),
    /// `*` or `*name`, up to the end of the segment.
    Star {
        named: bool,
    },
    /// `{*name}` with text before and behind.
    Wild(&'static str, &'static str),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Nothing,
    Slash,
    Raw,
    /// `/*`, `/*rest`, `/{*rest}`.
    Star,
    Named,
    Least,
    /// `{*rest}` right behind text.
    Behind,
    Segments,
    SegmentsSlash,
}

/// Of paths and patterns alike.
const TEXTS: [&str; 11] = ["a", "a", "b", "b", "ab", "abc", "é", "A", "{b}", ":a", "*"];
/// Between parameters, and behind them.
const SEPARATORS: [&str; 4] = ["-", ".", "b", "-."];

/// Writes a pattern and takes it apart at once.
#[derive(Default)]
struct Writer {
    text: String,
    tokens: Vec<Token>,
    count: usize,
}

impl Writer {
    fn literal(&mut self, text: &str) {
        // In each way in which a character can be escaped.
        let colon = if self.text.ends_with('/') { r"\:" } else { ":" };
        let escaped = text
            .replace('{', "{{")
            .replace('}', r"\}")
            .replace('*', r"\*")
            .replace(':', colon);
        self.text.push_str(&escaped);
        match self.tokens.last_mut() {
            Some(Token::Text(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.tokens.push(Token::Text(text.to_owned())),
        }
    }

    fn name(&mut self) -> String {
        self.count += 1;
        format!("p{}", self.count)
    }

    fn param(&mut self, colon: bool) {
        let name = self.name();
        self.text.push_str(&if colon {
            format!(":{name}")
        } else {
            format!("{{{name}}}")
        });
        self.tokens.push(Token::Param(name));
    }

    fn wild(&mut self, least: bool, named: bool) {
        let name = if named { self.name() } else { String::new() };
        self.text.push_str(&if least {
            format!("{{*{name}}}")
        } else {
            format!("*{name}")
        });
        self.tokens.push(Token::Wild { name, least });
    }

    fn segment(&mut self, segment: &Segment) {
        self.literal("/");
        match segment {
            Segment::Text(text) => self.literal(text),
            Segment::Param { colon } => self.param(*colon),
            Segment::Template(before, separators, behind) => {
                self.literal(before);
                for separator in separators {
                    self.param(false);
                    self.literal(separator);
                }
                self.param(false);
                self.literal(behind);
            }
            Segment::Star { named } => self.wild(false, *named),
            Segment::Wild(before, behind) => {
                self.literal(before);
                self.wild(true, true);
                self.literal(behind);
            }
        }
    }

    /// What can follow the last segment takes the place of what cannot.
    fn finish(mut self, end: End, last: Option<&Segment>) -> Native {
        let behind_text = matches!(last, Some(Segment::Text(_)))
            || matches!(last, Some(Segment::Wild(_, behind)) if !behind.is_empty());
        let wild = matches!(self.tokens.last(), Some(Token::Wild { .. }));
        let mut tail = Tail::End;
        match end {
            End::Raw if behind_text => {
                self.text.push('*');
                tail = Tail::Raw;
            }
            End::Behind if behind_text => self.wild(true, true),
            End::Segments if !wild => tail = Tail::Segments,
            End::SegmentsSlash if !wild => {
                self.text.push('/');
                tail = Tail::Segments;
            }
            End::Star | End::Named | End::Least => {
                self.literal("/");
                self.wild(end == End::Least, end != End::Star);
            }
            End::Slash => self.literal("/"),
            _ => {}
        }
        if self.text.is_empty() {
            self.text.push('/');
            if tail == Tail::End {
                self.tokens.push(Token::Text("/".to_owned()));
            }
        }
        if let Some(Token::Wild { name, least }) =
            self.tokens.pop_if(|token| matches!(token, Token::Wild { .. }))
        {
            tail = Tail::Rest { name, least };
        }
        Native {
            text: self.text,
            tokens: self.tokens,
            tail,
        }
    }
}

pub(crate) fn native_path() -> impl Strategy<Value = PathSpec> {
    let text = || select(&TEXTS);
    let some_text = || prop_oneof![2 => Just(""), 1 => select(&["a", "v", "-"])];
    let behind = || prop_oneof![1 => Just(""), 1 => select(&[".js", "b", "-"])];
    let segment = prop_oneof![
        12 => text().prop_map(Segment::Text),
        5 => any::<bool>().prop_map(|colon| Segment::Param { colon }),
        4 => (some_text(), vec(select(&SEPARATORS), 0..3), behind())
            .prop_map(|(before, separators, behind)| Segment::Template(before, separators, behind)),
        1 => any::<bool>().prop_map(|named| Segment::Star { named }),
        2 => (some_text(), behind()).prop_map(|(before, behind)| Segment::Wild(before, behind)),
    ];
    let end = prop_oneof![
        6 => Just(End::Nothing),
        1 => Just(End::Slash),
        1 => Just(End::Raw),
        1 => Just(End::Star),
        1 => Just(End::Named),
        1 => Just(End::Least),
        1 => Just(End::Behind),
        1 => Just(End::Segments),
        1 => Just(End::SegmentsSlash),
    ];
    let path = (vec(segment, 0..5), end).prop_map(|(segments, end)| {
        let mut writer = Writer::default();
        for segment in &segments {
            writer.segment(segment);
        }
        PathSpec::Native(writer.finish(end, segments.last()))
    });
    let any = Native {
        text: "*".to_owned(),
        tokens: Vec::new(),
        tail: Tail::Raw,
    };
    prop_oneof![40 => path, 1 => Just(PathSpec::Native(any))]
}

/// Paths without wildcards, so many that wherever other patterns begin a tree has a crowd.
pub(crate) fn crowd() -> impl Iterator<Item = PathSpec> {
    let bases = ["/", "/a", "/a/", "/v", "/a/b/", "/v1/", "/a/1", "/a/b", "/a/v"];
    let literal = |text: String| Native {
        tokens: vec![Token::Text(text.clone())],
        text,
        tail: Tail::End,
    };
    let texts =
        (b'a'..=b'w').flat_map(move |letter| bases.map(|base| format!("{base}{}", char::from(letter))));
    let ends = ["", "/", "/x", "b"].into_iter().cycle();
    let texts = texts.zip(ends).map(|(text, end)| text + end);
    // And so many of several segments that the next ones are found by all their bytes.
    let several = (0..110).map(|number| format!("/z/{number}"));
    texts
        .chain(several)
        .map(move |text| PathSpec::Native(literal(text)))
}

/// Patterns of which many match one path, each in another way.
pub(crate) fn crossing_pattern() -> impl Strategy<Value = PathSpec> {
    let text = || select(&["", "", "a", "-", "b"]);
    let segment = prop_oneof![
        2 => select(&["a", "b", "a-b"]).prop_map(Segment::Text),
        2 => any::<bool>().prop_map(|colon| Segment::Param { colon }),
        8 => (text(), vec(select(&SEPARATORS), 0..3), text())
            .prop_map(|(before, separators, behind)| Segment::Template(before, separators, behind)),
        2 => any::<bool>().prop_map(|named| Segment::Star { named }),
        2 => (text(), text()).prop_map(|(before, behind)| Segment::Wild(before, behind)),
    ];
    let end = select(&[
        End::Nothing,
        End::Nothing,
        End::Nothing,
        End::Star,
        End::Least,
        End::Segments,
    ]);
    (vec(segment, 1..4), end).prop_map(|(segments, end)| {
        let mut writer = Writer::default();
        for segment in &segments {
            writer.segment(segment);
        }
        PathSpec::Native(writer.finish(end, segments.last()))
    })
}

/// Paths for [`crossing_pattern`].
pub(crate) fn crossing_path() -> impl Strategy<Value = String> {
    let parts = select(&["a", "b", "-", ".", "a-b", "-.", "/", "/a"]);
    vec(parts, 0..10).prop_map(|parts| format!("/{}", parts.concat()))
}

pub(crate) fn kong_path() -> impl Strategy<Value = PathSpec> {
    let prefix = (vec(select(&TEXTS), 0..3), any::<bool>()).prop_map(|(segments, slash)| {
        let mut text: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if slash || text.is_empty() {
            text.push('/');
        }
        PathSpec::Prefix(text)
    });
    let regex = (0..REGEXES.len()).prop_map(|index| PathSpec::Regex(&REGEXES[index]));
    prop_oneof![2 => prefix, 1 => regex]
}

/// What a request asks for.
pub(crate) fn asked_path() -> impl Strategy<Value = String> {
    let parts = select(&["a", "b", "v", "-", ".", "-", "b", ".js", "é", "x"]);
    let segment = prop_oneof![
        12 => select(&TEXTS).prop_map(str::to_owned),
        6 => vec(parts, 1..6).prop_map(|parts| parts.concat()),
        1 => Just(String::new()),
    ];
    let path = (vec(segment, 0..6), any::<bool>()).prop_map(|(segments, slash)| {
        let mut path: String = segments.iter().flat_map(|segment| ["/", segment]).collect();
        if slash || path.is_empty() {
            path.push('/');
        }
        path
    });
    prop_oneof![30 => path, 1 => select(&["", "*"]).prop_map(str::to_owned)]
}
