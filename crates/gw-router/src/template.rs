//! Several parameters, or parameters and text, in one segment.

use std::cmp::Ordering;

use smallvec::SmallVec;

use crate::{
    spans::{Span, Spans},
    tree::MARK,
};

/// Lays a template over a segment that begins at `at` of the path, and adds what its parameters take.
///
/// From the right each text is put where it stands last, with at least one byte before the next: so a parameter takes
/// as much as it can, the leftmost first. Time: O(template times segment) at worst, as for any search of a text.
pub(crate) fn lay(template: &[u8], segment: &[u8], at: usize, spans: &mut Spans) -> bool {
    let mut texts = template.rsplit(|byte| *byte == MARK);
    let Some(mut end) = texts
        .next()
        .and_then(|last| segment.strip_suffix(last))
        .map(<[u8]>::len)
    else {
        return false;
    };
    let mut taken: SmallVec<[Span; 8]> = SmallVec::new();
    let mut texts = texts.peekable();
    while let Some(text) = texts.next() {
        // The text in front of the first parameter is empty: it belongs to the way to the template.
        let start = if texts.peek().is_none() {
            0
        } else {
            let before = segment.get(..end.saturating_sub(1)).unwrap_or_default();
            match memchr::memmem::rfind(before, text) {
                Some(start) => start + text.len(),
                None => return false,
            }
        };
        if start >= end {
            return false;
        }
        taken.push(Span::new(at + start, at + end));
        end = start - text.len().min(start);
    }
    taken.into_iter().rev().for_each(|span| spans.push(span));
    true
}

/// Which of two ways to cover a segment is preferred: at the first byte that only one takes as text, that one.
pub(crate) fn prefer(one: &Spans, other: &Spans, segment: Span) -> Ordering {
    let covering = |spans: &Spans, at: usize| spans.iter().find(|span| span.start() <= at && at < span.end());
    let mut at = segment.start();
    while at < segment.end() {
        match (covering(one, at), covering(other, at)) {
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (None, None) => at += 1,
            (Some(one), Some(other)) => at = one.end().min(other.end()),
        }
    }
    Ordering::Equal
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering;

    use super::{lay, prefer};
    use crate::{
        spans::{Span, Spans},
        tree::MARK,
    };

    fn taken<'s>(template: &str, segment: &'s str) -> Option<Vec<&'s str>> {
        let template: Vec<u8> = template
            .bytes()
            .map(|byte| if byte == b'*' { MARK } else { byte })
            .collect();
        let mut spans = Spans::new();
        lay(&template, segment.as_bytes(), 0, &mut spans)
            .then(|| spans.iter().filter_map(|span| span.of(segment)).collect())
    }

    #[test]
    fn each_parameter_takes_what_it_can_from_the_left() {
        let cases: &[(&str, &str, Option<&[&str]>)] = &[
            ("*.json", "a.json", Some(&["a"])),
            ("*.json", ".json", None),
            ("*.json", "a.json.json", Some(&["a.json"])),
            ("*-*", "a-b-c", Some(&["a-b", "c"])),
            ("*-*", "a-b-", Some(&["a", "b-"])),
            ("*-*", "-b", None),
            ("*-*", "a-", None),
            ("*-*", "--", None),
            ("*-*", "---", Some(&["-", "-"])),
            ("*-*-*", "1-2-3", Some(&["1", "2", "3"])),
            ("*-*-*", "1-2-3-4", Some(&["1-2", "3", "4"])),
            ("*-*.x", "a-b.x", Some(&["a", "b"])),
            ("*-*.x", "a.x", None),
            ("*ab*", "xabaab", Some(&["x", "aab"])),
            ("*", "", None),
        ];
        for (template, segment, expected) in cases {
            assert_eq!(
                taken(template, segment).as_deref(),
                *expected,
                "{template} over {segment}"
            );
        }
    }

    #[test]
    fn text_is_preferred_where_the_other_has_a_parameter() {
        let cases: &[(&[_], &[_], _)] = &[
            (&[(0, 1), (2, 6)], &[(0, 3)], Ordering::Less),
            (&[(0, 3)], &[(0, 6)], Ordering::Less),
            (&[(0, 6)], &[(0, 6)], Ordering::Equal),
            (&[(0, 4)], &[(0, 2), (3, 6)], Ordering::Greater),
        ];
        let spans = |ranges: &[(usize, usize)]| {
            let mut spans = Spans::new();
            ranges
                .iter()
                .for_each(|(start, end)| spans.push(Span::new(*start, *end)));
            spans
        };
        let segment = Span::new(0, 6);
        for (one, other, expected) in cases {
            let (one, other) = (spans(one), spans(other));
            assert_eq!(prefer(&one, &other, segment), *expected);
            assert_eq!(prefer(&other, &one, segment), expected.reverse());
        }
    }
}
