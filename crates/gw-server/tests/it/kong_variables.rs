//! Kong's own variables, as public set-ups have them.

use gw_testkit::{Reply, Upstream};

use crate::support::{Stage, program, refusal};

#[tokio::test]
async fn a_public_set_up_starts_as_it_is() {
    let upstream = Upstream::start(|_| Reply::ok("hello"));
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("kong.yml");
    let url = upstream.url("/");
    let text =
        format!("_format_version: '1.1'\nservices:\n- {{name: a, url: '{url}', routes: [{{paths: [/]}}]}}\n");
    std::fs::write(&file, text).expect("it can be written");
    let program = program()
        .env("KONG_DATABASE", "off")
        .env("KONG_DECLARATIVE_CONFIG", &file)
        .env("KONG_DNS_ORDER", "LAST,A,CNAME")
        .env("KONG_PLUGINS", "bundled,my-plugin")
        .env("KONG_NGINX_PROXY_PROXY_BUFFER_SIZE", "160k")
        .env("KONG_PROXY_ACCESS_LOG", "off")
        .env("KONG_ADMIN_ACCESS_LOG", "/dev/stdout")
        .env("KONG_PROXY_ERROR_LOG", "/dev/stderr")
        .env("KONG_ADMIN_ERROR_LOG", "/dev/stderr")
        .env(
            "KONG_ADMIN_LISTEN",
            "0.0.0.0:8001 reuseport backlog=16384, 0.0.0.0:8444 http2 ssl",
        );
    let stage = Stage::from(program).await;
    assert_eq!(stage.get("/").await.expect_status(200).text(), "hello");
    let line = stage
        .gateway
        .wait_for_lines(1, "variables of Kong's that mean nothing here")
        .await;
    assert!(
        line.len() == 1 && line[0].contains("KONG_DNS_ORDER KONG_NGINX_PROXY_PROXY_BUFFER_SIZE"),
        "{line:?}"
    );
    stage
        .gateway
        .wait_for_line("KONG_PLUGINS names `my-plugin`")
        .await;
    stage
        .gateway
        .wait_for_line("KONG_ADMIN_LISTEN: `reuseport`, `backlog=16384` means nothing here")
        .await;
    let log = stage.gateway.log().join("\n");
    assert!(
        !log.contains(crate::support::ACCESS),
        "the access log is off:\n{log}"
    );
}

#[tokio::test]
async fn they_are_defaults_that_variables_and_flags_of_ours_win_over() {
    let help = program()
        .env(
            "KONG_PROXY_LISTEN",
            "0.0.0.0:9000 reuseport, 0.0.0.0:9443 http2 ssl",
        )
        .env("KONG_STATUS_LISTEN", "127.0.0.1:8100")
        .env("KONG_REAL_IP_HEADER", "X-Forwarded-For")
        .env("KONG_TRUSTED_IPS", "10.0.0.0/8,::1")
        .arg("--help");
    let (_, help) = refusal(help).await;
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for default in [
        "[default: 0.0.0.0:9000 \"0.0.0.0:9443 ssl\"]",
        "[default: 127.0.0.1:8100]",
        "[default: X-Forwarded-For]",
        "[default: 10.0.0.0/8 ::1]",
    ] {
        assert!(help.contains(default), "{default} is not in:\n{help}");
    }
    // Of two that are said, ours counts.
    let stage = Stage::from(program().env("KONG_LOG_LEVEL", "debug").env("GW_LOG", "warn")).await;
    assert_eq!(
        stage.read("/debug/node/log-level").await["message"],
        "log level: warn"
    );
    let stage = Stage::from(program().env("KONG_LOG_LEVEL", "crit")).await;
    assert_eq!(
        stage.read("/debug/node/log-level").await["message"],
        "log level: error"
    );
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_by_name() {
    let (code, said) = refusal(program().env("KONG_LOG_LEVEL", "loud")).await;
    assert!(
        code == Some(1) && said.contains("KONG_LOG_LEVEL=loud: expected debug"),
        "{said}"
    );
}
