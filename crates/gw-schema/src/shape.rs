//! The shape of a schema's documents: types, fields, items and defaults, with references and `allOf` folded in.
//!
//! Whether a document is valid is not decided here: shapes serve filling in, coercion, wording and entity checks.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use crate::CompileError;
use crate::checks::{self, EntityCheck};
use crate::types::Types;

/// All shapes of one document, in one arena: recursion in the schema is a cycle of indices.
#[derive(Debug)]
pub(crate) struct Shapes(Vec<Shape>);

/// The shapes, and which schemas of the document each was folded from.
#[derive(Debug)]
pub(crate) struct Folded {
    pub(crate) shapes: Shapes,
    pub(crate) places: Vec<(ShapeIdx, Vec<String>)>,
}

/// An index into [`Shapes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ShapeIdx(usize);

/// What is known of the values at one place.
#[derive(Debug)]
pub(crate) struct Shape {
    pub(crate) types: Types,
    pub(crate) default: Option<Value>,
    pub(crate) properties: BTreeMap<String, ShapeIdx>,
    /// Fields that `properties` does not name.
    pub(crate) rest: Option<ShapeIdx>,
    /// Leading items with a shape of their own.
    pub(crate) prefix: Vec<ShapeIdx>,
    pub(crate) items: Option<ShapeIdx>,
    pub(crate) is_set: bool,
    pub(crate) message: Option<String>,
    pub(crate) checks: Vec<EntityCheck>,
}

impl Shapes {
    /// Folds a document whose references are known to lead somewhere and not in circles.
    pub(crate) fn fold(document: &Value) -> Result<Folded, CompileError> {
        let mut folding = Folding {
            document,
            shapes: Vec::new(),
            known: HashMap::new(),
        };
        folding.shape(vec![String::new()])?;
        let mut places: Vec<_> = folding
            .known
            .into_iter()
            .map(|(places, index)| (index, places))
            .collect();
        places.sort();
        Ok(Folded {
            shapes: Self(folding.shapes.into_iter().flatten().collect()),
            places,
        })
    }

    pub(crate) const ROOT: ShapeIdx = ShapeIdx(0);

    pub(crate) fn at(&self, index: ShapeIdx) -> &Shape {
        &self.0[index.0]
    }

    /// The shape at a JSON pointer into a document.
    pub(crate) fn find(&self, pointer: &str) -> Option<&Shape> {
        pointer
            .split('/')
            .skip(1)
            .try_fold(self.at(Self::ROOT), |shape, segment| {
                let below = match segment.parse() {
                    Ok(position) if shape.types.has(Types::ARRAY) => shape.item(position),
                    _ => shape.field(&unescape(segment)),
                };
                below.map(|index| self.at(index))
            })
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Shape> {
        self.0.iter()
    }
}

impl Shape {
    /// The shape of a field of an object.
    pub(crate) fn field(&self, name: &str) -> Option<ShapeIdx> {
        self.properties.get(name).copied().or(self.rest)
    }

    /// The shape of an item of an array.
    pub(crate) fn item(&self, position: usize) -> Option<ShapeIdx> {
        self.prefix.get(position).copied().or(self.items)
    }

    pub(crate) fn is_nullable(&self) -> bool {
        self.types.has(Types::NULL)
    }
}

/// The state of one fold.
struct Folding<'a> {
    document: &'a Value,
    shapes: Vec<Option<Shape>>,
    /// Shapes by the schemas that apply together.
    known: HashMap<Vec<String>, ShapeIdx>,
}

