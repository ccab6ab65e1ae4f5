//! The second reading of a path has no dot segments and is read a second time as itself; what is left alone has none either.

#![no_main]

use gw_router::normalize;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/second_reading.rs"]
#[allow(dead_code, reason = "the crate uses all of it")]
mod second_reading;

fuzz_target!(|raw: &str| {
    let Ok(normal) = normalize(raw) else {
        return;
    };
    if normal == "*" {
        return;
    }
    let Ok(other) = second_reading::read(&normal) else {
        return;
    };
    let read = other.as_deref().unwrap_or(&normal);
    assert!(read.starts_with('/') && !read.contains(['\0', '\\']));
    assert!(!read.contains("//"));
    assert!(read.split('/').all(|segment| segment != "." && segment != ".."));
    assert!(other.as_deref() != Some(&normal));
});
