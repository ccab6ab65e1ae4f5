//! Credentials of consumers: APISIX's, as Kong's.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gw_schema::ViolationKind;
use serde_json::Value;

use super::conf::Conf;

type Read = fn(&mut Conf<'_, '_>);

/// The list that the credentials of a plugin stand in, and how to read one.
pub(super) fn of(plugin: &str) -> Option<(&'static str, Read)> {
    Some(match plugin {
        "key-auth" => ("keyauth_credentials", key),
        "basic-auth" => ("basicauth_credentials", basic),
        "jwt-auth" => ("jwt_secrets", jwt),
        "hmac-auth" => ("hmacauth_credentials", hmac),
        _ => return None,
    })
}

fn key(conf: &mut Conf<'_, '_>) {
    conf.copy(&["key"]);
    required(conf, &["key"]);
}

fn basic(conf: &mut Conf<'_, '_>) {
    conf.copy(&["username", "password"]);
    required(conf, &["username", "password"]);
}

fn jwt(conf: &mut Conf<'_, '_>) {
    conf.copy(&["key"]);
    conf.copy_or("algorithm", "HS256");
    conf.rename("public_key", "rsa_public_key");
    let is_base64 = conf.take_flag("base64_secret") == Some(true);
    if let Some(secret) = conf.take_text("secret") {
        let decoded = STANDARD
            .decode(&secret)
            .ok()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        match (is_base64, decoded) {
            (false, _) => conf.set_from("secret", secret, "secret"),
            (true, Some(decoded)) => conf.set_from("secret", decoded, "secret"),
            (true, None) => {
                let at = conf.at("secret");
                let message = "the secret is not Base64 of a text";
                let hint = "give the consumer a secret that is a text";
                conf.mapping
                    .ledger
                    .fault_with(at, message, ViolationKind::Format, hint);
            }
        }
    }
    // They are for making tokens, which is done elsewhere.
    conf.skip(&["private_key", "exp"]);
    if conf
        .take("lifetime_grace_period")
        .is_some_and(|seconds| seconds != 0)
    {
        let at = conf.at("lifetime_grace_period");
        let what = "a token that has run out is refused at once";
        conf.mapping.ledger.unsupported(at, what, "keep clocks in step");
    }
    required(conf, &["key"]);
}

fn hmac(conf: &mut Conf<'_, '_>) {
    let name = if conf.get("key_id").is_some() {
        "key_id"
    } else {
        "access_key"
    };
    conf.rename(name, "username");
    conf.rename("secret_key", "secret");
    let what = "it is said by the plugin of the route";
    conf.lacking(
        &[
            "algorithm",
            "clock_skew",
            "signed_headers",
            "keep_headers",
            "encode_uri_params",
        ],
        what,
        "",
    );
    required(conf, &["username", "secret"]);
}

fn required(conf: &mut Conf<'_, '_>, fields: &[&str]) {
    for field in fields {
        if conf.has_set(field) {
            continue;
        }
        let from = match *field {
            "username" if conf.name == "hmac-auth" => "key_id",
            "secret" if conf.name == "hmac-auth" => "secret_key",
            field => field,
        };
        let at = conf.at(from);
        conf.mapping
            .ledger
            .fault(at, "required field missing", ViolationKind::Required);
    }
}

impl Conf<'_, '_> {
    fn has_set(&self, field: &str) -> bool {
        self.made(field).is_some_and(|value: &Value| !value.is_null())
    }
}