impl Folding<'_> {
    /// The shape of values to which all schemas at `places` apply.
    fn shape(&mut self, places: Vec<String>) -> Result<ShapeIdx, CompileError> {
        if let Some(index) = self.known.get(&places) {
            return Ok(*index);
        }
        let index = ShapeIdx(self.shapes.len());
        self.shapes.push(None);
        self.known.insert(places.clone(), index);

        let mut parts = Vec::new();
        let mut types = Types::ANY;
        for place in places {
            types = types.and(admitted(self.document, at(self.document, &place)));
            collect(self.document, place, &mut parts);
        }
        let shape = self.fold(types, &parts)?;
        self.shapes[index.0] = Some(shape);
        Ok(index)
    }

    fn fold(&mut self, types: Types, parts: &[String]) -> Result<Shape, CompileError> {
        let mut fields: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let (mut rest, mut prefix, mut items) = (Vec::new(), Vec::<Vec<String>>::new(), Vec::new());
        let (mut default, mut is_set, mut message, mut entity_checks) = (None, false, None, Vec::new());
        for place in parts {
            let Some(schema) = at(self.document, place).as_object() else {
                continue;
            };
            for name in keys(schema.get("properties")) {
                fields
                    .entry(name)
                    .or_default()
                    .push(format!("{place}/properties/{}", escape(name)));
            }
            if schema.get("additionalProperties").is_some_and(Value::is_object) {
                rest.push(format!("{place}/additionalProperties"));
            }
            if schema.get("items").is_some_and(Value::is_object) {
                items.push(format!("{place}/items"));
            }
            for position in 0..schema
                .get("prefixItems")
                .and_then(Value::as_array)
                .map_or(0, Vec::len)
            {
                prefix.resize_with(prefix.len().max(position + 1), Vec::new);
                prefix[position].push(format!("{place}/prefixItems/{position}"));
            }
            default = default.or_else(|| schema.get("default").cloned());
            is_set |= schema.get("uniqueItems") == Some(&Value::Bool(true));
            message = message.or_else(|| schema.get("x-message").and_then(Value::as_str).map(str::to_owned));
            entity_checks.extend(checks::parse(place, schema)?);
        }
        let mut properties = BTreeMap::new();
        for (name, places) in fields {
            properties.insert(name.to_owned(), self.shape(places)?);
        }
        Ok(Shape {
            types,
            default,
            properties,
            rest: self.shape_of_some(rest)?,
            prefix: prefix
                .into_iter()
                .map(|places| self.shape(places))
                .collect::<Result<_, _>>()?,
            items: self.shape_of_some(items)?,
            is_set,
            message,
            checks: entity_checks,
        })
    }

    fn shape_of_some(&mut self, places: Vec<String>) -> Result<Option<ShapeIdx>, CompileError> {
        if places.is_empty() {
            return Ok(None);
        }
        self.shape(places).map(Some)
    }
}

/// Lists the schemas that certainly apply to a value to which the one at `place` applies, `place` first.
fn collect(document: &Value, place: String, parts: &mut Vec<String>) {
    let Some(schema) = at(document, &place).as_object() else {
        return;
    };
    if parts.contains(&place) {
        return;
    }
    parts.push(place.clone());
    if let Some(target) = target(schema) {
        collect(document, target.to_owned(), parts);
    }
    for position in 0..branches(schema, "allOf").len() {
        collect(document, format!("{place}/allOf/{position}"), parts);
    }
    for keyword in ["anyOf", "oneOf"] {
        let mut taken = branches(schema, keyword)
            .iter()
            .enumerate()
            .filter(|(_, branch)| !is_null_only(branch));
        // With two ways to read a value neither may be assumed; with one, the others being null, it may.
        if let (Some((position, _)), None) = (taken.next(), taken.next()) {
            collect(document, format!("{place}/{keyword}/{position}"), parts);
        }
    }
}

/// The JSON types a schema lets through, as far as `type`, `enum` and `const` tell.
fn admitted(document: &Value, schema: &Value) -> Types {
    let schema = match schema {
        Value::Bool(false) => return Types::NONE,
        Value::Object(schema) => schema,
        _ => return Types::ANY,
    };
    let mut types = schema.get("type").map_or(Types::ANY, Types::named);
    let union = |values: &[Value], of: &dyn Fn(&Value) -> Types| {
        values.iter().fold(Types::NONE, |all, value| all.or(of(value)))
    };
    if let Some(values) = schema.get("enum").and_then(Value::as_array) {
        types = types.and(union(values, &Types::of));
    }
    if let Some(value) = schema.get("const") {
        types = types.and(Types::of(value));
    }
    if let Some(target) = target(schema) {
        types = types.and(admitted(document, at(document, target)));
    }
    for part in branches(schema, "allOf") {
        types = types.and(admitted(document, part));
    }
    for keyword in ["anyOf", "oneOf"] {
        let branches = branches(schema, keyword);
        if !branches.is_empty() {
            types = types.and(union(branches, &|branch| admitted(document, branch)));
        }
    }
    types
}

fn is_null_only(schema: &Value) -> bool {
    schema
        .get("type")
        .is_some_and(|keyword| Types::named(keyword) == Types::NULL)
        || schema.get("const").is_some_and(Value::is_null)
}

/// The schema at a JSON pointer; `Null` (no constraint) where there is none.
pub(crate) fn at<'a>(document: &'a Value, place: &str) -> &'a Value {
    document.pointer(place).unwrap_or(&Value::Null)
}

/// Where `$ref` leads, as a JSON pointer.
pub(crate) fn target(schema: &Map<String, Value>) -> Option<&str> {
    schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|target| target.strip_prefix('#'))
}

/// The list of schemas under a keyword.
pub(crate) fn branches<'a>(schema: &'a Map<String, Value>, keyword: &str) -> &'a [Value] {
    schema
        .get(keyword)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn keys(keyword: Option<&Value>) -> impl Iterator<Item = &str> {
    keyword
        .and_then(Value::as_object)
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
}

/// A name as a segment of a JSON pointer.
pub(crate) fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The name a segment of a JSON pointer stands for.
pub(crate) fn unescape(segment: &str) -> String {
    segment.replace("~1", "/").replace("~0", "~")
}
