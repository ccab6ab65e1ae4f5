//! YAML to values, with the place of each: bounded in depth, in size and in what its aliases repeat.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use gw_core::Document;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, StrInput, Tag};
use serde_json::Value;

use super::environment::{Filled, Placeholders, left_over};
use super::spot::{Below, Position, Spot, segment};
use super::{Notice, SyntaxError, Withheld, scalar};
use crate::declarative::source::{MAX_DEPTH, MAX_WEIGHT, Missing, Source};

/// Reads the first document of a text.
pub(super) fn load(
    text: &str,
    placeholders: &Placeholders,
    variable: &dyn Fn(&str) -> Result<String, Withheld>,
    is_filled_in: bool,
) -> Result<Source, SyntaxError> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        weight: 0,
        pointer: Vec::new(),
        placeholders,
        variable,
        is_filled_in,
        notices: Vec::new(),
        missing: Vec::new(),
        left_over: Vec::new(),
        told: BTreeSet::new(),
    };
    let (value, spot) = builder.document()?;
    let refuse = |message: &str| Err(SyntaxError::at(spot.at, message));
    let document = match value {
        Value::Object(document) => document,
        Value::Null => return refuse("there is nothing in it"),
        _ => return refuse("expected an object"),
    };
    Ok(Source {
        document,
        spot: Some(spot),
        notices: builder.notices,
        missing: builder.missing,
        left_over: builder.left_over,
        told: builder.told,
        origins: None,
        original: None,
        faults: Vec::new(),
        remarks: Vec::new(),
    })
}

struct Builder<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Anchored>,
    /// What the values so far weigh; see [`MAX_WEIGHT`].
    weight: usize,
    /// The place of the value being read.
    pointer: Vec<String>,
    placeholders: &'t Placeholders,
    variable: &'t dyn Fn(&str) -> Result<String, Withheld>,
    /// Names of variables are filled in as a shell does, so one that stands there still is worth a word.
    is_filled_in: bool,
    notices: Vec<Notice>,
    missing: Vec<Missing>,
    /// Places of values that name variables nobody has set.
    left_over: Vec<(String, String)>,
    /// What the environment has told.
    told: BTreeSet<String>,
}

/// What an alias repeats.
struct Anchored {
    value: Value,
    spot: Spot,
    weight: usize,
}

/// One thing the parser saw, and where.
type Seen<'t> = (Event<'t>, Position);

impl<'t> Builder<'t> {
    fn document(&mut self) -> Result<(Value, Spot), SyntaxError> {
        loop {
            match self.next()? {
                (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
                (Event::StreamEnd | Event::DocumentEnd, at) => {
                    return Err(SyntaxError::at(at, "there is nothing in it"));
                }
                seen => {
                    let found = self.value(seen, 0)?;
                    self.tell_of_more()?;
                    return Ok(found);
                }
            }
        }
    }

    /// Kong reads one document; of others a user should hear.
    fn tell_of_more(&mut self) -> Result<(), SyntaxError> {
        loop {
            // What follows the first document is not read, and so may be anything.
            match self.parser.next_event() {
                Some(Ok((Event::DocumentEnd | Event::Nothing, _))) => {}
                Some(Ok((Event::StreamEnd, _))) | None => return Ok(()),
                // Trouble before the document has ended is trouble with the document.
                Some(Err(error)) if self.notices.is_empty() => return Err(error.into()),
                Some(Ok((_, span))) => {
                    self.notices.push(Notice {
                        pointer: String::new(),
                        position: Some(position(&span.start)),
                        message: "another document begins here; only the first is read".to_owned(),
                    });
                    return Ok(());
                }
                Some(Err(_)) => return Ok(()),
            }
        }
    }

    fn next(&mut self) -> Result<Seen<'t>, SyntaxError> {
        let (event, span) = self.parser.next_event().unwrap_or_else(|| {
            let start = Marker::new(0, 1, 0);
            Err(ScanError::new_str(start, "it ends too early"))
        })?;
        Ok((event, position(&span.start)))
    }

