//! The tables of the last run, written into the documents that show them.

use crate::suite;

/// Documents with a place for the tables.
const PAGES: [&str; 2] = ["benches/README.md", "docs/performance.md"];

const BEGIN: &str = "<!-- begin proxy -->";
const END: &str = "<!-- end proxy -->";

/// Puts the tables into each document, in the place of those of the run before.
pub(crate) fn write(tables: &str) -> Result<(), String> {
    for page in PAGES {
        let file = suite::workspace_root().join(page);
        let failed = |why: String| format!("{page}: {why}");
        let text = std::fs::read_to_string(&file).map_err(|error| failed(error.to_string()))?;
        let text = replaced(&text, tables)
            .ok_or_else(|| failed(format!("no `{BEGIN}` with an `{END}` after it")))?;
        std::fs::write(&file, text).map_err(|error| failed(error.to_string()))?;
        eprintln!("xtask: the tables in {page} are those of this run");
    }
    Ok(())
}

fn replaced(text: &str, tables: &str) -> Option<String> {
    let (before, rest) = text.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}\n\n{}\n\n{END}{after}", tables.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_between_the_marks_is_replaced() {
        let page = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let expected = format!("a\n{BEGIN}\n\nnew\n\n{END}\nb\n");
        assert_eq!(replaced(&page, "\nnew\n"), Some(expected.clone()));
        assert_eq!(replaced(&expected, "new"), Some(expected));
        assert_eq!(replaced("no place", "new"), None);
    }
}
