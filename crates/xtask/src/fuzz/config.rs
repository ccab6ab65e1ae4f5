//! Schemathesis' settings: what paths and references name.

use super::seeds::{Fate, Garden};

/// How often a path names an entity that is there, where it may also name one that is not.
const KNOWN_PATH: f64 = 0.8;

/// How often a field has a value that is known to be good, where it has any.
const KNOWN_FIELD: f64 = 0.5;

/// As a TOML document. Deletions meet entities planted for them, so that there is something left for the others.
pub(super) fn settings(garden: &Garden, strangers: bool) -> Result<String, String> {
    let mut settings = Settings {
        strangers,
        dictionaries: String::new(),
    };
    let mut parameters = settings.paths(garden, Fate::Kept);
    for (parameter, word) in garden.words() {
        parameters += &format!("\"path.{parameter}\" = {word:?}\n");
    }
    if strangers {
        parameters += &settings.fields(&garden.fields()?);
    }
    let below = settings.paths(garden, Fate::DoomedBelow);
    let doomed = settings.paths(garden, Fate::Doomed);
    let tables = [
        table("^DELETE /[^/]+/[^/]+/", &below),
        table("^DELETE /[^/]+/[^/]+$", &doomed),
        // Where settings are described, it is a sort that is named, not one that is configured.
        table(
            "^[A-Z]+ /(plugins/schema|schemas/plugins|schemas/vaults)/",
            "\"path.plugins\" = \"key-auth\"\n\"path.vaults\" = \"env\"\n",
        ),
    ];
    let dictionaries = settings.dictionaries;
    Ok(format!(
        "{dictionaries}[parameters]\n{parameters}{}",
        tables.concat()
    ))
}

/// What holds for some operations only: those whose method and path fit. Two conditions would be alternatives.
fn table(operations: &str, parameters: &str) -> String {
    format!("\n[[operations]]\ninclude-name-regex = {operations:?}\n\n[operations.parameters]\n{parameters}")
}

struct Settings {
    strangers: bool,
    dictionaries: String,
}

impl Settings {
    /// What parameters of paths are.
    fn paths(&mut self, garden: &Garden, fate: Fate) -> String {
        let lines = garden.seeds().map(|seed| {
            let (name, id) = (seed.parameter, seed.id(fate));
            if !self.strangers {
                return format!("\"path.{name}\" = {id:?}\n");
            }
            let other = seed.name.filter(|_| fate == Fate::Kept);
            let values: Vec<String> = [id].into_iter().chain(other.map(str::to_owned)).collect();
            let dictionary = self.dictionary(&format!("{name}-{fate:?}"), &values, KNOWN_PATH);
            format!("\"path.{name}\" = {dictionary}\n")
        });
        lines.collect()
    }

    /// What fields of bodies are.
    fn fields(&mut self, fields: &[(&str, Vec<String>)]) -> String {
        let lines = fields.iter().map(|(field, values)| {
            let name = format!("field-{}", field.replace('.', "-"));
            let dictionary = self.dictionary(&name, values, KNOWN_FIELD);
            format!("\"body.{field}\" = {dictionary}\n")
        });
        lines.collect()
    }

    /// Values to draw from, with what is written where they are drawn.
    fn dictionary(&mut self, name: &str, values: &[String], probability: f64) -> String {
        self.dictionaries += &format!("[dictionaries.{name}]\nvalues = {values:?}\n\n");
        format!("{{ dictionary = \"{name}\", probability = {probability} }}")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn consumers(strangers: bool) -> String {
        let paths = json!({ "/consumers/{consumers}": { "put": {} }, "/tags/{tags}": {} });
        settings(&Garden::of(&json!({ "paths": paths })), strangers).unwrap()
    }

    #[test]
    fn deletions_meet_what_was_planted_for_them() {
        let toml = consumers(false);
        let named: Vec<&str> = toml.lines().filter(|line| line.contains("consumers")).collect();
        let expected = [Fate::Kept, Fate::DoomedBelow, Fate::Doomed].map(|fate| {
            let garden = Garden::of(&json!({ "paths": { "/consumers/{consumers}": { "put": {} } } }));
            let id = garden.seeds().next().unwrap().id(fate);
            format!("\"path.consumers\" = \"{id}\"")
        });
        assert_eq!(named, expected);
        assert!(toml.contains("\"path.tags\" = "), "{toml}");
        assert!(!toml.contains("body."), "{toml}");
    }

    #[test]
    fn strangers_are_met_between_those_that_are_known() {
        let toml = consumers(true);
        for line in [
            "[dictionaries.consumers-Kept]",
            "[dictionaries.consumers-Doomed]",
            r#""path.consumers" = { dictionary = "consumers-Kept", probability = 0.8 }"#,
            r#""path.consumers" = { dictionary = "consumers-Doomed", probability = 0.8 }"#,
            r#""body.consumer.id" = { dictionary = "field-consumer-id", probability = 0.5 }"#,
        ] {
            assert!(toml.lines().any(|found| found == line), "{line} in {toml}");
        }
    }
}
