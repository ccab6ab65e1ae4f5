//! `gw-server check`: what is wrong with files, and how faithfully what they say would run here.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use gw_admin::declarative::{self, Configuration, Fault, Judgement, Refusal, Remark, Verdict};
use gw_core::Kinds;
use gw_plugins::Registry;
use serde_json::{Value, json};

use super::{CommandError, TOLERANT, read, registry, say};
use crate::args::Args;
use crate::file::{self, Environment, Told};

/// What was found out about one file.
struct Checked<'a> {
    path: &'a Path,
    /// Why it would not be loaded.
    refusal: Option<Refusal>,
    /// What it says, as far as it can be read: what wants plugins that are not here is left out.
    configuration: Option<Configuration>,
}

pub(super) fn run(
    args: &Args,
    files: &[PathBuf],
    json: bool,
    environment: Environment,
) -> Result<ExitCode, CommandError> {
    let registry = registry(args)?;
    let kinds = args.secrets.kinds(&registry)?;
    let default: Vec<PathBuf> = args.file.config.clone().into_iter().collect();
    let files = if files.is_empty() { &default } else { files };
    if files.is_empty() {
        return Err(CommandError::NoFile);
    }
    let mut all = Vec::new();
    for path in files {
        all.push(check(path, &kinds, &registry, environment)?);
    }
    if json {
        let told: Vec<Value> = all.iter().map(Checked::document).collect();
        say(&format!("{:#}\n", json!({ "files": told })))?;
    } else {
        for checked in &all {
            say(&checked.text())?;
        }
    }
    let refused = all.iter().any(|checked| checked.refusal.is_some());
    Ok(if refused {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn check<'a>(
    path: &'a Path,
    kinds: &Kinds,
    registry: &Registry,
    environment: Environment,
) -> Result<Checked<'a>, CommandError> {
    let text = read(path)?;
    let (refusal, configuration) = match declarative::read(&text, kinds, registry, &environment) {
        Ok(configuration) => (None, Some(configuration)),
        Err(refusal) => {
            // What else it says is worth knowing, if plugins that are not here are all that is wrong.
            let rest = declarative::read(&text, kinds, registry, &TOLERANT);
            (Some(refusal), rest.ok())
        }
    };
    Ok(Checked {
        path,
        refusal,
        configuration,
    })
}

/// How many objects run how faithfully.
fn count(judgements: &[Judgement], verdict: Verdict) -> usize {
    judgements
        .iter()
        .filter(|judgement| judgement.verdict == verdict)
        .count()
}

impl Checked<'_> {
    fn text(&self) -> String {
        let path = self.path.display();
        let mut lines = Vec::new();
        if let Some(refusal) = &self.refusal {
            lines.extend(file::faults(self.path, refusal));
        }
        if let Some(configuration) = &self.configuration {
            let notices = configuration.notices.iter();
            lines.extend(notices.map(|notice| format!("{} (notice)", Told(self.path, notice))));
            let judgements = configuration.judgements();
            let (exact, adapted, unsupported) = (
                count(&judgements, Verdict::Exact),
                count(&judgements, Verdict::Adapted),
                count(&judgements, Verdict::Unsupported),
            );
            let verdict = if self.refusal.is_some() {
                "refused"
            } else {
                "would be loaded"
            };
            lines.push(format!(
                "{path}: {verdict}; of {} objects {exact} run exactly, {adapted} adapted, {unsupported} not at all",
                judgements.len()
            ));
            for judgement in judgements
                .iter()
                .filter(|judgement| judgement.verdict != Verdict::Exact)
            {
                lines.extend(told(judgement));
            }
        } else {
            lines.push(format!("{path}: refused"));
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn document(&self) -> Value {
        let judgements = self.configuration.as_ref().map(Configuration::judgements);
        let judgements = judgements.unwrap_or_default();
        let notices = self
            .configuration
            .iter()
            .flat_map(|configuration| &configuration.notices);
        let notices = notices.map(|notice| {
            let (line, column) = notice.position.map(|at| (at.line, at.column)).unzip();
            json!({ "pointer": notice.pointer, "line": line, "column": column, "message": notice.message })
        });
        json!({
            "file": self.path,
            "loads": self.refusal.is_none(),
            "errors": self.refusal.as_ref().map(errors).unwrap_or_default(),
            "notices": notices.collect::<Value>(),
            "summary": {
                "exact": count(&judgements, Verdict::Exact),
                "adapted": count(&judgements, Verdict::Adapted),
                "unsupported": count(&judgements, Verdict::Unsupported),
            },
            "objects": judgements.iter().map(object).collect::<Value>(),
        })
    }
}

fn told(judgement: &Judgement) -> Vec<String> {
    let kind = judgement.kind;
    let name = judgement
        .name
        .as_ref()
        .map(|name| format!(" '{name}'"))
        .unwrap_or_default();
    let line = judgement
        .position
        .map(|at| format!("line {}: ", at.line))
        .unwrap_or_default();
    let one = |remark: &Remark| {
        let verdict = remark.verdict.as_str();
        let field = remark
            .pointer
            .strip_prefix(&judgement.pointer)
            .unwrap_or_default();
        let field = field.trim_start_matches('/').replace('/', ".");
        let field = if field.is_empty() {
            field
        } else {
            format!("{field}: ")
        };
        let what = &remark.what;
        let remedy = if remark.remedy.is_empty() {
            String::new()
        } else {
            format!("; {}", remark.remedy)
        };
        format!("  {verdict:<11} {line}{kind}{name}: {field}{what}{remedy}")
    };
    judgement.remarks.iter().map(one).collect()
}

fn errors(refusal: &Refusal) -> Value {
    if let Some(error) = refusal.syntax() {
        let at = error.position;
        return json!([{
            "path": "", "pointer": "", "line": at.line, "column": at.column, "message": error.message, "hint": null,
        }]);
    }
    let one = |fault: &Fault| {
        let (line, column) = fault.position.map(|at| (at.line, at.column)).unzip();
        json!({
            "path": fault.path, "pointer": fault.violation.pointer, "line": line, "column": column,
            "message": fault.violation.message, "hint": fault.violation.hint,
        })
    };
    refusal.faults().iter().map(one).collect()
}

fn object(judgement: &Judgement) -> Value {
    let remarks = judgement.remarks.iter().map(|remark| {
        json!({
            "pointer": remark.pointer, "verdict": remark.verdict.as_str(), "what": remark.what, "remedy": remark.remedy,
        })
    });
    json!({
        "kind": judgement.kind,
        "name": judgement.name,
        "pointer": judgement.pointer,
        "line": judgement.position.map(|at| at.line),
        "verdict": judgement.verdict.as_str(),
        "remarks": remarks.collect::<Value>(),
    })
}
