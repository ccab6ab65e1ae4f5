//! How passwords are stored, and how they are known again.

use serde_json::json;

use super::*;

const ID: &str = "33333333-3333-4333-8333-333333333333";

fn document(password: &str) -> Document {
    let document = json!({ "id": ID, "username": "ann", "password": password });
    document.as_object().unwrap().clone()
}

fn password(stored: &str) -> Password {
    let consumer = || "11111111-1111-4111-8111-111111111111".to_owned();
    Password {
        stored: Stored::read(stored, consumer),
        known: OnceLock::new(),
    }
}

fn fresh() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &[7; 32])
}

#[test]
fn the_stored_form_is_that_of_a_published_vector() {
    // RFC 7914, section 11: PBKDF2-HMAC-SHA-256 of "passwd" with the salt "salt" and one round, its first 32 bytes.
    let hash = from_hex("55ac046e56e3089fec1691c22544b605f94185216dde0465e68b9d57c20dacbc").unwrap();
    let stored = format!(
        "$pbkdf2-sha256$i=1${}${}",
        STANDARD_NO_PAD.encode("salt"),
        STANDARD_NO_PAD.encode(hash)
    );
    assert_eq!(
        password(&stored).check("passwd", &fresh(), || false),
        Verdict::Right
    );
    assert_eq!(
        password(&stored).check("passwD", &fresh(), || false),
        Verdict::Wrong
    );
}

#[test]
fn a_password_is_hashed_once() {
    let mut first = document("secret");
    settle(&mut first).unwrap();
    let stored = first["password"].as_str().unwrap().to_owned();
    assert!(
        stored.starts_with("$pbkdf2-sha256$i=10000$") && !stored.contains("secret"),
        "{stored}"
    );
    settle(&mut first).unwrap();
    assert_eq!(first["password"], stored, "a stored hash sent back stays");
    let mut again = document("secret");
    settle(&mut again).unwrap();
    assert_eq!(
        again["password"], stored,
        "the same file is the same configuration"
    );
    let mut other = document("secret");
    other.insert("id".to_owned(), json!("44444444-4444-4444-8444-444444444444"));
    settle(&mut other).unwrap();
    assert_ne!(other["password"], stored, "each credential has its own salt");
}

#[test]
fn a_text_that_is_almost_a_hash_is_refused() {
    for text in [
        "$pbkdf2-sha256$i=0$c2FsdA$AAAA",
        "$pbkdf2-sha256$",
        "$kong-sha1$xyz",
        "$pbkdf2-sha256$i=2000000$c2FsdA$AAAA",
    ] {
        let refused = settle(&mut document(text)).unwrap_err();
        assert_eq!(refused.into_iter().next().unwrap().pointer, "/password", "{text}");
    }
    // What looks like another program's hash is a password, as it is for Kong.
    let mut bcrypt = document("$2a$10$RTz4s0owNSNEaqu7CNDsXNRx2UdoKHHdvD1/RyvrYWq8M/3XrqQ4E");
    settle(&mut bcrypt).unwrap();
    assert!(bcrypt["password"].as_str().unwrap().starts_with(STORED));
}

#[test]
fn what_kong_has_stored_is_understood() {
    // printf '%s' 'kong11111111-1111-4111-8111-111111111111' | sha1sum
    let mut exported = document("5520d5aaccb5b0575bd2c2a6adb6a5cfb664f882");
    adopt(&mut exported);
    settle(&mut exported).unwrap();
    assert_eq!(
        exported["password"],
        "$kong-sha1$5520d5aaccb5b0575bd2c2a6adb6a5cfb664f882"
    );
    let stored = password("$kong-sha1$5520d5aaccb5b0575bd2c2a6adb6a5cfb664f882");
    assert_eq!(stored.check("kong", &fresh(), || false), Verdict::Right);
    assert_eq!(stored.check("Kong", &fresh(), || false), Verdict::Wrong);
    let mut plain = document("not a hash of forty hexadecimal digits!!");
    adopt(&mut plain);
    assert_eq!(plain["password"], "not a hash of forty hexadecimal digits!!");
}

#[test]
fn the_right_password_is_known_again_and_wrong_ones_are_quick_then() {
    let mut document = document("secret");
    settle(&mut document).unwrap();
    let stored = password(document["password"].as_str().unwrap());
    let key = fresh();
    assert_eq!(stored.check("secret", &key, || false), Verdict::Right);
    for _ in 0..1000 {
        assert_eq!(stored.check("wrong", &key, || false), Verdict::Wrong);
    }
    assert_eq!(stored.check("secret", &key, || false), Verdict::Right);
}

#[test]
fn what_takes_long_is_not_looked_at_if_it_is_too_much() {
    let mut document = document("secret");
    settle(&mut document).unwrap();
    let stored = password(document["password"].as_str().unwrap());
    let key = fresh();
    assert_eq!(stored.check("secret", &key, || true), Verdict::NotNow);
    assert_eq!(stored.check("secret", &key, || false), Verdict::Right);
    assert_eq!(
        stored.check("secret", &key, || true),
        Verdict::Right,
        "it is known now"
    );
    assert_eq!(stored.check("wrong", &key, || true), Verdict::Wrong);
}
