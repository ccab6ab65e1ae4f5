//! From lists of `name:value` to edits.

use http::Method;
use http::header::{HOST, HeaderName, HeaderValue};

use super::super::edit::{self, Edits};
use super::RequestTransformer;
use super::template::Template;
use crate::plugin::BuildError;

#[derive(serde::Deserialize)]
pub(crate) struct Settings {
    http_method: Option<Box<str>>,
    remove: Lists,
    rename: Lists,
    replace: Lists,
    add: Lists,
    append: Lists,
}

#[derive(serde::Deserialize)]
struct Lists {
    body: Vec<String>,
    headers: Vec<String>,
    querystring: Vec<String>,
    /// Only `replace` has it; the schema sees to that.
    uri: Option<String>,
}

/// A value that is known, or the place of the template that makes it.
#[derive(Clone, Debug)]
pub(super) enum Value<T> {
    Fixed(T),
    Template(usize),
}

impl Settings {
    pub(super) fn build(&self) -> Result<RequestTransformer, BuildError> {
        let mut reader = Reader::default();
        let uri = match &self.replace.uri {
            Some(uri) => Some(reader.text(uri, "/replace/uri")?),
            None => None,
        };
        let method = match &self.http_method {
            Some(method) => Some(
                Method::from_bytes(method.as_bytes()).map_err(|_| BuildError::Setting {
                    pointer: "/http_method".into(),
                    message: "is not a method; write it in capitals, as `POST`".into(),
                })?,
            ),
            None => None,
        };
        let query = reader.texts(|lists| &lists.querystring, "querystring", self)?;
        let body = reader.texts(|lists| &lists.body, "body", self)?;
        let (headers, host) = reader.headers(self)?;
        let mut edits = headers;
        let is_host = |name: &HeaderName| *name == HOST;
        let host_from = edits
            .rename
            .iter()
            .filter(|(_, new)| is_host(new))
            .map(|(old, _)| old.clone());
        let host_from = host_from.collect();
        edits.remove.retain(|name| !is_host(name));
        edits.rename.retain(|(old, new)| !is_host(old) && !is_host(new));
        for list in [&mut edits.replace, &mut edits.add, &mut edits.append] {
            list.retain(|(name, _)| !is_host(name));
        }
        Ok(RequestTransformer {
            method,
            uri,
            headers: edits,
            host_from,
            host,
            query,
            body,
            templates: reader.templates,
        })
    }

    fn valued(&self) -> [(&Lists, &'static str); 3] {
        [
            (&self.replace, "replace"),
            (&self.add, "add"),
            (&self.append, "append"),
        ]
    }
}

#[derive(Default)]
struct Reader {
    templates: Vec<Template>,
}

impl Reader {
    fn template(&mut self, text: &str, pointer: &str) -> Result<Option<usize>, BuildError> {
        let read = Template::read(text).map_err(|error| BuildError::Setting {
            pointer: pointer.into(),
            message: format!("value '{text}' is not in supported format, error: {error}").into(),
        })?;
        Ok(read.map(|template| {
            self.templates.push(template);
            self.templates.len() - 1
        }))
    }

    fn text(&mut self, text: &str, pointer: &str) -> Result<Value<Box<str>>, BuildError> {
        Ok(match self.template(text, pointer)? {
            Some(place) => Value::Template(place),
            None => Value::Fixed(text.into()),
        })
    }

    /// The edits of a query or a body.
    fn texts(
        &mut self,
        list: impl Fn(&Lists) -> &Vec<String>,
        field: &str,
        settings: &Settings,
    ) -> Result<Edits<Box<str>, Value<Box<str>>>, BuildError> {
        let mut edits = Edits::default();
        for item in list(&settings.remove) {
            edits
                .remove
                .extend(edit::split(item).map(|(name, _)| name.into()));
        }
        for (position, item) in list(&settings.rename).iter().enumerate() {
            let (old, new) = valued(item, &format!("/rename/{field}/{position}"))?;
            edits.rename.push((old.into(), new.into()));
        }
        let [replace, add, append] = settings.valued();
        let lists = [
            (replace, &mut edits.replace),
            (add, &mut edits.add),
            (append, &mut edits.append),
        ];
        for ((lists, section), made) in lists {
            for (position, item) in list(lists).iter().enumerate() {
                let pointer = format!("/{section}/{field}/{position}");
                let (name, value) = valued(item, &pointer)?;
                made.push((name.into(), self.text(value, &pointer)?));
            }
        }
        Ok(edits)
    }

    /// The edits of headers, and what `Host` is replaced by.
    fn headers(
        &mut self,
        settings: &Settings,
    ) -> Result<(HeaderEdits, Option<Value<HeaderValue>>), BuildError> {
        let mut edits = Edits::default();
        for (position, item) in settings.remove.headers.iter().enumerate() {
            let name = edit::split(item).map_or("", |(name, _)| name);
            edits
                .remove
                .push(edit::header_name(name, &format!("/remove/headers/{position}"))?);
        }
        for (position, item) in settings.rename.headers.iter().enumerate() {
            let pointer = format!("/rename/headers/{position}");
            let (old, new) = edit::split(item).unwrap_or_default();
            edits.rename.push((
                edit::header_name(old, &pointer)?,
                edit::header_name(new.trim(), &pointer)?,
            ));
        }
        let mut host = None;
        let [replace, add, append] = settings.valued();
        let lists = [
            (replace, &mut edits.replace),
            (add, &mut edits.add),
            (append, &mut edits.append),
        ];
        for ((lists, section), made) in lists {
            for (position, item) in lists.headers.iter().enumerate() {
                let pointer = format!("/{section}/headers/{position}");
                let (name, value) = edit::split(item).unwrap_or_default();
                let name = edit::header_name(name, &pointer)?;
                // Note: Kong takes a header without a value, and does nothing with it.
                if value.trim().is_empty() {
                    continue;
                }
                let value = match self.template(value.trim(), &pointer)? {
                    Some(place) => Value::Template(place),
                    None => Value::Fixed(edit::header_text(value, &pointer)?),
                };
                if name == HOST && section == "replace" {
                    host = Some(value.clone());
                }
                made.push((name, value));
            }
        }
        Ok((edits, host))
    }
}

type HeaderEdits = Edits<HeaderName, Value<HeaderValue>>;

/// `name:value`, both there.
fn valued<'i>(item: &'i str, pointer: &str) -> Result<(&'i str, &'i str), BuildError> {
    match edit::split(item) {
        Some((name, value)) if !value.is_empty() => Ok((name, value)),
        split => Err(BuildError::Setting {
            pointer: pointer.into(),
            message: format!("key '{}' has no value", split.map_or("", |(name, _)| name)).into(),
        }),
    }
}
