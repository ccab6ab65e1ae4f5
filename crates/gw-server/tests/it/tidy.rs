//! House rules a compiler does not know: which crate may use which, where no runtime may be, how files are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, PackageId};

/// Each crate of ours with those of ours it may use. Tests and benches may use more.
const ARROWS: [(&str, &[&str]); 9] = [
    (
        "gw-server",
        &["gw-admin", "gw-proxy", "gw-plugins", "gw-core", "gw-store"],
    ),
    (
        "gw-admin",
        &["gw-plugins", "gw-core", "gw-schema", "gw-store", "gw-router"],
    ),
    ("gw-proxy", &["gw-plugins", "gw-core", "gw-router", "gw-balancer"]),
    ("gw-plugins", &["gw-core", "gw-schema"]),
    ("gw-core", &["gw-schema", "gw-router", "gw-balancer"]),
    ("gw-router", &[]),
    ("gw-balancer", &[]),
    ("gw-schema", &[]),
    ("gw-store", &[]),
];

/// Crates an embedder takes without a runtime: tokio is nowhere below them.
const NO_RUNTIME: [&str; 5] = ["gw-router", "gw-balancer", "gw-schema", "gw-core", "gw-plugins"];

/// Lines of a file, its tests apart.
const LONGEST_FILE: usize = 600;

// --- arrows ---

/// Package names, each with those it uses outside tests.
type Graph = BTreeMap<String, BTreeSet<String>>;

#[test]
fn crates_of_ours_use_only_those_they_may() {
    let metadata = metadata();
    let members: Vec<_> = metadata
        .workspace_packages()
        .iter()
        .map(|package| package.name.to_string())
        .collect();
    assert_eq!(strange_arrows(&graph(&metadata), &members), Vec::<String>::new());
    for (name, _) in ARROWS {
        assert!(
            members.iter().any(|member| member == name),
            "{name} is gone; take it off the list"
        );
    }
}

