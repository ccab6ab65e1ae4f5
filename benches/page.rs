//! A page whose tables are written by a run: between `<!-- begin name -->` and `<!-- end name -->`.

/// The page with this table brought up to date; as it is where it has no such table.
pub(crate) fn fill(page: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let Some((head, rest)) = page.split_once(&begin) else {
        return page.to_owned();
    };
    match rest.split_once(&end) {
        Some((_, tail)) => format!("{head}{begin}\n{table}\n{end}{tail}"),
        None => page.to_owned(),
    }
}

/// What a run was made on.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model = std::fs::read_to_string("/proc/cpuinfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(": ")?.1.to_owned())
    });
    format!(
        "{cores} cores, {}",
        model.unwrap_or_else(|| std::env::consts::ARCH.to_owned())
    )
}
