//! How the health of an upstream's targets is judged: by the requests they answer, and by probes.

use std::fmt::Display;
use std::time::Duration;

use gw_balancer::health::{Counters, StatusSet, Threshold};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use crate::fields::{Fields, whole};

/// How the health of an upstream's targets is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Healthchecks {
    /// How much of the weight must be available.
    pub threshold: Threshold,
    /// What ordinary requests count.
    pub passive: Counters,
    /// How targets are probed, and what that counts.
    pub active: Active,
}

/// How targets are probed, and what that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Active {
    /// How often those are probed that are in; none = not at all.
    pub healthy_interval: Option<Duration>,
    /// How often those are probed that are out; none = not at all.
    pub unhealthy_interval: Option<Duration>,
    /// How long each step of a probe may take.
    pub timeout: Duration,
    /// How many targets are probed at once.
    pub concurrency: u32,
    /// What is sent.
    pub probe: Probe,
    /// What becomes of it.
    pub limits: Counters,
}

/// What is sent to a target to see how it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// In which protocol.
    pub kind: ProbeKind,
    /// What is asked for over HTTP.
    pub path: PathAndQuery,
    /// Headers of the request, over HTTP and gRPC.
    pub headers: HeaderMap,
    /// The name that is asked for in TLS; none = the one of the `Host` header.
    pub server_name: Option<Box<str>>,
    /// Whether the certificate must be one that is trusted, and for that name.
    pub verify: bool,
    /// The service that is asked for over gRPC; empty = the server as a whole.
    pub service: Box<str>,
}

/// In which protocol a target is probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum ProbeKind {
    Tcp,
    Http,
    Https,
    Grpc,
    Grpcs,
}

impl Healthchecks {
    /// Reads the field of this name; what is wrong beyond the schema is refused at its place.
    pub(crate) fn read(fields: &mut Fields<'_>, field: &str) -> Option<Self> {
        let (parsed, wrong) = Self::parse(fields.value(field)?);
        for (pointer, why) in wrong {
            fields.refuse(format!("/{field}/active{pointer}"), why);
        }
        parsed
    }

    fn parse(document: &Value) -> (Option<Self>, Vec<(String, String)>) {
        let mut wrong = Vec::new();
        let parsed = (|| {
            Some(Self {
                threshold: Threshold::percent(document.get("threshold")?.as_f64()?),
                passive: limits(document.get("passive")?)?,
                active: Active::parse(document.get("active")?, &mut wrong)?,
            })
        })();
        (parsed, wrong)
    }

    /// Whether Kong checks anything with these: if not, it says of every target that its health checks are off.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.active.is_in_use() || self.passive.is_in_use()
    }
}

impl Active {
    /// Whether any target is ever probed.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.healthy_interval.is_some() || self.unhealthy_interval.is_some()
    }

    fn parse(document: &Value, wrong: &mut Vec<(String, String)>) -> Option<Self> {
        let interval = |state: &str| seconds(document.get(state)?.get("interval")?);
        let probe = Probe::parse(document, wrong); // first, so that its violations are found whatever else is wrong
        Some(Self {
            healthy_interval: nonzero(interval("healthy")?),
            unhealthy_interval: nonzero(interval("unhealthy")?),
            timeout: seconds(document.get("timeout")?)?,
            concurrency: whole(document.get("concurrency")?)?,
            probe: probe?,
            limits: limits(document)?,
        })
    }
}

impl Probe {
    fn parse(document: &Value, wrong: &mut Vec<(String, String)>) -> Option<Self> {
        let text = |field: &str| document.get(field).and_then(Value::as_str);
        let headers = headers(document.get("headers")?, wrong);
        // Without a slash in front it is the schema's pattern that says so.
        let path = text("http_path").filter(|path| path.starts_with('/'))?.parse();
        let path = path.map_err(|error| refuse(wrong, "/http_path".to_owned(), error));
        Some(Self {
            kind: ProbeKind::named(text("type")?)?,
            path: path.ok()?,
            headers: headers?,
            server_name: text("https_sni").map(Box::from),
            verify: document.get("https_verify_certificate")?.as_bool()?,
            service: text("grpc_service").unwrap_or_default().into(),
        })
    }
}