    /// Reads a value whose first event was seen.
    fn value(&mut self, (event, at): Seen<'t>, depth: usize) -> Result<(Value, Spot), SyntaxError> {
        if depth > MAX_DEPTH {
            return Err(SyntaxError::at(at, &format!("more than {MAX_DEPTH} levels deep")));
        }
        let before = self.weight;
        let spot = |below, plain| Spot {
            at,
            plain,
            emptied: false,
            below,
        };
        let (found, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain;
                self.weigh(1 + text.len() / 32, at)?;
                let (value, emptied) = self.scalar(&text, plain, tag.as_deref(), at)?;
                let spot = spot(Below::Nothing, plain);
                ((value, Spot { emptied, ..spot }), anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "seq", at)?;
                let (items, spots) = self.list(depth)?;
                ((Value::Array(items), spot(Below::List(spots), false)), anchor)
            }
            Event::MappingStart(anchor, tag) => {
                refuse_tag(tag.as_deref(), "map", at)?;
                let (fields, spots) = self.record(depth)?;
                ((Value::Object(fields), spot(Below::Record(spots), false)), anchor)
            }
            Event::Alias(anchor) => {
                let Some(anchored) = self.anchors.get(&anchor) else {
                    return Err(SyntaxError::at(at, "an alias stands inside what it repeats"));
                };
                let weight = anchored.weight;
                let (value, below) = (anchored.value.clone(), anchored.spot.below.clone());
                let (plain, emptied) = (anchored.spot.plain, anchored.spot.emptied);
                self.weigh(weight, at)?;
                let spot = spot(below, plain);
                return Ok((value, Spot { emptied, ..spot }));
            }
            _ => return Err(SyntaxError::at(at, "expected a value")),
        };
        if anchor > 0 {
            let anchored = Anchored {
                value: found.0.clone(),
                spot: found.1.clone(),
                // What is kept for an alias weighs too.
                weight: self.weight - before,
            };
            self.weigh(anchored.weight, at)?;
            self.anchors.insert(anchor, anchored);
        }
        Ok(found)
    }

    fn list(&mut self, depth: usize) -> Result<(Vec<Value>, Vec<Spot>), SyntaxError> {
        let (mut items, mut spots) = (Vec::new(), Vec::new());
        self.weight += 1;
        loop {
            let seen = self.next()?;
            if seen.0 == Event::SequenceEnd {
                return Ok((items, spots));
            }
            self.pointer.push(items.len().to_string());
            let (item, spot) = self.value(seen, depth + 1)?;
            self.pointer.pop();
            if is_emptied(&spot) {
                let message = "an item that holds nothing but an empty variable is left out".to_owned();
                self.tell(message, spot.at);
                continue;
            }
            items.push(item);
            spots.push(spot);
        }
    }

    fn record(&mut self, depth: usize) -> Result<(Document, BTreeMap<String, Spot>), SyntaxError> {
        let (mut fields, mut spots) = (Document::new(), BTreeMap::new());
        let mut merged: Vec<(Value, Spot)> = Vec::new();
        self.weight += 1;
        loop {
            let (event, at) = self.next()?;
            let (name, plain) = match event {
                Event::MappingEnd => break,
                Event::Scalar(text, style, _, _) => {
                    self.weigh(1 + text.len() / 32, at)?;
                    (self.name(&text), style == ScalarStyle::Plain)
                }
                _ => return Err(SyntaxError::at(at, "the name of a field is not a text")),
            };
            self.pointer.push(segment(&name));
            let seen = self.next()?;
            let (value, spot) = self.value(seen, depth + 1)?;
            if plain && name == "<<" {
                self.pointer.pop();
                merged.push((value, spot));
                continue;
            }
            // The name of a field is where one looks for it.
            let spot = Spot { at, ..spot };
            if let Some(first) = spots.insert(name.clone(), spot) {
                let first: Spot = first;
                let message = format!(
                    "'{name}' stands here again; the one of line {} is not read",
                    first.at.line
                );
                self.tell(message, at);
            }
            self.pointer.pop();
            fields.insert(name, value);
        }
        for (value, spot) in merged {
            merge(&mut fields, &mut spots, value, spot)?;
        }
        Ok((fields, spots))
    }

    /// The name of a field. One that a variable is missing in stays as it is written.
    fn name(&mut self, text: &str) -> String {
        match self.placeholders.fill(text, self.variable, false) {
            None => text.to_owned(),
            Some(Ok(filled)) => filled.text,
            Some(Err(unfilled)) => {
                let name = self.placeholders.written(text);
                let pointer = format!("{}/{}", self.place(), segment(&name));
                self.missing.push(Missing { pointer, unfilled });
                name
            }
        }
    }

    /// A value, and whether variables have made it empty.
    fn scalar(
        &mut self,
        text: &str,
        plain: bool,
        tag: Option<&Tag>,
        at: Position,
    ) -> Result<(Value, bool), SyntaxError> {
        let is_code = is_code(&self.pointer);
        // What variables hold names nothing, whatever it looks like.
        if self.is_filled_in && !is_code && text.contains('$') {
            let place = self.place();
            let names = self.placeholders.around(text).flat_map(left_over);
            let names = names.map(|name| (place.clone(), name.to_owned()));
            self.left_over.extend(names);
        }
        let mut emptied = false;
        let filled = match self.placeholders.fill(text, self.variable, is_code) {
            None => Filled::from(text),
            Some(Ok(mut filled)) => {
                self.weigh(filled.text.len() / 32, at)?;
                emptied = filled.text.is_empty();
                if !filled.told.is_empty() {
                    filled.told.push(filled.text.clone());
                }
                self.told.extend(filled.told.drain(..));
                filled
            }
            Some(Err(unfilled)) => {
                let pointer = self.place();
                self.missing.push(Missing { pointer, unfilled });
                return Ok((Value::Null, false));
            }
        };
        let core = tag.map(|tag| (tag.is_yaml_core_schema(), tag.suffix.as_str()));
        let value = match core {
            None if plain || filled.cast => scalar::resolve(&filled.text),
            // `!` alone: what stands here is a text.
            None | Some((true, "str" | "binary")) | Some((false, "")) => Value::from(filled.text),
            Some((true, "int" | "float" | "bool" | "null")) => scalar::resolve(&filled.text),
            Some((_, suffix)) => {
                let message = format!("the tag '{suffix}' means nothing here");
                return Err(SyntaxError::at(at, &message));
            }
        };
        Ok((value, emptied))
    }

    fn weigh(&mut self, weight: usize, at: Position) -> Result<(), SyntaxError> {
        self.weight = self.weight.saturating_add(weight);
        if self.weight > MAX_WEIGHT {
            return Err(SyntaxError::at(
                at,
                "too many values, those that aliases repeat included",
            ));
        }
        Ok(())
    }

    fn place(&self) -> String {
        self.pointer.iter().map(|segment| format!("/{segment}")).collect()
    }

    fn tell(&mut self, message: String, at: Position) {
        let pointer = self.place();
        self.notices.push(Notice {
            pointer,
            position: Some(at),
            message,
        });
    }
}

