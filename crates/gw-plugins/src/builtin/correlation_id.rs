//! `correlation-id`: gives each request an id by which it can be followed through logs.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use bytes::{BufMut, BytesMut};
use http::header::{HeaderName, HeaderValue};
use uuid::Uuid;

use crate::cx::{Facts, RequestCx, ResponseCx};
use crate::env::{BuildEnv, Lender};
use crate::limits::number;
use crate::phase::{Phase, Phases};
use crate::plugin::{BuildError, Definition, Plugin};
use crate::reply::Flow;

/// How long ids may be without their memory being moved.
const LONGEST: usize = 128;

/// Memory that is taken at once for ids.
const BLOCK: usize = 4096;

pub(crate) struct CorrelationId {
    header: HeaderName,
    generator: Generator,
    echo: bool,
    series: Arc<Series>,
    lender: Arc<dyn Lender>,
}

#[derive(serde::Deserialize)]
pub(crate) struct Config {
    header_name: Box<str>,
    generator: Generator,
    echo_downstream: bool,
}

#[derive(Clone, Copy, serde::Deserialize)]
enum Generator {
    #[serde(rename = "uuid")]
    Uuid,
    #[serde(rename = "uuid#counter")]
    Counter,
    #[serde(rename = "tracker")]
    Tracker,
}

/// The numbers that ids are made of: they go on when settings change.
struct Series([Numbers; 64]);

/// One worker's, in cache lines of its own.
#[repr(align(128))]
struct Numbers {
    /// A UUID, as text.
    name: [u8; 36],
    next: AtomicU64,
    /// Memory for many ids. Other threads that have the worker's number may be at it too.
    block: Mutex<BytesMut>,
}

impl Default for Series {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            let mut name = [0; 36];
            Uuid::new_v4().hyphenated().encode_lower(&mut name);
            Numbers {
                name,
                next: AtomicU64::new(1),
                block: Mutex::default(),
            }
        }))
    }
}

impl Series {
    fn of(&self, worker: usize) -> &Numbers {
        let Self(numbers) = self;
        &numbers[worker % numbers.len()]
    }
}

impl Numbers {
    fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }
}

impl Definition for CorrelationId {
    const NAME: &'static str = "correlation-id";
    const PRIORITY: i32 = 100_001;
    const PHASES: Phases = Phases::of(&[Phase::Access, Phase::HeaderFilter]);
    const SCHEMA: &'static str = include_str!("correlation_id.json");

    type Config = Config;

    fn build(config: Config, env: &BuildEnv) -> Result<Self, BuildError> {
        let header =
            HeaderName::from_bytes(config.header_name.as_bytes()).map_err(|_| BuildError::Setting {
                pointer: "/header_name".into(),
                message: "cannot name a header; use letters, digits, '-' and '_'".into(),
            })?;
        Ok(Self {
            header,
            generator: config.generator,
            echo: config.echo_downstream,
            series: env.shared().get(),
            lender: Arc::clone(env.lender()),
        })
    }
}

impl Plugin for CorrelationId {
    /// The request's id, if it is to be told.
    type State = Option<HeaderValue>;

    fn access(&self, cx: &mut RequestCx<'_, Self::State>) -> Flow {
        let sent = cx
            .headers()
            .get(&self.header)
            .filter(|id| !id.is_empty())
            .cloned();
        let id = match sent {
            Some(id) => id,
            None => {
                let id = self.generate(cx.facts());
                cx.headers_mut().insert(&self.header, id.clone());
                id
            }
        };
        if self.echo {
            *cx.state = Some(id);
        }
        Flow::Continue
    }

    fn header_filter(&self, cx: &mut ResponseCx<'_, Self::State>) {
        if !self.echo {
            return;
        }
        // Somebody else answered before the request came here.
        let id = cx.state.take().unwrap_or_else(|| self.generate(cx.facts()));
        cx.headers_mut().insert(&self.header, id);
    }
}

