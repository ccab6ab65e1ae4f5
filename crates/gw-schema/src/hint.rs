//! Did you mean: the nearest of the names that would have been right.

/// The name most like `wrong`, if any is near enough to have been meant.
pub fn nearest<'a>(wrong: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Bound: a name of three letters may be off by one, of six by two, never by more than three. Nobody means
    // anything by a name longer than this, and the distance costs the product of the lengths.
    if wrong.len() > 128 {
        return None;
    }
    let within = (wrong.chars().count() / 3).clamp(1, 3);
    let rated = names
        .into_iter()
        .map(|name| (distance(&wrong.to_lowercase(), name), name));
    rated
        .filter(|(distance, _)| *distance <= within)
        .min()
        .map(|(_, name)| name)
}

/// Edits between two names: insert, delete, replace, or swap two neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.to_lowercase().chars().collect());
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut next = vec![i];
        for j in 1..=b.len() {
            let replaced = row[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(row[j] + 1).min(next[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(above[j - 2] + 1);
            }
            next.push(best);
        }
        above = std::mem::replace(&mut row, next);
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("host", "hots", 1),
            ("host", "hosts", 1),
            ("path", "paths", 1),
            ("kitten", "sitting", 3),
            ("abc", "xyz", 3),
            ("héte", "hete", 1),
        ] {
            assert_eq!((distance(a, b), distance(b, a)), (expected, expected), "{a} {b}");
        }
    }

    #[test]
    fn only_near_names_are_meant() {
        let names = ["host", "port", "protocol", "connect_timeout"];
        assert_eq!(nearest("Hosts", names), Some("host"));
        assert_eq!(nearest("prot", names), Some("port"));
        assert_eq!(nearest("conect_timout", names), Some("connect_timeout"));
        assert_eq!(nearest("retries", names), None);
        assert_eq!(nearest("", names), None);
    }
}
