//! Certificates, the server names they are shown for, and certificates of authorities.

use serde_json::{Value, json};

use crate::support::{ABSENT, Admin, JSON, id, pair, pem, with};

#[tokio::test]
async fn server_names_are_written_through() {
    let admin = Admin::new().await;
    let body = with(pair("p256"), json!({ "snis": ["b.test", "A.test"] }));
    let made = admin
        .check(
            "POST /certificates",
            body,
            201,
            json!({ "snis": ["a.test", "b.test"] }),
        )
        .await;
    let certificate = id(&made);
    let sni = admin
        .check(
            "GET /snis/a.test",
            json!(null),
            200,
            json!({ "certificate": { "id": certificate } }),
        )
        .await;
    let before = admin.revision();
    let names = json!({ "snis": ["c.test", "a.test"] });
    let expected = json!({ "snis": ["a.test", "c.test"], "id": certificate });
    admin
        .check("PATCH /certificates/b.test", names, 200, expected.clone())
        .await;
    assert_eq!(admin.revision(), before + 1, "one commit");
    admin
        .check("GET /certificates/c.test", json!(null), 200, expected.clone())
        .await;
    admin
        .check("GET /snis/a.test", json!(null), 200, json!({ "id": id(&sni) }))
        .await;
    admin.check("GET /snis/b.test", json!(null), 404, json!({})).await;
    assert_eq!(admin.count(&format!("/certificates/{certificate}/snis")).await, 2);

    admin
        .check("DELETE /snis/c.test", json!(null), 204, json!(null))
        .await;
    let listed = admin.get("/certificates").await.1;
    assert_eq!(listed["data"][0]["snis"], json!(["a.test"]));
    // A replacement that does not speak of the names leaves them.
    let path = format!("PUT /certificates/{certificate}");
    admin
        .check(&path, pair("rsa"), 200, json!({ "snis": ["a.test"] }))
        .await;
    for nothing in [json!(null), json!([])] {
        let patched = json!({ "snis": nothing });
        admin
            .check(
                &format!("PATCH /certificates/{certificate}"),
                patched,
                200,
                json!({ "snis": [] }),
            )
            .await;
    }
    assert_eq!(admin.count("/snis").await, 0);
    let by_path = json!({ "name": "d.test" });
    admin
        .check(
            &format!("POST /certificates/{certificate}/snis"),
            by_path,
            201,
            json!({}),
        )
        .await;
    admin
        .check(
            "GET /certificates/D.TEST",
            json!(null),
            200,
            json!({ "snis": ["d.test"] }),
        )
        .await;
}

#[tokio::test]
async fn a_server_name_has_one_certificate() {
    let admin = Admin::new().await;
    let body = with(pair("p256"), json!({ "snis": ["a.test"] }));
    let owner = id(&admin.check("POST /certificates", body, 201, json!({})).await);
    let other = id(&admin
        .check("POST /certificates", pair("rsa"), 201, json!({ "snis": [] }))
        .await);
    let taken = format!("a.test already associated with existing certificate '{owner}'");
    let expected = json!({
        "code": 2, "message": format!("schema violation (snis: {taken})"), "fields": { "snis": taken },
    });
    let before = admin.revision();
    let body = with(pair("p384"), json!({ "snis": ["b.test", "a.test"] }));
    admin
        .check("POST /certificates", body, 400, expected.clone())
        .await;
    let patch = format!("PATCH /certificates/{other}");
    admin
        .check(&patch, json!({ "snis": ["a.test"] }), 400, expected)
        .await;
    let twice = json!({ "fields": { "snis": "b.test is duplicated" } });
    admin
        .check(&patch, json!({ "snis": ["b.test", "B.test"] }), 400, twice)
        .await;
    let bad = admin
        .check(
            &patch,
            json!({ "snis": ["ok.test", "no:80"] }),
            400,
            json!({ "code": 2 }),
        )
        .await;
    assert_eq!(bad["violations"][0]["pointer"], "/snis/1", "{bad}");
    let clash = json!({ "name": "a.test", "certificate": { "id": other } });
    admin
        .check(
            "POST /snis",
            clash,
            409,
            json!({ "code": 5, "fields": { "name": "a.test" } }),
        )
        .await;
    let nowhere = json!({ "name": "b.test", "certificate": { "id": ABSENT } });
    admin
        .check("POST /snis", nowhere, 400, json!({ "code": 4 }))
        .await;
    assert_eq!(admin.revision(), before);
    assert_eq!(admin.count("/snis").await, 1);
}

