//! Requests and answers on their way: response-rewrite, request-id, proxy-buffering, proxy-control.

use gw_core::Document;
use serde_json::{Value, json};

use super::{Made, Scope};
use crate::declarative::apisix::conf::Conf;

pub(super) fn request_id(conf: &mut Conf<'_, '_>) -> Made {
    conf.copy_or("header_name", "X-Request-Id");
    let echo = conf.take_flag("include_in_response").unwrap_or(true);
    conf.set_from("echo_downstream", echo, "include_in_response");
    conf.set("generator", "uuid");
    if conf.get("algorithm").is_some_and(|algorithm| algorithm != "uuid") {
        conf.adapted("algorithm", "ids are UUIDs", "");
    }
    conf.skip(&["algorithm", "range_id", "nanoid"]);
    Made::As("correlation-id")
}

pub(super) fn proxy_buffering(conf: &mut Conf<'_, '_>) -> Made {
    let off = conf.take_flag("disable_proxy_buffering").unwrap_or(false);
    of_route(conf, "response_buffering", !off, "disable_proxy_buffering")
}

pub(super) fn proxy_control(conf: &mut Conf<'_, '_>) -> Made {
    let on = conf.take_flag("request_buffering").unwrap_or(true);
    of_route(conf, "request_buffering", on, "request_buffering")
}

/// A setting that is the route's here.
fn of_route(conf: &mut Conf<'_, '_>, field: &'static str, value: bool, from: &str) -> Made {
    let at = conf.at(from);
    if conf.scope == Scope::Route {
        conf.of_route.push((field, Value::Bool(value), at));
        return Made::Gone;
    }
    let what = "buffering is a matter of routes alone";
    conf.mapping.ledger.unsupported(at, what, "give it to the routes");
    Made::Unfit
}

/// What answers get; only headers.
pub(super) fn response_rewrite(conf: &mut Conf<'_, '_>) -> Made {
    let body = ["body", "filters", "status_code"];
    let changed: Vec<&str> = body
        .into_iter()
        .filter(|field| conf.get(field).is_some())
        .collect();
    if !changed.is_empty() && conf.get("headers").is_none() {
        for field in changed {
            let at = conf.at(field);
            let what = "status and body of answers are not replaced";
            let remedy = "answer by `mocking` instead of asking the upstream, or have the upstream answer so";
            conf.mapping.ledger.unsupported(at, what, remedy);
        }
        return Made::Unfit;
    }
    conf.lacking(
        &body,
        "status and body of answers are not replaced: only the headers are",
        "have the upstream answer so",
    );
    conf.skip(&["body_base64"]);
    if let Some(vars) = conf.take("vars")
        && vars.as_array().is_some_and(|vars| !vars.is_empty())
        && !conf.only_for(vars)
    {
        let at = conf.at("vars");
        let what = "it cannot hang on what is known only with the answer";
        conf.mapping
            .ledger
            .unsupported(at, what, "say it by what is known of the request");
        return Made::Unfit;
    }
    let Some(headers) = conf.take_record("headers") else {
        return Made::Gone;
    };
    set_headers(conf, headers);
    Made::As("response-transformer")
}

fn set_headers(conf: &mut Conf<'_, '_>, mut headers: Document) {
    let is_new = headers.get("add").is_some_and(Value::is_array)
        || headers.get("set").is_some_and(Value::is_object)
        || headers.get("remove").is_some_and(Value::is_array);
    let set = if is_new {
        match headers.remove("set") {
            Some(Value::Object(set)) => set,
            _ => Document::new(),
        }
    } else {
        std::mem::take(&mut headers)
    };
    let mut variables = false;
    let pairs: Vec<String> = set
        .iter()
        .map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            variables |= value.contains('$');
            format!("{name}:{value}")
        })
        .collect();
    if !pairs.is_empty() {
        // What is there is replaced, what is not there is added.
        conf.set_from("replace", json!({ "headers": pairs }), "headers/set");
        conf.set_from("add", json!({ "headers": pairs }), "headers/set");
    }
    if let Some(Value::Array(added)) = headers.remove("add") {
        let texts = added.iter().filter_map(Value::as_str);
        let pairs: Vec<String> = texts
            .filter_map(|pair| {
                let (name, value) = pair.split_once(':')?;
                variables |= value.contains('$');
                Some(format!("{}:{}", name.trim(), value.trim()))
            })
            .collect();
        conf.set_from("append", json!({ "headers": pairs }), "headers/add");
    }
    if let Some(removed @ Value::Array(_)) = headers.remove("remove") {
        conf.set_from("remove", json!({ "headers": removed }), "headers/remove");
    }
    if variables {
        let at = conf.at("headers");
        let what = "variables in headers of answers are not filled in: `$…` is sent as it is";
        conf.mapping.ledger.unsupported(at, what, "");
    }
}
