//! Edits in their order, and what stays as it was.

use http::{HeaderMap, HeaderValue};

use super::{Edits, Fields, Format, Headers, Members, Multipart, Pairs, format, split, written};

/// Each kind of edit once: `gone` is removed, `old` is called `new`, …
fn edits() -> Edits<Box<str>, &'static str> {
    let pair = |name: &str, value: &'static str| (Box::<str>::from(name), value);
    Edits {
        remove: vec!["gone".into()],
        rename: vec![("old".into(), "new".into()), ("absent".into(), "nothing".into())],
        replace: vec![pair("there", "R"), pair("absent", "R")],
        add: vec![pair("there", "A"), pair("added", "A"), pair("gone", "A")],
        append: vec![pair("there", "P"), pair("fresh", "P"), pair("new", "P")],
    }
}

#[test]
fn items_are_split_as_kong_splits_them() {
    let table = [
        ("a:b", Some(("a", "b"))),
        ("a: b", Some(("a", " b"))),
        ("a::b", Some(("a", "b"))),
        ("a:b:c", Some(("a", "b:c"))),
        ("a:http://x", Some(("a", "http://x"))),
        ("a", Some(("a", ""))),
        ("a:", Some(("a", ""))),
        (":b", None),
        ("", None),
    ];
    for (item, expected) in table {
        assert_eq!(split(item), expected, "{item}");
    }
}

#[test]
fn pairs_are_edited_and_the_others_stay_as_written() {
    let table = [
        (
            "old=1&there=x&gone=y",
            "new=1&there=R&added=A&gone=A&there=P&fresh=P&new=P",
        ),
        (
            "a=%2f+b&&c",
            "a=%2f+b&c&there=A&added=A&gone=A&there=P&fresh=P&new=P",
        ),
        (
            "%6fld=1+2&new=0",
            "new=1+2&there=A&added=A&gone=A&there=P&fresh=P&new=P",
        ),
        (
            "there=1&x=2&there=3",
            "there=R&x=2&added=A&gone=A&there=P&fresh=P&new=P",
        ),
    ];
    for (text, expected) in table {
        let mut pairs = Pairs::read(text);
        assert!(edits().apply(&mut pairs, |value| Some((*value).to_owned())));
        assert_eq!(pairs.write(), expected, "{text}");
    }
    let mut pairs = Pairs::default();
    pairs.append(&"a b".into(), "c&d=é".to_owned());
    assert_eq!(pairs.write(), "a%20b=c%26d%3D%C3%A9");
    let values: Vec<_> = Pairs::values("a=1&b&%61=2%20x&a", "a").collect();
    assert_eq!(values, [Some("1".into()), Some("2 x".into()), None]);
}

#[test]
fn members_are_edited_and_the_others_keep_their_digits() {
    let table = [
        (
            r#"{"old":1,"there":{"x":1},"gone":null,"n":12345678901234567890.10}"#,
            r#"{"new":[1,"P"],"there":["R","P"],"n":12345678901234567890.10,"added":"A","gone":"A","fresh":["P"]}"#,
        ),
        (
            r#"{"there":[ 1, 2 ],"new":[ ]}"#,
            r#"{"there":["R","P"],"new":["P"],"added":"A","gone":"A","fresh":["P"]}"#,
        ),
        (
            "{}",
            r#"{"there":["A","P"],"added":"A","gone":"A","fresh":["P"],"new":["P"]}"#,
        ),
    ];
    for (text, expected) in table {
        let mut members = Members::read(text.as_bytes()).unwrap();
        assert!(edits().apply(&mut members, |value| Some(written(value))));
        assert_eq!(String::from_utf8(members.write()).unwrap(), expected);
    }
    for not_an_object in ["", "[]", "1", "{", r#"{"a":1}x"#] {
        assert!(
            Members::read(not_an_object.as_bytes()).is_none(),
            "{not_an_object}"
        );
    }
    let mut members = Members::read(br#"{"l":[1, 2],"\u0061":"b\n"}"#).unwrap();
    members.append(&"l".into(), written("3"));
    assert!(members.has(&"a".into()));
    assert_eq!(members.write(), br#"{"l":[1, 2,"3"],"a":"b\n"}"#);
}

#[test]
fn parts_are_edited_and_files_stay_files() {
    let file = "Content-Disposition: form-data; filename=\"old\"; name=\"old\"\r\nContent-Type: image/png\r\n\r\n\u{89}PNG";
    let body = format!(
        "--b\r\n{file}\r\n--b\r\nContent-Disposition: form-data; name=\"gone\"\r\n\r\n1\r\n--b\r\n\
         content-disposition: form-data; name=there\r\n\r\n2\r\n--b--\r\n"
    );
    let mut form = Multipart::read(body.as_bytes(), "b".to_owned()).unwrap();
    assert!(edits().apply(&mut form, |value| Some((*value).to_owned())));
    let text = String::from_utf8(form.write()).unwrap();
    let renamed = file.replace(" name=\"old\"", " name=\"new\"");
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let parts = [
        ("there", "R"),
        ("added", "A"),
        ("gone", "A"),
        ("there", "P"),
        ("fresh", "P"),
        ("new", "P"),
    ];
    let parts: String = parts.iter().map(|(name, value)| part(name, value)).collect();
    assert_eq!(text, format!("--b\r\n{renamed}\r\n{parts}--b--\r\n"));
    for broken in ["--b\r\n", "--c--\r\n", "x", "--b\r\n\r\nx"] {
        assert!(
            Multipart::read(broken.as_bytes(), "b".to_owned()).is_none(),
            "{broken}"
        );
    }
    let empty = Multipart::read(b"", "b".to_owned()).unwrap();
    assert_eq!(empty.write(), b"--b--\r\n");
}

#[test]
fn headers_are_edited() {
    let name = |text: &str| http::HeaderName::from_bytes(text.as_bytes()).unwrap();
    let mut headers = HeaderMap::new();
    for (key, value) in [
        ("old", "1"),
        ("old", "2"),
        ("new", "0"),
        ("gone", "x"),
        ("there", "y"),
        ("there", "z"),
    ] {
        headers.append(name(key), HeaderValue::from_static(value));
    }
    let texts = edits();
    let named =
        |list: &[(Box<str>, &'static str)]| list.iter().map(|(key, value)| (name(key), *value)).collect();
    let edits = Edits {
        remove: vec![name("gone")],
        rename: vec![(name("old"), name("new"))],
        replace: named(&texts.replace),
        add: named(&texts.add),
        append: named(&texts.append),
    };
    edits.apply(&mut Headers(&mut headers), |value| {
        Some(HeaderValue::from_static(value))
    });
    let all = |key: &str| {
        headers
            .get_all(key)
            .iter()
            .map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(all("new"), ["1", "2", "P"]);
    assert_eq!(all("there"), ["R", "P"]);
    assert_eq!(all("gone"), ["A"]);
    assert_eq!(all("old"), Vec::<&str>::new());
}

#[test]
fn bodies_are_told_by_their_type() {
    let table = [
        ("application/json", Some(Format::Json)),
        ("Application/JSON; charset=utf-8", Some(Format::Json)),
        ("application/x-www-form-urlencoded", Some(Format::Form)),
        ("multipart/form-data; boundary=x", Some(Format::Multipart)),
        ("text/plain", None),
    ];
    for (text, expected) in table {
        let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(text))]);
        assert_eq!(format(&headers), expected, "{text}");
    }
    assert_eq!(format(&HeaderMap::new()), None);
}