impl CorrelationId {
    /// A new id, out of one allocation for many.
    fn generate(&self, facts: &Facts<'_>) -> HeaderValue {
        let numbers = self.series.of(facts.worker);
        let mut block = numbers.block.lock().unwrap_or_else(PoisonError::into_inner);
        let text = &mut *block;
        if text.capacity() < LONGEST {
            *text = BytesMut::with_capacity(BLOCK);
        }
        match self.generator {
            Generator::Uuid => {
                let id = uuid::Builder::from_random_bytes(self.lender.random().to_ne_bytes()).into_uuid();
                text.put_slice(id.hyphenated().encode_lower(&mut [0; 36]).as_bytes());
            }
            Generator::Counter => {
                text.put_slice(&numbers.name);
                text.put_u8(b'#');
                number::write(numbers.next(), text);
            }
            Generator::Tracker => {
                let (ip, port) = (facts.server.ip(), facts.server.port());
                let time = facts.now.duration_since(UNIX_EPOCH).unwrap_or_default();
                let (seconds, millis) = (time.as_secs(), time.subsec_millis());
                let (process, worker, number) = (std::process::id(), facts.worker, numbers.next());
                let id = format_args!("{ip}-{port}-{process}-{worker}-{number}-{seconds}.{millis:03}");
                text.writer().write_fmt(id).expect("memory takes all");
            }
        }
        HeaderValue::from_maybe_shared(text.split().freeze()).expect("visible ASCII")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::time::{Duration, UNIX_EPOCH};

    use bytes::Bytes;
    use http::{Request, Response};
    use serde_json::{Value, json};

    use super::*;
    use crate::kit::{Kit, Ran};
    use crate::registry::Registry;

    fn kit(settings: Value) -> Kit {
        Kit::new::<CorrelationId>(settings)
    }

    fn send(kit: &Kit, headers: &[(&str, &str)]) -> Ran {
        let request = headers.iter().fold(Request::get("/"), |request, (name, value)| {
            request.header(*name, *value)
        });
        kit.access(request.body(Bytes::new()).unwrap())
    }

    fn id(ran: &Ran, name: &str) -> String {
        ran.head.headers[name].to_str().unwrap().to_owned()
    }

    #[test]
    fn ids_have_kongs_forms() {
        let uuid = id(
            &send(&kit(json!({ "generator": "uuid" })), &[]),
            "kong-request-id",
        );
        assert_eq!(uuid.parse::<Uuid>().unwrap().get_version_num(), 4);

        let counter = kit(json!({}));
        let (first, second) = (
            id(&send(&counter, &[]), "kong-request-id"),
            id(&send(&counter, &[]), "kong-request-id"),
        );
        let part = |id: &str| {
            id.split_once('#')
                .map(|(name, number)| (name.parse::<Uuid>().unwrap(), number.to_owned()))
        };
        assert_eq!(part(&first).unwrap().0, part(&second).unwrap().0);
        assert_eq!(
            (
                part(&first).unwrap().1.as_str(),
                part(&second).unwrap().1.as_str()
            ),
            ("1", "2")
        );

        let mut tracker = kit(json!({ "generator": "tracker", "header_name": "X-Trace" }));
        tracker.now = Some(UNIX_EPOCH + Duration::from_millis(1_700_000_000_042));
        let expected = format!("127.0.0.1-8000-{}-0-1-1700000000.042", std::process::id());
        assert_eq!(id(&send(&tracker, &[]), "x-trace"), expected);
    }

    #[test]
    fn what_the_client_sent_stays() {
        let kit = kit(json!({ "header_name": "X-Request-ID", "echo_downstream": true }));
        let mut ran = send(&kit, &[("x-request-id", "mine")]);
        assert_eq!(id(&ran, "x-request-id"), "mine");
        let mut head = Response::builder()
            .header("x-request-id", "theirs")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        kit.header_filter(&mut ran, &mut head);
        assert_eq!(head.headers["x-request-id"], "mine");
        let ran = send(&kit, &[("x-request-id", "")]);
        assert!(id(&ran, "x-request-id").contains('#'), "an empty one is none");
    }

    #[test]
    fn the_client_is_told_if_it_is_to_be() {
        for (echo, expected) in [(true, true), (false, false)] {
            let kit = kit(json!({ "echo_downstream": echo }));
            let mut ran = send(&kit, &[]);
            let mut head = Response::new(()).into_parts().0;
            kit.header_filter(&mut ran, &mut head);
            let told = head
                .headers
                .get("kong-request-id")
                .map(|told| told == ran.head.headers["kong-request-id"]);
            assert_eq!(told, expected.then_some(true));
            // Another plugin answered before: there is an id all the same.
            let mut head = Response::new(()).into_parts().0;
            kit.header_filter(&mut ran, &mut head);
            assert_eq!(head.headers.contains_key("kong-request-id"), expected);
        }
    }

    #[test]
    fn ids_differ_whoever_makes_them() {
        let registry = Registry::new().with::<CorrelationId>();
        for generator in ["uuid", "uuid#counter", "tracker"] {
            let kits =
                [(); 2].map(|()| Kit::of(&registry, "correlation-id", json!({ "generator": generator })));
            let ids: HashSet<_> = std::thread::scope(|scope| {
                let make = |kit| {
                    (0..500)
                        .map(|_| id(&send(kit, &[]), "kong-request-id"))
                        .collect::<Vec<_>>()
                };
                let makers: Vec<_> = kits
                    .iter()
                    .cycle()
                    .take(4)
                    .map(|kit| scope.spawn(move || make(kit)))
                    .collect();
                makers
                    .into_iter()
                    .flat_map(|maker| maker.join().unwrap())
                    .collect()
            });
            assert_eq!(ids.len(), 2000, "{generator}");
        }
    }

    #[test]
    fn an_id_takes_one_allocation() {
        for settings in [
            json!({ "generator": "uuid" }),
            json!({}),
            json!({ "generator": "tracker" }),
        ] {
            let kit = kit(settings);
            send(&kit, &[]); // What is made once is made now.
            let with = |headers: &[(&str, &str)]| {
                allocation_counter::measure(|| drop(send(&kit, headers))).count_total
            };
            // A request that brings its id has a header to be read from; one that does not gets one made.
            let (brought, made) = (
                with(&[("kong-request-id", "mine")]),
                with(&[("x-other-header-", "mine")]),
            );
            assert!(made <= brought + 1, "{made} {brought}");
        }
    }

    #[test]
    fn wrong_settings_are_refused_by_their_place() {
        for (settings, pointer) in [
            (json!({ "header_name": "a b" }), "/config/header_name"),
            (json!({ "generator": "random" }), "/config/generator"),
        ] {
            let mut document = json!({ "name": "correlation-id", "config": settings });
            let registry = Registry::new().with::<CorrelationId>();
            let found = registry
                .complete(document.as_object_mut().unwrap())
                .unwrap_err()
                .into_vec();
            assert_eq!(found[0].pointer, pointer);
        }
    }
}
