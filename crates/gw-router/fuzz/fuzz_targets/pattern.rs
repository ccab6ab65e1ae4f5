//! Any text is a pattern or refused, in either syntax; what is a pattern can be read again.

#![no_main]

use gw_router::Pattern;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(pattern) = Pattern::parse(text) {
        assert_eq!(Pattern::parse(&pattern.to_string()).as_ref(), Ok(&pattern));
    }
    if let Ok(pattern) = Pattern::kong(text) {
        assert_eq!(Pattern::kong(&pattern.to_string()).as_ref(), Ok(&pattern));
    }
});
