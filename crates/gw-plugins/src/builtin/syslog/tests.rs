//! Which messages go to the system log, and how.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::{Facility, Severity, Sink as _, Syslog, SystemLog};
use crate::env::BuildEnv;
use crate::plugin::Definition as _;
use crate::test_lender::TestLender;

#[tokio::test]
async fn messages_go_to_the_first_log_that_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let log = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    let none = folder.path().join("none").to_str().unwrap().into();
    let sink = SystemLog::new(TestLender::new(), [none, path.to_str().unwrap().into()].into());
    let too_large = Bytes::from(vec![b'x'; 8 << 20]);
    sink.deliver(&["<14>a".into(), too_large, "<14>b".into()])
        .await
        .unwrap();
    let mut room = [0; 16];
    for expected in [&b"<14>a"[..], b"<14>b"] {
        let size = log.recv(&mut room).unwrap();
        assert_eq!(&room[..size], expected);
    }
    drop(log);
    assert!(sink.deliver(&["<14>c".into()]).await.is_err());
    std::fs::remove_file(&path).unwrap();
    let log = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    sink.deliver(&["<14>c".into()]).await.unwrap();
    assert_eq!(log.recv(&mut room).unwrap(), 5);
}

#[test]
fn what_is_not_severe_enough_is_not_logged() {
    let settings = json!({
        "log_level": "warning", "successful_severity": "info", "client_errors_severity": "warning",
        "server_errors_severity": "err", "facility": "local0", "custom_fields_by_lua": null,
    });
    let syslog = Syslog::build(serde_json::from_value(settings).unwrap(), &BuildEnv::default()).unwrap();
    for (status, code) in [
        (200, None),
        (302, None),
        (404, Some(132)),
        (499, Some(132)),
        (500, Some(131)),
        (599, Some(131)),
    ] {
        let head = syslog.head(StatusCode::from_u16(status).unwrap());
        let expected = code.map(|code| format!("<{code}>kong[{}]: ", std::process::id()).into_bytes());
        assert_eq!(head, expected, "{status}");
    }
}

#[test]
fn codes_are_those_of_syslog() {
    assert_eq!(Severity::Emerg as u8, 0);
    assert_eq!(Severity::Debug as u8, 7);
    for (facility, code) in [
        (Facility::Kern, 0),
        (Facility::User, 1),
        (Facility::Cron, 9),
        (Facility::Authpriv, 10),
        (Facility::Ftp, 11),
        (Facility::Local0, 16),
        (Facility::Local7, 23),
    ] {
        assert_eq!(facility.number(), code, "{facility:?}");
    }
}
