//! Headers of the PROXY protocol, whole and in part: nothing panics, and no verdict is taken back.

#![no_main]

use gw_core::ProxyProtocol;
use libfuzzer_sys::fuzz_target;

#[path = "../../src/proxy_protocol.rs"]
#[allow(dead_code, unreachable_pub, reason = "the target takes a part of it")]
mod proxy_protocol;

use proxy_protocol::{Origin, Read, read, write};

fuzz_target!(|input: (Vec<u8>, usize)| {
    let (bytes, end) = input;
    let (whole, part) = (read(&bytes), &bytes[..end.min(bytes.len())]);
    match read(part) {
        Ok(Read::Part) => {}
        decided => assert_eq!(decided, whole),
    }
    if let Ok(Read::Whole(length, origin)) = whole {
        assert!(length <= bytes.len());
        assert_eq!(read(&bytes[..length - 1]), Ok(Read::Part));
        for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
            let header = write(version, origin);
            let Ok(Read::Whole(written, told)) = read(&header) else {
                panic!("what is written cannot be read");
            };
            assert_eq!(written, header.len());
            assert_eq!(matches!(told, Origin::Ip { .. }), matches!(origin, Origin::Ip { .. }));
        }
    }
});