#[tokio::test]
async fn a_server_name_stands_for_its_certificate() {
    let admin = Admin::new().await;
    for call in ["GET", "PATCH"] {
        let expected = json!({ "message": "SNI not found" });
        admin
            .check(
                &format!("{call} /certificates/a.test"),
                json!(null),
                404,
                expected,
            )
            .await;
    }
    admin
        .check(
            "GET /certificates/a.test/snis",
            json!(null),
            404,
            json!({ "message": "SNI not found" }),
        )
        .await;
    admin
        .check("DELETE /certificates/a.test", json!(null), 204, json!(null))
        .await;
    let path = format!("GET /certificates/{ABSENT}");
    admin
        .check(&path, json!(null), 404, json!({ "message": "Not found" }))
        .await;

    let made = admin
        .check(
            "PUT /certificates/a.test",
            pair("p256"),
            200,
            json!({ "snis": ["a.test"] }),
        )
        .await;
    let more = with(pair("p384"), json!({ "snis": ["b.test"] }));
    let expected = json!({ "id": id(&made), "snis": ["a.test", "b.test"] });
    admin.check("PUT /certificates/a.test", more, 200, expected).await;
    admin
        .make(
            "/services",
            json!({ "name": "s", "host": "a", "protocol": "https" }),
        )
        .await;
    let refers = json!({ "client_certificate": { "id": id(&made) } });
    admin.check("PATCH /services/s", refers, 200, json!({})).await;
    admin
        .check(
            "GET /services/s/client_certificate",
            json!(null),
            200,
            json!({ "snis": ["a.test", "b.test"], "key": null }),
        )
        .await;
    admin
        .check(
            "GET /certificates/b.test/services",
            json!(null),
            200,
            json!({ "data": [{ "name": "s" }] }),
        )
        .await;
    admin
        .check(
            "GET /snis/b.test/certificate",
            json!(null),
            200,
            json!({ "id": id(&made) }),
        )
        .await;
}

/// Everything this API ever answers about a certificate.
#[tokio::test]
async fn private_keys_are_never_shown() {
    let admin = Admin::new().await;
    let both = with(
        pair("rsa"),
        json!({ "cert_alt": pem("p256.crt"), "key_alt": pem("p256.key"), "snis": ["a.test"] }),
    );
    let (status, made) = admin.send("POST /certificates", JSON, &both.to_string()).await;
    assert_eq!(status, 201, "{made}");
    admin
        .make(
            "/services",
            json!({ "name": "s", "host": "a", "protocol": "https" }),
        )
        .await;
    let refers = json!({ "client_certificate": { "id": id(&made) } });
    admin.check("PATCH /services/s", refers, 200, json!({})).await;
    let one = format!("/certificates/{}", id(&made));
    let mut answers = vec![made];
    for (call, body) in [
        (format!("GET {one}"), Value::Null),
        ("GET /certificates".to_owned(), Value::Null),
        ("GET /services/s/client_certificate".to_owned(), Value::Null),
        (format!("PATCH {one}"), json!({ "tags": ["x"] })),
        (format!("PUT {one}"), both.clone()),
        (format!("PATCH {one}"), json!({ "cert": pem("p384.crt") })),
        (format!("PATCH {one}"), json!({ "key": pem("p384.key") })),
        (
            "POST /certificates".to_owned(),
            with(pair("p256"), json!({ "key": pem("p384.key") })),
        ),
    ] {
        answers.push(admin.json(&call, body).await.1);
    }
    for answer in &answers {
        assert!(!answer.to_string().contains("PRIVATE KEY"), "{answer}");
    }
    let path = format!("GET {one}");
    let shown = admin
        .check(
            &path,
            json!(null),
            200,
            json!({ "key": null, "key_alt": null, "tags": null }),
        )
        .await;
    assert!(shown["cert"].is_string() && shown["cert_alt"].is_string());
}

