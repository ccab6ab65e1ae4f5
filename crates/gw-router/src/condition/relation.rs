//! What one condition says about another: whether it follows, whether both can hold.

use super::{Condition, OneOf, Source, Test, Text};

impl Condition {
    /// Whether every request that meets this condition meets the other one. If in doubt it does not.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        if self.source != other.source {
            return false;
        }
        match (&self.test, &other.test) {
            (Test::Present | Test::OneOf(_) | Test::Regex(_), Test::Present) => true,
            (Test::OneOf(own), Test::OneOf(wider)) => own.is_within(wider),
            (Test::OneOf(own), Test::Regex(regex)) => {
                let mut values = own.as_slice().iter();
                !own.ignores_case() && values.all(|value| regex.admits(Text::Plain(value.as_bytes())))
            }
            (own, other) => own == other,
        }
    }

    /// Whether a request can meet both conditions, of each header, argument and cookie giving one value. If in doubt it
    /// cannot.
    pub(crate) fn agrees_with(&self, other: &Self) -> bool {
        if !self.source.names_the_same(&other.source) {
            return true;
        }
        match (&self.test, &other.test) {
            (Test::Absent, test) | (test, Test::Absent) => *test == Test::Absent,
            (Test::Present, _) | (_, Test::Present) => true,
            (Test::OneOf(one), Test::OneOf(two)) => {
                one.as_slice()
                    .iter()
                    .any(|value| two.admits(Text::Plain(value.as_bytes())))
                    || two
                        .as_slice()
                        .iter()
                        .any(|value| one.admits(Text::Plain(value.as_bytes())))
            }
            (Test::OneOf(values), Test::Regex(regex)) | (Test::Regex(regex), Test::OneOf(values)) => values
                .as_slice()
                .iter()
                .any(|value| regex.admits(Text::Plain(value.as_bytes()))),
            (Test::Regex(one), Test::Regex(two)) => one == two,
        }
    }
}

impl OneOf {
    /// Whether another list has all that this one has.
    fn is_within(&self, other: &Self) -> bool {
        let mut values = self.as_slice().iter();
        let comparable = other.ignores_case() || !self.ignores_case();
        comparable && values.all(|value| other.admits(Text::Plain(value.as_bytes())))
    }
}

impl Source {
    /// Whether both are about one header, argument or cookie.
    fn names_the_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Header(one), Self::Header(two)) => one == two,
            (Self::Query { name: one, .. }, Self::Query { name: two, .. })
            | (Self::Cookie { name: one, .. }, Self::Cookie { name: two, .. }) => one == two,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Condition;

    #[test]
    fn conditions_follow_from_and_agree_with_others() {
        let of = |name: &str| Condition::query(name);
        let regex = |text: &str| of("v").matches(text).unwrap();
        // One, the other, whether the first implies the second, whether the second implies the first, both at once.
        let cases = [
            (of("v").equals("1"), of("v").equals("1"), true, true, true),
            (of("v").equals("1"), of("v").equals("2"), false, false, false),
            (of("v").equals("1"), of("w").equals("2"), false, false, true),
            (of("v").equals("1"), of("v").one_of(["1", "2"]), true, false, true),
            (
                of("v").one_of(["1", "3"]),
                of("v").one_of(["1", "2"]),
                false,
                false,
                true,
            ),
            (of("v").equals("1"), of("v").present(), true, false, true),
            (of("v").absent(), of("v").present(), false, false, false),
            (of("v").absent(), of("v").absent(), true, true, true),
            (of("v").absent(), of("v").equals("1"), false, false, false),
            (
                of("v").equals("a"),
                of("v").ignore_case().equals("A"),
                true,
                false,
                true,
            ),
            (
                of("v").ignore_case().equals("a"),
                of("v").equals("A"),
                false,
                true,
                true,
            ),
            (
                of("v").equals("1"),
                of("v").any_occurrence().equals("1"),
                false,
                false,
                true,
            ),
            (of("v").equals("abc"), regex("b"), true, false, true),
            (of("v").equals("abc"), regex("d"), false, false, false),
            (regex("b"), regex("b"), true, true, true),
            (regex("b"), regex("a"), false, false, false),
            (regex("b"), of("v").present(), true, false, true),
        ];
        for (one, other, forth, back, both) in cases {
            let name = format!("{one}; {other}");
            assert_eq!(
                (one.implies(&other), other.implies(&one)),
                (forth, back),
                "{name}"
            );
            assert_eq!(
                (one.agrees_with(&other), other.agrees_with(&one)),
                (both, both),
                "{name}"
            );
        }
    }
}
