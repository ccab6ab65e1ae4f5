//! Each form, and what is none.

use super::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.insert(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    headers
}

fn context(sampled: Option<bool>) -> Context {
    Context {
        trace: hex::bytes(TRACE).unwrap(),
        span: hex::bytes(SPAN).unwrap(),
        sampled,
    }
}

#[test]
fn each_form_reads_what_it_writes() {
    for form in [
        Form::W3c,
        Form::B3,
        Form::B3Single,
        Form::Jaeger,
        Form::Ot,
        Form::Aws,
        Form::Gcp,
    ] {
        for sampled in [true, false] {
            let mut headers = HeaderMap::new();
            form.write(&mut headers, &context(Some(sampled)), Some([7; 8]));
            assert_eq!(
                form.read(&headers),
                Some(context(Some(sampled))),
                "{form:?} {headers:?}"
            );
        }
    }
    // Datadog has half of a trace's id.
    let mut headers = HeaderMap::new();
    Form::Datadog.write(&mut headers, &context(Some(true)), None);
    let read = Form::Datadog.read(&headers).unwrap();
    assert_eq!(
        (&read.trace[8..], read.span),
        (&context(None).trace[8..], context(None).span)
    );
}

#[test]
fn the_specifications_own_examples_are_read() {
    for (form, pairs, sampled) in [
        (
            Form::W3c,
            &[(
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            )][..],
            Some(true),
        ),
        (
            Form::W3c,
            &[(
                "traceparent",
                "cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00-more",
            )],
            Some(false),
        ),
        (
            Form::B3,
            &[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", SPAN),
                ("x-b3-sampled", "1"),
            ],
            Some(true),
        ),
        (Form::B3, &[("x-b3-traceid", TRACE), ("x-b3-spanid", SPAN)], None),
        (
            Form::B3,
            &[
                ("x-b3-traceid", TRACE),
                ("x-b3-spanid", SPAN),
                ("x-b3-flags", "1"),
            ],
            Some(true),
        ),
        (
            Form::B3Single,
            &[(
                "b3",
                "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-d-0000000000000007",
            )],
            Some(true),
        ),
        (
            Form::B3Single,
            &[("b3", "0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")],
            None,
        ),
        (
            Form::Jaeger,
            &[(
                "uber-trace-id",
                "af7651916cd43dd8448eb211c80319c:b7ad6b7169203331:0:1",
            )],
            Some(true),
        ),
        (
            Form::Aws,
            &[(
                "x-amzn-trace-id",
                "Sampled=0;Root=1-0af76519-16cd43dd8448eb211c80319c;Parent=b7ad6b7169203331",
            )],
            Some(false),
        ),
        (
            Form::Gcp,
            &[(
                "x-cloud-trace-context",
                "0af7651916cd43dd8448eb211c80319c/13235353014750950193",
            )],
            None,
        ),
    ] {
        assert_eq!(
            form.read(&headers(pairs)),
            Some(context(sampled)),
            "{form:?} {pairs:?}"
        );
    }
    let short = headers(&[("b3", "8448eb211c80319c-b7ad6b7169203331-1")]);
    assert_eq!(Form::B3Single.read(&short).unwrap().trace[..8], [0; 8]);
}

#[test]
fn what_is_wrong_is_no_trace() {
    for (form, name, value) in [
        (
            Form::W3c,
            "traceparent",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        (
            Form::W3c,
            "traceparent",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        ),
        (
            Form::W3c,
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ),
        (
            Form::W3c,
            "traceparent",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        ),
        (
            Form::W3c,
            "traceparent",
            "00-7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        (
            Form::W3c,
            "traceparent",
            "00-xaf7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        ),
        (Form::B3Single, "b3", "0"),
        (Form::B3Single, "b3", ""),
        (Form::Jaeger, "uber-trace-id", "a:b"),
        (
            Form::Gcp,
            "x-cloud-trace-context",
            "0af7651916cd43dd8448eb211c80319c",
        ),
        (Form::Aws, "x-amzn-trace-id", "Root=1-5759e988"),
        (Form::Datadog, "x-datadog-trace-id", "7"),
        (Form::Ot, "ot-tracer-traceid", TRACE),
    ] {
        assert_eq!(form.read(&headers(&[(name, value)])), None, "{form:?} {value}");
    }
}
