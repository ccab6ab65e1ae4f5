//! Who calls: key-auth, basic-auth, jwt-auth, hmac-auth for routes.

use serde_json::{Value, json};

use super::Made;
use crate::declarative::apisix::conf::Conf;

/// What all of them have.
fn shared(conf: &mut Conf<'_, '_>, realm: &str) {
    conf.copy(&["hide_credentials"]);
    conf.rename("anonymous_consumer", "anonymous");
    conf.copy_or("realm", realm);
}

pub(super) fn key_auth(conf: &mut Conf<'_, '_>) -> Made {
    shared(conf, "key");
    let header = conf.take_text("header").unwrap_or_else(|| "apikey".to_owned());
    let query = conf.take_text("query").unwrap_or_else(|| "apikey".to_owned());
    let names = if header == query {
        json!([header])
    } else {
        json!([header, query])
    };
    if header != query {
        let what = "either name is looked for in the headers, then in the query";
        conf.remark(what, "");
    }
    let from = if header == "apikey" { "query" } else { "header" };
    conf.set_from("key_names", names, from);
    Made::As("key-auth")
}

pub(super) fn basic_auth(conf: &mut Conf<'_, '_>) -> Made {
    shared(conf, "basic");
    Made::As("basic-auth")
}

pub(super) fn jwt_auth(conf: &mut Conf<'_, '_>) -> Made {
    conf.rename("anonymous_consumer", "anonymous");
    conf.copy_or("realm", "jwt");
    let named = |conf: &mut Conf<'_, '_>, from: &str, to: &str, default: &str| {
        let name = conf.take_text(from).unwrap_or_else(|| default.to_owned());
        conf.set_from(to, json!([name]), from);
    };
    named(conf, "header", "header_names", "authorization");
    named(conf, "query", "uri_param_names", "jwt");
    named(conf, "cookie", "cookie_names", "jwt");
    let claim = conf
        .take_text("key_claim_name")
        .unwrap_or_else(|| "key".to_owned());
    conf.set_from("key_claim_name", claim, "key_claim_name");
    let claims = conf.take_list("claims_to_verify");
    let claims = claims.unwrap_or_else(|| vec![Value::from("exp")]);
    conf.set_from("claims_to_verify", claims, "claims_to_verify");
    let what = "a token must have the claims that are verified, `exp` unless `claims_to_verify` says otherwise; APISIX passes over \
                a claim that is not there";
    conf.remark(what, "have tokens issued with `exp`");
    conf.lacking(
        &["hide_credentials"],
        "the token goes on to the upstream",
        "take it off by `request-transformer`",
    );
    conf.skip(&["store_in_ctx"]);
    Made::As("jwt")
}

pub(super) fn hmac_auth(conf: &mut Conf<'_, '_>) -> Made {
    shared(conf, "hmac");
    conf.copy(&["clock_skew", "validate_request_body"]);
    conf.rename("signed_headers", "enforce_headers");
    conf.rename("allowed_algorithms", "algorithms");
    conf.skip(&["max_req_body", "max_req_body_size"]);
    let what = "clients sign as for Kong: `Authorization: hmac username=\"…\", algorithm=\"…\", headers=\"…\", signature=\"…\"`";
    conf.remark(what, "change how clients sign (docs/plugins.md)");
    Made::As("hmac-auth")
}
