//! APISIX's patterns of paths, in ours.

/// A pattern, and what is to be said of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Uri {
    pub(super) pattern: String,
    pub(super) remark: Option<(&'static str, &'static str)>,
}

/// Reads a `uri`: `*` at the end is whatever follows, one before it whatever stands between, `:name` a segment; anything
/// else stands for itself.
pub(super) fn translate(uri: &str) -> Uri {
    let mut pattern = String::with_capacity(uri.len());
    let (mut wild, mut param) = (0, false);
    let mut letters = uri.char_indices().peekable();
    let mut before = ' ';
    while let Some((at, letter)) = letters.next() {
        match letter {
            '{' | '}' => pattern.extend([letter, letter]),
            '\\' => pattern.push_str(r"\\"),
            '*' if letters.peek().is_none() => pattern.push('*'),
            '*' => {
                wild += 1;
                if before == '/' {
                    pattern.push_str(&format!("*rest{wild}"));
                    // What stands behind it up to the slash is its name.
                    while letters.peek().is_some_and(|(_, letter)| *letter != '/') {
                        letters.next();
                    }
                } else {
                    pattern.push_str(&format!("{{*rest{wild}}}"));
                }
            }
            ':' if before == '/' => {
                let rest = uri.get(at + 1..).unwrap_or_default();
                let name = rest.split('/').next().unwrap_or_default();
                let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
                if name.is_empty() || !name.bytes().all(is_name) {
                    pattern.push_str(r"\:");
                } else {
                    param = true;
                    pattern.push(':');
                }
            }
            other => pattern.push(other),
        }
        before = letter;
    }
    let remark = if uri.contains(['(', '|', '[', '^', '$']) {
        Some((
            "a uri is no regular expression, in APISIX neither: these characters stand for themselves",
            "list what is meant in `uris`, or write a condition `[\"uri\", \"~~\", \"…\"]` into `vars`",
        ))
    } else if wild > 0 {
        Some((
            "`*` stands for any bytes, slashes too; what follows it in its segment is no more than a name, as in APISIX",
            "",
        ))
    } else if param {
        Some((
            "`:name` is a parameter, as with APISIX's router `radixtree_uri_with_parameter`; its others read it as text",
            "",
        ))
    } else {
        None
    };
    Uri { pattern, remark }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_say_the_same() {
        for (uri, pattern, remarked) in [
            ("/", "/", false),
            ("/*", "/*", false),
            ("*", "*", false),
            ("/a/b", "/a/b", false),
            ("/quiz*", "/quiz*", false),
            ("/a/*", "/a/*", false),
            ("/a/*/b/*", "/a/*rest1/b/*", true),
            ("/a/*name/b", "/a/*rest1/b", true),
            ("/*.js", "/*rest1", true),
            ("/a*b", "/a{*rest1}b", true),
            ("/blog/:name", "/blog/:name", true),
            ("/blog/:name/x", "/blog/:name/x", true),
            ("/a:b/c", "/a:b/c", false),
            ("/a/:", "/a/\\:", false),
            ("/a/:(b)", "/a/\\:(b)", true),
            ("/{id}", "/{{id}}", false),
            ("/a\\b", "/a\\\\b", false),
            ("/auth/v1/(verify|callback)", "/auth/v1/(verify|callback)", true),
            ("/user.v1.UserService/*", "/user.v1.UserService/*", false),
        ] {
            let found = translate(uri);
            assert_eq!(
                (&*found.pattern, found.remark.is_some()),
                (pattern, remarked),
                "{uri}"
            );
            assert!(
                gw_router::Pattern::parse(&found.pattern).is_ok(),
                "{uri}: {}",
                found.pattern
            );
        }
    }
}