impl ProbeKind {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "tcp" => Self::Tcp,
            "http" => Self::Http,
            "https" => Self::Https,
            "grpc" => Self::Grpc,
            "grpcs" => Self::Grpcs,
            _ => return None,
        })
    }

    /// Whether it is spoken over TLS.
    #[must_use]
    pub fn is_tls(self) -> bool {
        matches!(self, Self::Https | Self::Grpcs)
    }
}

/// The headers of a probe: null, or lists of values by name.
fn headers(document: &Value, wrong: &mut Vec<(String, String)>) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    let (mut sound, all) = (true, document.as_object());
    for (name, values) in all.into_iter().flatten() {
        let place = format!("/headers/{}", name.replace('~', "~0").replace('/', "~1"));
        let Ok(known) = name.parse::<HeaderName>() else {
            refuse(wrong, place, "bad header name");
            sound = false;
            continue;
        };
        for (position, value) in values.as_array()?.iter().enumerate() {
            match value.as_str()?.parse::<HeaderValue>() {
                Ok(value) => {
                    headers.append(known.clone(), value);
                }
                Err(error) => {
                    refuse(wrong, format!("{place}/{position}"), error);
                    sound = false;
                }
            }
        }
    }
    sound.then_some(headers)
}

fn refuse(wrong: &mut Vec<(String, String)>, pointer: String, why: impl Display) {
    wrong.push((pointer, why.to_string()));
}

/// Kong's limits, which active and passive checks have both.
fn limits(document: &Value) -> Option<Counters> {
    let (healthy, unhealthy) = (document.get("healthy")?, document.get("unhealthy")?);
    Some(Counters {
        statuses: document.get("type")?.as_str()? != "tcp",
        successes: counter(healthy, "successes")?,
        healthy: statuses(healthy)?,
        tcp_failures: counter(unhealthy, "tcp_failures")?,
        timeouts: counter(unhealthy, "timeouts")?,
        http_failures: counter(unhealthy, "http_failures")?,
        unhealthy: statuses(unhealthy)?,
    })
}

fn counter(document: &Value, field: &str) -> Option<u8> {
    whole(document.get(field)?)
}

fn statuses(document: &Value) -> Option<StatusSet> {
    let list = document.get("http_statuses")?.as_array()?;
    list.iter().map(whole).collect()
}

/// Seconds, whole or with a fraction.
fn seconds(value: &Value) -> Option<Duration> {
    Duration::try_from_secs_f64(value.as_f64()?).ok()
}

fn nonzero(interval: Duration) -> Option<Duration> {
    Some(interval).filter(|interval| !interval.is_zero())
}

#[cfg(test)]
mod tests {
    use gw_balancer::health::StatusSet;
    use serde_json::json;

    use super::*;

    fn parse(change: impl FnOnce(&mut Value)) -> (Option<Healthchecks>, Vec<(String, String)>) {
        let mut document = json!({
            "threshold": 12.5,
            "active": {
                "type": "https",
                "timeout": 1.5,
                "concurrency": 10,
                "http_path": "/health?deep=1",
                "https_sni": "app.test",
                "https_verify_certificate": true,
                "headers": { "x-probe": ["a", "b"] },
                "grpc_service": null,
                "healthy": { "interval": 0.25, "successes": 1, "http_statuses": [200] },
                "unhealthy": {
                    "interval": 0, "tcp_failures": 2, "timeouts": 3, "http_failures": 4, "http_statuses": [500, 503],
                },
            },
            "passive": {
                "type": "http",
                "healthy": { "successes": 3, "http_statuses": [200, 302] },
                "unhealthy": { "tcp_failures": 1, "timeouts": 2, "http_failures": 255, "http_statuses": [500] },
            },
        });
        change(&mut document);
        Healthchecks::parse(&document)
    }

