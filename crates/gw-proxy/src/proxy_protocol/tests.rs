//! Headers read and written.

use proptest::prelude::*;

use super::*;

fn origin(source: &str, destination: &str) -> Origin {
    Origin::Ip {
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
    }
}

fn binary(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let mut header = SIGNATURE.to_vec();
    header.extend_from_slice(&[command, family]);
    header.extend_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    header.extend_from_slice(rest);
    header
}

#[test]
fn headers_are_read_byte_by_byte() {
    let v4 = [192, 0, 2, 1, 198, 51, 100, 2, 0x1f, 0x90, 0x01, 0xbb];
    let with_extensions = [&v4[..], &[0x01, 0, 2, b'h', b'2', 0x20, 0, 0]].concat();
    let mut v6 = [0; 36];
    v6[15] = 1;
    v6[31] = 2;
    v6[33] = 80;
    v6[35] = 81;
    for (header, expected) in [
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\r\n".to_vec(),
            origin("192.0.2.1:8080", "198.51.100.2:443"),
        ),
        (
            b"PROXY TCP6 2001:db8::1 ::1 65535 0\r\n".to_vec(),
            origin("[2001:db8::1]:65535", "[::1]:0"),
        ),
        (b"PROXY UNKNOWN\r\n".to_vec(), Origin::Unknown),
        (b"PROXY UNKNOWN a b c \xc3\xa4\r\n".to_vec(), Origin::Unknown),
        (
            binary(0x21, 0x11, &v4),
            origin("192.0.2.1:8080", "198.51.100.2:443"),
        ),
        (
            binary(0x21, 0x11, &with_extensions),
            origin("192.0.2.1:8080", "198.51.100.2:443"),
        ),
        (binary(0x21, 0x21, &v6), origin("[::1]:80", "[::2]:81")),
        (binary(0x21, 0x31, &[7; 216]), Origin::Unix),
        (binary(0x21, 0x12, &v4), Origin::Unknown),
        (binary(0x21, 0x00, &[]), Origin::Unknown),
        (binary(0x20, 0x11, &v4), Origin::Unknown),
        (binary(0x20, 0x00, &[]), Origin::Unknown),
        (binary(0x20, 0xff, &[1, 2, 3]), Origin::Unknown),
    ] {
        for end in 0..header.len() {
            assert_eq!(read(&header[..end]), Ok(Read::Part), "{header:?} to {end}");
        }
        let whole = Ok(Read::Whole(header.len(), expected));
        assert_eq!(read(&header), whole, "{header:?}");
        let followed = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
        assert_eq!(read(&followed), whole, "{header:?}");
    }
}

#[test]
fn what_is_no_header_is_refused() {
    let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(LINE));
    for line in [
        "PROXY TCP4 192.0.2.1 198.51.100.2 8080\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 8080 443 1\r\n",
        "PROXY TCP4  192.0.2.1 198.51.100.2 8080 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 8080 443\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 8080 65536\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 +80 443\r\n",
        "PROXY TCP4 192.0.2.1 198.51.100.2 080 443\r\n",
        "PROXY TCP4 192.0.2.01 198.51.100.2 80 443\r\n",
        "PROXY TCP4 ::1 ::1 80 443\r\n",
        "PROXY TCP6 192.0.2.1 198.51.100.2 80 443\r\n",
        "PROXY UDP4 192.0.2.1 198.51.100.2 80 443\r\n",
        "PROXY tcp4 192.0.2.1 198.51.100.2 80 443\r\n",
        "PROXY \r\n",
        &long,
    ] {
        assert_eq!(read(line.as_bytes()), Err(Malformed::Version1), "{line:?}");
    }
    for text in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x03\x01",
        b"proxy",
        b"\r\n\r\n\0\r\nQUIT\r",
    ] {
        assert_eq!(read(text), Err(Malformed::Missing), "{text:?}");
    }
    for (command, family) in [
        (0x11, 0x11),
        (0x22, 0x11),
        (0x2f, 0x11),
        (0x21, 0x41),
        (0x21, 0x13),
        (0x31, 0),
    ] {
        let header = binary(command, family, &[0; 12]);
        assert_eq!(
            read(&header),
            Err(Malformed::Unassigned),
            "{command:x} {family:x}"
        );
    }
    for (family, length) in [(0x11, 11), (0x21, 35), (0x31, 215)] {
        let header = binary(0x21, family, &vec![0; length]);
        assert_eq!(read(&header), Err(Malformed::Short), "{family:x}");
    }
    // It is known before it has come.
    let header = binary(0x21, 0x11, &vec![0; MOST]);
    assert_eq!(read(&header[..HEAD]), Err(Malformed::Long));
}

#[test]
fn what_is_written_reads_the_same() {
    for version in [ProxyProtocol::V1, ProxyProtocol::V2] {
        for (written, expected) in [
            (
                origin("192.0.2.1:1", "198.51.100.2:65535"),
                origin("192.0.2.1:1", "198.51.100.2:65535"),
            ),
            (
                origin("[2001:db8::1]:1", "[::1]:2"),
                origin("[2001:db8::1]:1", "[::1]:2"),
            ),
            (
                origin("[::ffff:192.0.2.1]:1", "198.51.100.2:2"),
                origin("192.0.2.1:1", "198.51.100.2:2"),
            ),
            (
                origin("192.0.2.1:1", "[2001:db8::1]:2"),
                origin("[::ffff:192.0.2.1]:1", "[2001:db8::1]:2"),
            ),
            (Origin::Unknown, Origin::Unknown),
            (Origin::Unix, Origin::Unknown),
        ] {
            let header = write(version, written);
            assert_eq!(
                read(&header),
                Ok(Read::Whole(header.len(), expected)),
                "{version:?}"
            );
        }
    }
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let begun = prop_oneof![
        Just(LINE_BEGIN.to_vec()),
        Just(b"PROXY TCP4 192.0.2.1 198.51.100.2 ".to_vec()),
        Just(SIGNATURE.to_vec()),
        (any::<bool>(), 0_u8..0x34, 0_u8..64).prop_map(|(proxy, family, length)| {
            let command = if proxy { 0x21 } else { 0x20 };
            [&SIGNATURE[..], &[command, family, 0, length]].concat()
        }),
        Just(Vec::new()),
    ];
    (begun, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(begun, rest)| [begun, rest].concat())
}

proptest! {
    /// What has been said of the beginning holds for the whole: however bytes are parted, the end is the same.
    #[test]
    fn the_verdict_does_not_depend_on_how_bytes_come(bytes in bytes(), end in 0_usize..400) {
        let part = &bytes[..end.min(bytes.len())];
        match read(part) {
            Ok(Read::Part) => {}
            decided => prop_assert_eq!(decided, read(&bytes)),
        }
        if let Ok(Read::Whole(length, _)) = read(&bytes) {
            prop_assert!(length <= bytes.len() && length <= MOST);
            prop_assert_eq!(read(&bytes[..length - 1]), Ok(Read::Part));
        }
    }

    #[test]
    fn addresses_survive_the_way(source: SocketAddr, destination: SocketAddr, binary: bool) {
        let plain = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        let origin = Origin::Ip { source: plain(source), destination: plain(destination) };
        let version = if binary { ProxyProtocol::V2 } else { ProxyProtocol::V1 };
        let header = write(version, origin);
        let Ok(Read::Whole(length, Origin::Ip { source, destination })) = read(&header) else {
            return Err(TestCaseError::fail("it cannot be read"));
        };
        prop_assert_eq!(length, header.len());
        prop_assert_eq!(Origin::Ip { source: plain(source), destination: plain(destination) }, origin);
    }
}
