//! Names whose addresses change while requests come, through the program and over real sockets.

mod following;
mod real_server;
mod trouble;

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use gw_testkit::{Client, NameServer, Reply, Upstream, within};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Stage, program};

/// A gateway that asks a name server of the test, with files of its own.
struct Names {
    stage: Stage,
    server: NameServer,
    dir: TempDir,
}

impl Names {
    async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more flags.
    async fn with(args: &[&str]) -> Self {
        let server = NameServer::start();
        let dir = TempDir::new().expect("a directory");
        write(&dir, "resolv.conf", "options timeout:1 attempts:1");
        let stage = Stage::from(asking(&server.addr().to_string(), &dir).args(args)).await;
        Self { stage, server, dir }
    }

    /// Makes the host of a service, reached by `/`, this name and port.
    async fn serve(&self, host: &str, port: u16) {
        let service = self
            .stage
            .service("named", &format!("http://{host}:{port}/"))
            .await;
        self.stage.route(&service, "/").await;
    }

    /// Makes an upstream with this target, and a route `/` to it.
    async fn balance(&self, target: &str) {
        self.stage.upstream("u.test", &[]).await;
        self.stage
            .create("/upstreams/u.test/targets", &[("target", target)])
            .await;
        let service = self.stage.service("balanced", "http://u.test/").await;
        self.stage.route(&service, "/").await;
    }

    /// What the gateway knows of a name.
    async fn known(&self, name: &str) -> Value {
        let all = self.stage.read("/dns").await;
        let list = all["data"].as_array().expect("a list");
        list.iter()
            .find(|known| known["name"] == name)
            .cloned()
            .unwrap_or_default()
    }

    /// Waits until the gateway knows of a name what it should.
    async fn wait_known(&self, name: &str, what: &str, reached: impl Fn(&Value) -> bool) -> Value {
        let wait = async {
            loop {
                let known = self.known(name).await;
                if reached(&known) {
                    return known;
                }
            }
        };
        within(format_args!("{what}, of {name}"), wait).await
    }

    /// Asks until it is answered by this one.
    async fn wait_for(&self, name: &str) {
        let wait = async { while self.stage.get("/").await.expect_status(200).text() != name {} };
        within(format_args!("an answer of {name}"), wait).await;
    }
}

/// A program that asks this name server.
fn asking(server: &str, dir: &TempDir) -> gw_testkit::GatewayBuilder {
    program()
        .args(["--dns-server", server])
        .arg("--dns-hosts-file")
        .arg(dir.path().join("hosts"))
        .arg("--dns-resolv-conf")
        .arg(dir.path().join("resolv.conf"))
}

/// Moved into place, as careful editors do.
fn write(dir: &TempDir, name: &str, text: &str) {
    std::fs::write(dir.path().join("new"), text).expect("it is ours");
    std::fs::rename(dir.path().join("new"), dir.path().join(name)).expect("it is ours");
}

/// Servers at one port of the loopback addresses 127.0.0.1 and on. Each answers with the last number of its address.
fn servers(count: u8) -> (u16, Vec<Upstream>) {
    let first = named(1, 0);
    let port = first.port();
    let others = (2..=count).map(|number| named(number, port));
    let all: Vec<Upstream> = std::iter::once(first).chain(others).collect();
    (port, all)
}

fn named(number: u8, port: u16) -> Upstream {
    let address = SocketAddr::from((Ipv4Addr::new(127, 0, 0, number), port));
    let builder = match port {
        0 => Upstream::builder(),
        _ => Upstream::builder().addr(address),
    };
    builder.serve(move |_| Reply::ok(number.to_string()))
}

/// One request: when it was sent, the status of the answer, and who gave it.
type Asked = (Instant, u16, String);

/// Asks over one connection, one request after the other, for so long.
async fn ask_for(client: &Client, url: &str, time: Duration) -> Vec<Asked> {
    let end = Instant::now() + time;
    let mut asked = Vec::new();
    while Instant::now() < end {
        let sent = Instant::now();
        let answer = client.get(url).await;
        asked.push((sent, answer.status, answer.text().to_owned()));
    }
    asked
}