    fn expected() -> Healthchecks {
        let mut headers = HeaderMap::new();
        headers.append("x-probe", HeaderValue::from_static("a"));
        headers.append("x-probe", HeaderValue::from_static("b"));
        Healthchecks {
            threshold: Threshold::percent(12.5),
            passive: Counters {
                statuses: true,
                successes: 3,
                healthy: StatusSet::from_iter([200, 302]),
                tcp_failures: 1,
                timeouts: 2,
                http_failures: 255,
                unhealthy: StatusSet::from_iter([500]),
            },
            active: Active {
                healthy_interval: Some(Duration::from_millis(250)),
                unhealthy_interval: None,
                timeout: Duration::from_millis(1500),
                concurrency: 10,
                probe: Probe {
                    kind: ProbeKind::Https,
                    path: PathAndQuery::from_static("/health?deep=1"),
                    headers,
                    server_name: Some("app.test".into()),
                    verify: true,
                    service: "".into(),
                },
                limits: Counters {
                    statuses: true,
                    successes: 1,
                    healthy: StatusSet::from_iter([200]),
                    tcp_failures: 2,
                    timeouts: 3,
                    http_failures: 4,
                    unhealthy: StatusSet::from_iter([500, 503]),
                },
            },
        }
    }

    #[test]
    fn every_field_is_read() {
        assert_eq!(parse(|_| {}), (Some(expected()), vec![]));
        let with = |change: fn(&mut Healthchecks)| {
            let mut expected = expected();
            change(&mut expected);
            Some(expected)
        };
        for (pointer, value, changed) in [
            ("/passive/healthy/successes", json!(3.0), with(|_| {})),
            ("/passive/healthy/successes", json!(256), None),
            ("/passive/healthy/successes", json!(-1), None),
            ("/passive/unhealthy/http_statuses", json!(["500"]), None),
            (
                "/passive/type",
                json!("tcp"),
                with(|checks| checks.passive.statuses = false),
            ),
            ("/active/unhealthy/interval", json!(-0.1), None),
            (
                "/active/unhealthy/interval",
                json!(0.1),
                with(|checks| checks.active.unhealthy_interval = Some(Duration::from_millis(100))),
            ),
            (
                "/active/healthy/interval",
                json!(0),
                with(|checks| checks.active.healthy_interval = None),
            ),
            (
                "/active/concurrency",
                json!(2_147_483_648.0),
                with(|checks| checks.active.concurrency = 1 << 31),
            ),
            (
                "/active/timeout",
                json!(0),
                with(|checks| checks.active.timeout = Duration::ZERO),
            ),
            (
                "/active/https_sni",
                json!(null),
                with(|checks| checks.active.probe.server_name = None),
            ),
            (
                "/active/https_verify_certificate",
                json!(false),
                with(|checks| checks.active.probe.verify = false),
            ),
            (
                "/active/headers",
                json!(null),
                with(|checks| checks.active.probe.headers = HeaderMap::new()),
            ),
            (
                "/active/grpc_service",
                json!("a.B"),
                with(|checks| checks.active.probe.service = "a.B".into()),
            ),
            (
                "/active/type",
                json!("tcp"),
                with(|checks| {
                    checks.active.probe.kind = ProbeKind::Tcp;
                    checks.active.limits.statuses = false;
                }),
            ),
            (
                "/active/type",
                json!("grpcs"),
                with(|checks| checks.active.probe.kind = ProbeKind::Grpcs),
            ),
            ("/active/type", json!("udp"), None),
        ] {
            let (read, wrong) = parse(|document| *document.pointer_mut(pointer).unwrap() = value.clone());
            assert_eq!((read, wrong), (changed, vec![]), "{pointer} {value}");
        }
    }

    #[test]
    fn what_cannot_be_sent_is_refused_at_its_place() {
        let (read, wrong) = parse(|document| {
            document["active"]["http_path"] = "/a b".into();
            document["active"]["headers"] =
                json!({ "x-good": ["a"], "a b/c": ["1"], "x-bad": ["fine", "a\r\nhost: b"] });
        });
        let places: Vec<_> = wrong.iter().map(|(pointer, _)| &**pointer).collect();
        assert_eq!(
            (read, places),
            (None, vec!["/headers/a b~1c", "/headers/x-bad/1", "/http_path"])
        );
    }

    #[test]
    fn kong_checks_something_if_a_failure_counts_or_a_probe_is_sent() {
        let in_use = |tcp: u8, interval: f64| {
            let (checks, _) = parse(|document| {
                document["passive"]["unhealthy"] =
                    json!({ "tcp_failures": tcp, "timeouts": 0, "http_failures": 0, "http_statuses": [] });
                document["active"]["healthy"]["interval"] = interval.into();
            });
            checks.unwrap().is_in_use()
        };
        assert!(in_use(1, 0.0) && in_use(0, 0.5) && !in_use(0, 0.0));
    }
}
