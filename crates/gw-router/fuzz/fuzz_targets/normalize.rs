//! A normal form is normal, absolute, free of dot segments and NUL bytes, and borrowed when it is the path itself.

#![no_main]

use std::borrow::Cow;

use gw_router::normalize;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|raw: &str| {
    let Ok(normal) = normalize(raw) else {
        return;
    };
    assert!(matches!(normalize(&normal), Ok(Cow::Borrowed(again)) if again == normal));
    assert_eq!(
        matches!(normal, Cow::Borrowed(_)),
        raw.split(['?', '#']).next() == Some(&normal)
    );
    assert!(normal == "*" || normal.starts_with('/'));
    assert!(!normal.contains('\0'));
    assert!(normal.split('/').all(|segment| segment != "." && segment != ".."));
});
