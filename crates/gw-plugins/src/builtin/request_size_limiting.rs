//! `request-size-limiting`: refuses requests whose body is too large, before it is read where its length is told.

use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderMap, StatusCode};

use crate::cx::RequestCx;
use crate::env::BuildEnv;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::{Flow, Reply};

pub(crate) struct RequestSizeLimiting {
    most: u64,
    require_length: bool,
}

#[derive(Debug, serde::Deserialize)]
pub(crate) struct Config {
    allowed_payload_size: u64,
    size_unit: SizeUnit,
    require_content_length: bool,
}

#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum SizeUnit {
    Megabytes,
    Kilobytes,
    Bytes,
}

impl Definition for RequestSizeLimiting {
    const NAME: &'static str = "request-size-limiting";
    const PRIORITY: i32 = 951;
    const PHASES: Phases = Phases::of(&[Phase::Access]);
    const SCHEMA: &'static str = include_str!("request_size_limiting.json");

    type Config = Config;

    fn build(config: Config, _env: &BuildEnv) -> Result<Self, BuildError> {
        let unit = match config.size_unit {
            SizeUnit::Megabytes => 1 << 20,
            SizeUnit::Kilobytes => 1 << 10,
            SizeUnit::Bytes => 1,
        };
        Ok(Self {
            most: config.allowed_payload_size.saturating_mul(unit),
            require_length: config.require_content_length,
        })
    }
}

impl Plugin for RequestSizeLimiting {
    type State = ();

    fn access(&self, cx: &mut RequestCx<'_>) -> Flow {
        match length(cx.headers()) {
            Some(length) if length > self.most => self.refuse(cx.headers()),
            Some(_) => Flow::Continue,
            None if self.require_length => {
                let message = "A valid Content-Length header is required";
                Reply::message(StatusCode::LENGTH_REQUIRED, message).into()
            }
            None => {
                // What another plugin has had read is known already; the rest is measured while it is read.
                if cx.body().is_some_and(|body| body.len() as u64 > self.most) {
                    return self.refuse(cx.headers());
                }
                cx.limit_body(self.most);
                Flow::Continue
            }
        }
    }
}

impl RequestSizeLimiting {
    fn refuse(&self, headers: &HeaderMap) -> Flow {
        let waits = headers.get(EXPECT).is_some_and(|value| {
            value
                .as_bytes()
                .trim_ascii()
                .eq_ignore_ascii_case(b"100-continue")
        });
        let status = match waits {
            true => StatusCode::EXPECTATION_FAILED,
            false => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Reply::message(status, "Request size limit exceeded").into()
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::{Value, json};

    use super::*;
    use crate::kit::{Kit, Ran};

    fn run(settings: Value, headers: &[(&str, &str)]) -> Ran {
        let mut request = Request::post("/");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        Kit::new::<RequestSizeLimiting>(settings).access(request.body("").unwrap())
    }

    #[test]
    fn a_length_that_is_told_is_checked_at_once() {
        let exceeded = "Request size limit exceeded";
        for (settings, length, status) in [
            (json!({}), "134217728", None),
            (json!({}), "134217729", Some(413)),
            (json!({ "allowed_payload_size": 2 }), "2097153", Some(413)),
            (
                json!({ "allowed_payload_size": 3, "size_unit": "kilobytes" }),
                "3072",
                None,
            ),
            (
                json!({ "allowed_payload_size": 3, "size_unit": "kilobytes" }),
                "3073",
                Some(413),
            ),
            (
                json!({ "allowed_payload_size": 3, "size_unit": "bytes" }),
                "4",
                Some(413),
            ),
            (
                json!({ "allowed_payload_size": 0, "size_unit": "bytes" }),
                "0",
                None,
            ),
        ] {
            let ran = run(settings.clone(), &[("content-length", length)]);
            let answer = ran
                .reply
                .map(|reply| (reply.status.as_u16(), reply.text().map(str::to_owned)));
            assert_eq!(
                answer,
                status.map(|status| (status, Some(exceeded.to_owned()))),
                "{settings} {length}"
            );
            assert_eq!(ran.steering.most_body, None);
        }
    }

    #[test]
    fn who_asks_before_sending_is_told_otherwise() {
        let settings = json!({ "allowed_payload_size": 1, "size_unit": "bytes" });
        let ran = run(settings, &[("content-length", "2"), ("expect", " 100-Continue ")]);
        assert_eq!(ran.reply.unwrap().status, 417);
    }

    #[test]
    fn other_bodies_are_measured_while_they_are_read() {
        let ran = run(json!({ "allowed_payload_size": 5, "size_unit": "bytes" }), &[]);
        assert!(ran.reply.is_none());
        assert_eq!(ran.steering.most_body, Some(5));
    }

    #[test]
    fn a_length_can_be_required() {
        for headers in [
            &[][..],
            &[("content-length", "many")],
            &[("transfer-encoding", "chunked")],
        ] {
            let reply = run(json!({ "require_content_length": true }), headers)
                .reply
                .unwrap();
            assert_eq!(
                (reply.status.as_u16(), reply.text()),
                (411, Some("A valid Content-Length header is required"))
            );
        }
        assert!(
            run(
                json!({ "require_content_length": true }),
                &[("content-length", "0")]
            )
            .reply
            .is_none()
        );
    }
}
