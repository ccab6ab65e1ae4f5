//! One page of a list: its size, where it begins, which tags it asks for, and the link to the next one.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::problem::Problem;

const DEFAULT_SIZE: usize = 100;
const MAX_SIZE: usize = 1000;

/// What a client asks of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    pub(crate) size: usize,
    /// The position of the last item of the page before.
    pub(crate) after: Option<String>,
    pub(crate) tags: Option<Tags>,
    /// What every link to a further page repeats.
    kept: String,
}

/// Which tags the items of a list carry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// `a,b`
    All(Vec<String>),
    /// `a/b`
    Any(Vec<String>),
}

impl Paging {
    /// Reads the arguments of a query. Those that mean nothing to a list are ignored.
    pub(crate) fn read(arguments: &[(String, String)]) -> Result<Self, Problem> {
        let mut paging = Self {
            size: DEFAULT_SIZE,
            after: None,
            tags: None,
            kept: String::new(),
        };
        for (position, (name, value)) in arguments.iter().enumerate() {
            // Note: some clients add their arguments to a link that has them already.
            if arguments
                .iter()
                .take(position)
                .any(|(known, same)| (known, same) == (name, value))
            {
                continue;
            }
            match name.as_str() {
                "size" => paging.size = size(value)?,
                "offset" => {
                    paging.after = Some(self::position(value)?);
                    continue;
                }
                // Note: two lists of tags are neither "all" nor "any".
                "tags" if paging.tags.is_some() => return Err(bad_tags("invalid filter syntax")),
                "tags" => paging.tags = Some(Tags::read(value)?),
                _ => continue,
            }
            paging.kept.push_str(&format!(
                "&{name}={}",
                utf8_percent_encode(value, NON_ALPHANUMERIC)
            ));
        }
        Ok(paging)
    }

    /// The offset of the page after the item at `position`, and the link to it.
    pub(crate) fn next(&self, path: &str, position: &str) -> (String, String) {
        let offset = URL_SAFE_NO_PAD.encode(position);
        let link = format!("{path}?offset={offset}{}", self.kept);
        (offset, link)
    }
}

impl Tags {
    fn read(text: &str) -> Result<Self, Problem> {
        let list = |separator| text.split(separator).map(str::to_owned).collect::<Vec<_>>();
        let tags = match (text.contains(','), text.contains('/')) {
            (true, true) => return Err(bad_tags("invalid filter syntax")),
            (false, true) => Self::Any(list('/')),
            _ => Self::All(list(',')),
        };
        if text.is_empty() {
            return Err(bad_tags("cannot be null"));
        }
        if tags.names().iter().any(String::is_empty) {
            return Err(bad_tags("invalid filter syntax"));
        }
        Ok(tags)
    }

    pub(crate) fn names(&self) -> &[String] {
        match self {
            Self::All(names) | Self::Any(names) => names,
        }
    }

    /// Whether an item with these tags is asked for.
    pub(crate) fn admit<'a>(&self, carried: impl Iterator<Item = &'a str> + Clone) -> bool {
        let has = |name: &String| carried.clone().any(|tag| tag == name);
        match self {
            Self::All(names) => names.iter().all(has),
            Self::Any(names) => names.iter().any(has),
        }
    }
}

fn bad_tags(why: &'static str) -> Problem {
    Problem::Filter { option: "tags", why }
}

fn size(text: &str) -> Result<usize, Problem> {
    let Ok(number) = text.parse::<f64>() else {
        return Err(Problem::Size {
            why: "size must be a number",
        });
    };
    match text.parse() {
        Ok(size @ 1..=MAX_SIZE) if number.is_finite() => Ok(size),
        _ => Err(Problem::Size {
            why: "size must be an integer between 1 and 1000",
        }),
    }
}

fn position(offset: &str) -> Result<String, Problem> {
    let refuse = |why| Problem::Offset {
        offset: offset.to_owned(),
        why,
    };
    let bytes = URL_SAFE_NO_PAD
        .decode(offset)
        .map_err(|_| refuse("bad base64 encoding"))?;
    let position = String::from_utf8(bytes)
        .ok()
        .filter(|position| position.contains('/'));
    position.ok_or_else(|| refuse("no list gave it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Paging, serde_json::Value> {
        let arguments = crate::form::pairs(query.as_bytes()).unwrap();
        Paging::read(&arguments).map_err(Problem::document)
    }

    #[test]
    fn links_keep_the_filters_and_lead_on() {
        let first = read("size=2&tags=a%20b,c&unknown=1").unwrap();
        assert_eq!((first.size, first.after.as_deref()), (2, None));
        assert_eq!(
            first.tags,
            Some(Tags::All(vec!["a b".to_owned(), "c".to_owned()]))
        );
        let (offset, link) = first.next("/services", "0000000001000/some-id");
        assert_eq!(link, format!("/services?offset={offset}&size=2&tags=a%20b%2Cc"));
        let second = read(link.split_once('?').unwrap().1).unwrap();
        assert_eq!(second.after.as_deref(), Some("0000000001000/some-id"));
        assert_eq!((second.size, second.tags), (first.size, first.tags));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (query, code, message) in [
            ("size=x", 9, "size must be a number"),
            ("size=", 9, "size must be a number"),
            ("size=0", 9, "size must be an integer between 1 and 1000"),
            ("size=1001", 9, "size must be an integer between 1 and 1000"),
            ("size=-1", 9, "size must be an integer between 1 and 1000"),
            ("size=1.5", 9, "size must be an integer between 1 and 1000"),
            ("offset=x", 7, "'x' is not a valid offset: bad base64 encoding"),
            ("offset=*", 7, "'*' is not a valid offset: bad base64 encoding"),
            ("offset=eHg", 7, "'eHg' is not a valid offset: no list gave it"),
            ("tags=", 11, "invalid option (tags: cannot be null)"),
            ("tags=a,b/c", 11, "invalid option (tags: invalid filter syntax)"),
            ("tags=a,,b", 11, "invalid option (tags: invalid filter syntax)"),
            (
                "tags=a&tags=b",
                11,
                "invalid option (tags: invalid filter syntax)",
            ),
        ] {
            let problem = read(query).unwrap_err();
            assert_eq!(
                (&problem["code"], &problem["message"]),
                (&code.into(), &message.into()),
                "{query}"
            );
        }
    }

    #[test]
    fn tags_are_all_or_any() {
        let carried = ["a", "b"];
        for (filter, admitted) in [
            ("a,b", true),
            ("a,c", false),
            ("a/c", true),
            ("c/d", false),
            ("b", true),
        ] {
            assert_eq!(
                Tags::read(filter).unwrap().admit(carried.iter().copied()),
                admitted,
                "{filter}"
            );
        }
    }
}