#[tokio::test]
async fn what_was_read_can_be_written_back_without_its_key() {
    let admin = Admin::new().await;
    let made = admin
        .check("POST /certificates", pair("rsa"), 201, json!({}))
        .await;
    let path = format!("PUT /certificates/{}", id(&made));
    let again = with(made.clone(), json!({ "tags": ["x"] }));
    admin.check(&path, again, 200, json!({ "tags": ["x"] })).await;
    // The key is still there: another certificate does not fit it.
    let mismatch = json!({ "fields": { "@entity": ["certificate does not match key"] } });
    let other = with(made, json!({ "cert": pem("p256.crt") }));
    admin.check(&path, other, 400, mismatch.clone()).await;
    let patch = json!({ "cert": pem("p256.crt") });
    admin
        .check(&path.replace("PUT", "PATCH"), patch, 400, mismatch)
        .await;
    admin
        .check(&path, pair("p256"), 200, json!({ "key": null }))
        .await;
}

#[tokio::test]
async fn authorities() {
    let admin = Admin::new().await;
    let digest = "cert_digest";
    let body = json!({ "cert": pem("ca.crt") });
    let made = admin
        .check("POST /ca_certificates", body.clone(), 201, json!({}))
        .await;
    assert_eq!(made[digest].as_str().unwrap().len(), 64);
    let taken = json!({ "code": 5, "fields": { digest: made[digest] } });
    admin.check("POST /ca_certificates", body, 409, taken).await;
    let path = format!("/ca_certificates/{}", id(&made));
    let wrong = json!({ digest: "00" });
    let answer = admin
        .check(&format!("PATCH {path}"), wrong, 400, json!({ "code": 2 }))
        .await;
    assert!(
        answer["fields"][digest]
            .as_str()
            .unwrap()
            .contains("leave it out")
    );
    let other = admin
        .check(
            &format!("PATCH {path}"),
            json!({ "cert": pem("ca2.crt") }),
            200,
            json!({}),
        )
        .await;
    assert_ne!(other[digest], made[digest]);
    let expired = json!({ "fields": { "cert": "certificate expired, \"Not After\" time is in the past" } });
    admin
        .check(
            "POST /ca_certificates",
            json!({ "cert": pem("ca-expired.crt") }),
            400,
            expired,
        )
        .await;
    for call in ["GET", "PATCH", "PUT"] {
        admin
            .check(
                &format!("{call} /ca_certificates/name"),
                json!({}),
                400,
                json!({ "code": 1 }),
            )
            .await;
    }

    let service = json!({ "host": "a", "protocol": "https", "ca_certificates": [id(&made), ABSENT] });
    let message = format!(
        "the foreign key '{{id=\"{ABSENT}\"}}' does not reference an existing 'ca_certificates' entity."
    );
    let expected = json!({
        "code": 4, "message": message, "fields": { "ca_certificates": [null, ABSENT] },
        "violations": [{ "pointer": "/ca_certificates/1" }],
    });
    admin.check("POST /services", service, 400, expected).await;
    let upper = json!({ "host": "a", "protocol": "https", "ca_certificates": [id(&made).to_uppercase()] });
    admin
        .check(
            "POST /services",
            upper,
            201,
            json!({ "ca_certificates": [id(&made)] }),
        )
        .await;
}
