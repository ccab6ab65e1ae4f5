//! Public files, where they are: each loads, or what is wrong with it is said exactly.

use std::path::PathBuf;

use super::*;

/// An environment that has whatever is asked for.
struct Everything(UnknownPlugins);

const PAIR: (&str, &str) = ("CERT", "KEY");

impl Surroundings for Everything {
    fn now(&self) -> u64 {
        1_700_000_000_000
    }

    fn variable(&self, name: &str) -> Result<String, Withheld> {
        if name.contains(PAIR.0) || name.contains(PAIR.1) {
            return Err(Withheld::Unset);
        }
        Ok(if name.contains("PORT") { "8080" } else { "app" }.to_owned())
    }

    fn unknown_plugins(&self) -> UnknownPlugins {
        self.0
    }
}

/// What is wrong with those that are refused whatever the plugins: the file, and how each of its faults begins.
const REFUSED: [(&str, &[&str]); 3] = [
    (
        "001",
        &[
            "line 60: upstreams[3].nodes[0].eight: unknown field (did you mean `weight`?)",
            "line 58: upstreams[3].nodes[0].weight: required field missing",
            "line 64: upstreams[3].read: unknown field",
        ],
    ),
    (
        "008",
        &[
            "line 31: routes[1].strip_uri: unknown field",
            "line 42: routes[2].strip_uri: unknown field",
        ],
    ),
    (
        "022",
        &[
            "line 41: routes[0].upstream.tls.client_cert: the environment has no variable 'APISIX_CLIENT_CERT'",
        ],
    ),
];

fn files() -> Vec<(String, String)> {
    let Some(folder) = std::env::var_os("GW_CORPUS").map(PathBuf::from) else {
        println!("GW_CORPUS is not set: no public files to read");
        return Vec::new();
    };
    let mut files: Vec<(String, String)> = std::fs::read_dir(folder.join("apisix"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (
                path.file_stem().unwrap().to_str().unwrap().to_owned(),
                std::fs::read_to_string(path).unwrap(),
            )
        })
        .collect();
    files.sort();
    files
}

#[test]
fn public_files_load_or_say_why_not() {
    let (registry, kinds) = here();
    for (name, text) in files() {
        let read = |unknown| crate::declarative::read(&text, kinds, registry, &Everything(unknown));
        let expected = REFUSED.iter().find(|(refused, _)| *refused == name);
        match (read(UnknownPlugins::Ignored), expected) {
            (Ok(configuration), None) => {
                let mut counts = [0; 3];
                for judgement in configuration.judgements() {
                    counts[judgement.verdict as usize] += 1;
                }
                println!(
                    "{name}: exact {}, adapted {}, unsupported {}",
                    counts[0], counts[1], counts[2]
                );
            }
            (Err(refusal), Some((_, faults))) => {
                let told: Vec<String> = refusal.faults().iter().map(ToString::to_string).collect();
                println!("{name}: refused, {told:?}");
                for fault in *faults {
                    assert!(
                        told.iter().any(|told| told.starts_with(fault)),
                        "{name}: {fault}: {told:#?}"
                    );
                }
            }
            (Ok(_), Some(_)) => panic!("{name} was expected to be refused"),
            (Err(refusal), None) => panic!("{name}:\n{refusal}"),
        }
        if let Err(refusal) = read(UnknownPlugins::Refused) {
            let told = refusal.faults().iter();
            assert!(
                told.clone().all(|fault| fault.position.is_some()),
                "{name}: {refusal}"
            );
        }
    }
}