/// Whether an item of a list is nothing but what empty variables have left.
fn is_emptied(item: &Spot) -> bool {
    match &item.below {
        Below::Record(fields) if !fields.is_empty() => fields.values().all(|field| field.emptied),
        _ => item.emptied,
    }
}

/// Whether a place is one where plugins have code: names in it are the code's own.
fn is_code(pointer: &[String]) -> bool {
    const HOLDS_CODE: [&str; 13] = [
        "access",
        "rewrite",
        "header_filter",
        "body_filter",
        "log",
        "certificate",
        "ws_handshake",
        "ws_client_frame",
        "ws_upstream_frame",
        "ws_close",
        "functions",
        "custom_fields_by_lua",
        "pre_function",
    ];
    let config = pointer.iter().position(|segment| segment == "config");
    let field = config.and_then(|position| pointer.get(position + 1));
    field.is_some_and(|field| HOLDS_CODE.contains(&field.as_str()))
}

/// Fills in the fields of what `<<` names; what is there already stays.
fn merge(
    fields: &mut Document,
    spots: &mut BTreeMap<String, Spot>,
    value: Value,
    spot: Spot,
) -> Result<(), SyntaxError> {
    let at = spot.at;
    match (value, spot.below) {
        (Value::Object(more), Below::Record(mut below)) => {
            for (name, value) in more {
                if let (false, Some(spot)) = (fields.contains_key(&name), below.remove(&name)) {
                    spots.insert(name.clone(), spot);
                    fields.insert(name, value);
                }
            }
            Ok(())
        }
        (Value::Array(items), Below::List(below)) => items
            .into_iter()
            .zip(below)
            .try_for_each(|(item, spot)| merge(fields, spots, item, spot)),
        _ => Err(SyntaxError::at(at, "'<<' takes a record or a list of records")),
    }
}

fn refuse_tag(tag: Option<&Tag>, expected: &str, at: Position) -> Result<(), SyntaxError> {
    match tag {
        Some(tag) if !tag.is_yaml_core_schema() || tag.suffix != expected => {
            let message = format!("the tag '{}' means nothing here", tag.suffix);
            Err(SyntaxError::at(at, &message))
        }
        _ => Ok(()),
    }
}

fn position(marker: &Marker) -> Position {
    Position {
        line: marker.line(),
        column: marker.col() + 1,
    }
}

impl From<ScanError> for SyntaxError {
    fn from(error: ScanError) -> Self {
        Self::at(position(error.marker()), error.info())
    }
}