#[test]
fn no_runtime_lies_below_the_pure_crates() {
    let graph = graph(&metadata());
    assert!(
        path(&graph, "gw-store", "tokio").is_some(),
        "gw-store does use tokio: the graph is not read right"
    );
    let found: Vec<_> = NO_RUNTIME
        .iter()
        .filter_map(|name| path(&graph, name, "tokio"))
        .collect();
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_planted_arrow_is_found() {
    let planted = [
        ("gw-router", "http"),
        ("gw-router", "gw-store"),
        ("gw-admin", "gw-testkit"),
        ("http", "tokio"),
    ];
    let mut graph = Graph::new();
    for (from, to) in planted {
        graph.entry(from.to_owned()).or_default().insert(to.to_owned());
    }
    let members = ["gw-router", "gw-store", "gw-admin", "gw-testkit"].map(str::to_owned);
    assert_eq!(
        strange_arrows(&graph, &members),
        ["gw-admin -> gw-testkit", "gw-router -> gw-store"]
    );
    assert_eq!(
        path(&graph, "gw-router", "tokio").as_deref(),
        Some("gw-router -> http -> tokio")
    );
    assert_eq!(path(&graph, "gw-store", "tokio"), None);
}

/// Arrows from a listed crate to a workspace member that it may not use.
fn strange_arrows(graph: &Graph, members: &[String]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let arrows = graph
        .iter()
        .flat_map(|(from, used)| used.iter().map(move |to| (from.as_str(), to)));
    let strange = arrows.filter(|(from, to)| {
        members.contains(to)
            && allowed
                .get(from)
                .is_some_and(|allowed| !allowed.contains(&to.as_str()))
    });
    strange.map(|(from, to)| format!("{from} -> {to}")).collect()
}

/// How one package comes to use another, if it does.
fn path(graph: &Graph, from: &str, to: &str) -> Option<String> {
    let mut seen = BTreeSet::from([from.to_owned()]);
    let mut ways = vec![vec![from.to_owned()]];
    while let Some(way) = ways.pop() {
        let end = way.last()?;
        if end == to {
            return Some(way.join(" -> "));
        }
        for next in graph
            .get(end)
            .into_iter()
            .flatten()
            .filter(|next| seen.insert((*next).clone()))
        {
            ways.push(way.iter().chain([next]).cloned().collect());
        }
    }
    None
}

/// The resolved graph of this platform, without dependencies that only tests have, and without those of our crates that only
/// a feature brings: who turns it on has chosen.
fn graph(metadata: &Metadata) -> Graph {
    let names: BTreeMap<&PackageId, &str> = metadata
        .packages
        .iter()
        .map(|package| (&package.id, package.name.as_str()))
        .collect();
    let chosen: BTreeSet<(&PackageId, &str)> = metadata
        .workspace_packages()
        .into_iter()
        .flat_map(|package| {
            package
                .dependencies
                .iter()
                .map(move |dependency| (&package.id, dependency))
        })
        .filter(|(_, dependency)| dependency.optional && dependency.kind == DependencyKind::Normal)
        .map(|(package, dependency)| (package, dependency.name.as_str()))
        .collect();
    let mut graph = Graph::new();
    for node in &metadata
        .resolve
        .as_ref()
        .expect("asked for with dependencies")
        .nodes
    {
        let used = node.deps.iter().filter(|dependency| {
            dependency
                .dep_kinds
                .iter()
                .any(|kind| kind.kind != DependencyKind::Development)
        });
        let used = used.map(|dependency| names[&dependency.pkg].to_owned());
        let used = used.filter(|name| !chosen.contains(&(&node.id, name.as_str())));
        graph.entry(names[&node.id].to_owned()).or_default().extend(used);
    }
    graph
}

fn metadata() -> Metadata {
    // Without the filter cargo would fetch what only other platforms need.
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(["--filter-platform".to_owned(), host()])
        .exec()
        .expect("the workspace resolves")
}

fn host() -> String {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = Command::new(rustc)
        .arg("-vV")
        .output()
        .expect("rustc runs")
        .stdout;
    let said = String::from_utf8(said).expect("rustc speaks UTF-8");
    said.lines()
        .find_map(|line| line.strip_prefix("host: "))
        .expect("rustc names its host")
        .to_owned()
}

#[test]
fn no_crate_of_ours_uses_anyhow() {
    for package in metadata().workspace_packages() {
        let found = package
            .dependencies
            .iter()
            .find(|dependency| dependency.name == "anyhow");
        assert!(
            found.is_none(),
            "{} uses anyhow; an error is an enum per operation",
            package.name
        );
    }
}

// --- files ---

#[test]
fn files_are_kept_as_agreed() {
    let files = sources();
    assert!(
        files.len() > 20,
        "sources are not found below {}",
        root().display()
    );
    let mut wrong = Vec::new();
    for file in &files {
        let text = fs::read_to_string(file).expect("a source file is text");
        let shown = file.strip_prefix(root()).unwrap_or(file);
        wrong.extend(
            complaints(shown, &text)
                .into_iter()
                .map(|why| format!("{}: {why}", shown.display())),
        );
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn a_file_not_kept_as_agreed_is_complained_of() {
    let good = format!(
        "//! Good.\n{}#[cfg(test)]\nmod tests {{\n{}}}\n",
        "\n".repeat(500),
        "\n".repeat(500)
    );
    for (file, text, expected) in [
        ("src/a.rs", good.clone(), None),
        ("src/mod.rs", good, Some("called `mod.rs`")),
        ("src/a.rs", "use std::fmt;\n".to_owned(), Some("`//!`")),
        (
            "src/a.rs",
            format!("//! Long.\n{}", "\n".repeat(600)),
            Some("601 lines"),
        ),
        (
            "src/a.rs",
            format!("//! Long.\n#[cfg(test)]\nuse a;\n{}", "\n".repeat(600)),
            Some("603 lines"),
        ),
        (
            "src/a/tests.rs",
            format!("//! Tests.\n{}", "\n".repeat(600)),
            None,
        ),
        ("tests/it/a.rs", format!("//! Tests.\n{}", "\n".repeat(600)), None),
    ] {
        let found = complaints(Path::new(file), &text);
        let is_expected = match expected {
            Some(expected) => matches!(found.as_slice(), [only] if only.contains(expected)),
            None => found.is_empty(),
        };
        assert!(is_expected, "{file} gave {found:?}, not {expected:?}");
    }
}

fn complaints(file: &Path, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        found.push("called `mod.rs`; write `name.rs` beside `name/`".to_owned());
    }
    if !text.starts_with("//! ") {
        found.push("does not open with one `//!` sentence".to_owned());
    }
    let lines = lines_without_tests(text);
    if !is_test(file) && lines > LONGEST_FILE {
        found.push(format!(
            "{lines} lines without tests, {LONGEST_FILE} are allowed; split it by subject"
        ));
    }
    found
}

/// Lines before the test module.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<_> = text.lines().collect();
    let opens_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod ");
    lines.windows(2).position(opens_tests).unwrap_or(lines.len())
}

fn is_test(file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == "tests.rs") || file.iter().any(|folder| folder == "tests")
}

fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders: Vec<_> = ["benches", "crates", "examples"]
        .map(|name| root().join(name))
        .to_vec();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder of the workspace") {
            let entry = entry.expect("an entry of it");
            let (path, is_folder) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
            // What cargo or a fuzzer built is not ours.
            if is_folder && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .expect("two folders above the package")
        .to_path_buf()
}
