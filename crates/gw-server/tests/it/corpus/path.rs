//! Which path an upstream is to see, by Kong's rule, written anew from its description.

use serde_json::Value;

use super::file::{paths, texts};

/// The path that a service is asked for when a route gets a request for `target`.
pub(super) fn expected(route: &Value, service: &Value, target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let base = service["path"]
        .as_str()
        .filter(|base| !base.is_empty())
        .unwrap_or("/");
    let strips = route["strip_path"] == true;
    let rest = match strips {
        true => rest(route, path),
        false => path,
    };
    match route["path_handling"].as_str() {
        Some("v1") => v1(base, rest),
        _ if strips => v0_stripped(base, rest, path),
        _ => v0(base, path),
    }
}

/// What is left of a path behind what the route matches.
fn rest<'p>(route: &Value, path: &'p str) -> &'p str {
    // What was made up for a regular expression is matched by it as a whole.
    if texts(&route["paths"])
        .next()
        .is_some_and(|first| first.starts_with('~'))
    {
        return "";
    }
    let longest = paths(route)
        .into_iter()
        .filter(|prefix| path.starts_with(prefix.as_str()))
        .max_by_key(String::len);
    longest
        .and_then(|prefix| path.strip_prefix(prefix.as_str()))
        .unwrap_or(path)
}

fn v0(base: &str, path: &str) -> String {
    match base.strip_suffix('/') {
        Some(base) => format!("{base}{path}"),
        None if path == "/" => base.to_owned(),
        None => format!("{base}{path}"),
    }
}

fn v0_stripped(base: &str, rest: &str, path: &str) -> String {
    let ends_open = path.len() > 1 && path.ends_with('/');
    match (base.strip_suffix('/'), rest) {
        (Some(_), "") if base == "/" => "/".to_owned(),
        (Some(without), "") => {
            if ends_open {
                base.to_owned()
            } else {
                without.to_owned()
            }
        }
        (None, "") => {
            if ends_open {
                format!("{base}/")
            } else {
                base.to_owned()
            }
        }
        (Some(without), rest) if rest.starts_with('/') => format!("{without}{rest}"),
        (Some(_), rest) => format!("{base}{rest}"),
        (None, rest) if rest.starts_with('/') => format!("{base}{rest}"),
        (None, rest) => format!("{base}/{rest}"),
    }
}

fn v1(base: &str, rest: &str) -> String {
    match base {
        "/" if rest.is_empty() => "/".to_owned(),
        "/" if rest.starts_with('/') => rest.to_owned(),
        _ => format!("{base}{rest}"),
    }
}

#[test]
fn paths_are_put_together_as_kong_does() {
    use serde_json::json;
    for (base, strip, prefix, target, seen) in [
        ("/", true, "/a", "/a/x", "/x"),
        ("/", true, "/a", "/a", "/"),
        ("/v", true, "/a", "/a/x?q", "/v/x"),
        ("/v", true, "/a/", "/a/x", "/v/x"),
        ("/v/", true, "/a", "/a", "/v"),
        ("/v", true, "/", "/x", "/v/x"),
        ("/", false, "/a", "/a/x", "/a/x"),
        ("/v", false, "/a", "/a/x", "/v/a/x"),
        ("/v/", false, "/a", "/a/x", "/v/a/x"),
    ] {
        let route = json!({ "paths": [prefix], "strip_path": strip, "path_handling": "v0" });
        assert_eq!(
            expected(&route, &json!({ "path": base }), target),
            seen,
            "{base} {strip} {prefix} {target}"
        );
    }
}
