//! The gateway's own resolver against a name server that does as it is told.

use std::net::SocketAddr;
use std::time::Duration;

use gw_proxy::{Answer, DnsOptions, DnsResolver, RecordType, Records, ResolveError, Resolver};
use gw_testkit::{NameServer, Trouble};
use tempfile::TempDir;

/// A resolver with files of its own, and its servers.
struct Stage {
    names: NameServer,
    dir: TempDir,
}

impl Stage {
    fn new() -> Self {
        let dir = TempDir::new().expect("a directory");
        std::fs::write(dir.path().join("resolv.conf"), "options timeout:1 attempts:1\n").expect("it is ours");
        Self {
            names: NameServer::start(),
            dir,
        }
    }

    /// Moved into place, as careful editors do.
    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.path().join("new"), text).expect("it is ours");
        std::fs::rename(self.dir.path().join("new"), self.dir.path().join(name)).expect("it is ours");
    }

    fn resolver(&self) -> DnsResolver {
        self.asking(&[self.names.addr()], DnsOptions::default().order)
    }

    fn asking(&self, servers: &[SocketAddr], order: Vec<RecordType>) -> DnsResolver {
        let options = DnsOptions {
            servers: servers.to_vec(),
            order,
            hosts_file: Some(self.dir.path().join("hosts")),
            resolv_conf: self.dir.path().join("resolv.conf"),
        };
        DnsResolver::new(options).expect("it can be set up")
    }
}

/// An answer as a line: type, time to live, addresses; an error as its kind.
fn told(result: Result<Answer, ResolveError>) -> String {
    match result {
        Ok(Answer { records, ttl }) => {
            let list: Vec<String> = match &records {
                Records::Addresses(list) => list.iter().map(ToString::to_string).collect(),
                Records::Services(list) => list
                    .iter()
                    .map(|one| {
                        format!(
                            "{}/{}/{}/{}/{}",
                            one.priority, one.weight, one.address, one.port, one.host
                        )
                    })
                    .collect(),
            };
            format!("{} {} {}", records.kind(), ttl.as_secs(), list.join(" "))
        }
        Err(ResolveError::NotFound { .. }) => "not found".to_owned(),
        Err(ResolveError::Failed { source, .. }) => format!("failed: {source}"),
        Err(other) => panic!("{other}"),
    }
}

async fn ask(resolver: &DnsResolver, name: &str) -> String {
    told(resolver.resolve(name).await)
}

#[tokio::test]
async fn addresses_are_ipv4_or_ipv6_where_there_is_none() {
    let stage = Stage::new();
    stage
        .names
        .set("both.test", 30, &["A 10.0.0.1", "A 10.0.0.2", "AAAA ::1"]);
    stage.names.set("six.test", 7, &["AAAA ::1", "AAAA ::2"]);
    stage.names.set("empty.test", 7, &[]);
    let resolver = stage.resolver();
    for (name, expected) in [
        ("both.test", "A 30 10.0.0.1 10.0.0.2"),
        ("BOTH.test.", "A 30 10.0.0.1 10.0.0.2"),
        ("six.test", "AAAA 7 ::1 ::2"),
        ("empty.test", "not found"),
        ("none.test", "not found"),
        ("localhost", "A 300 127.0.0.1"),
        ("app.localhost", "A 300 127.0.0.1"),
    ] {
        assert_eq!(ask(&resolver, name).await, expected, "{name}");
    }
    assert_eq!(stage.names.asked("AAAA both.test"), 0, "nobody wants to know");
    assert_eq!(stage.names.asked("AAAA none.test"), 0, "there is no such name");
    assert_eq!(stage.names.asked("A localhost"), 0);
    let only = stage.asking(&[stage.names.addr()], vec![RecordType::A]);
    assert_eq!(ask(&only, "six.test").await, "not found");
}

#[tokio::test]
async fn aliases_are_followed_and_hold_as_long_as_the_shortest_does() {
    let stage = Stage::new();
    stage.names.set("www.test", 50, &["CNAME app.test"]);
    stage.names.set("app.test", 5, &["CNAME node.test"]);
    stage.names.set("node.test", 500, &["A 10.0.0.1"]);
    stage.names.set("lost.test", 50, &["CNAME nowhere.test"]);
    stage.names.set("ping.test", 50, &["CNAME pong.test"]);
    stage.names.set("pong.test", 50, &["CNAME ping.test"]);
    stage.names.set("loop.test", 50, &["CNAME ping.test"]);
    stage.names.set("self.test", 50, &["CNAME self.test"]);
    let resolver = stage.resolver();
    assert_eq!(ask(&resolver, "www.test").await, "A 5 10.0.0.1");
    assert_eq!(ask(&resolver, "lost.test").await, "not found");
    for name in ["ping.test", "self.test"] {
        let circle = ask(&resolver, name).await;
        assert!(circle.starts_with("failed: the aliases of"), "{circle}");
    }
}

#[tokio::test]
async fn services_are_asked_for_by_name_or_where_there_is_nothing_else() {
    let stage = Stage::new();
    let services = [
        "SRV 1 10 9001 one.test",
        "SRV 2 0 9002 two.test",
        "SRV 1 5 9003 gone.test",
    ];
    stage.names.set("_http._tcp.app.test", 30, &services);
    stage
        .names
        .set("app.test", 30, &["A 10.0.0.9", "SRV 1 1 9009 one.test"]);
    stage.names.set("only.test", 30, &["SRV 1 1 9001 alias.test"]);
    stage.names.set("_none._tcp.test", 30, &["SRV 0 0 0 ."]);
    stage.names.set("_plain._tcp.test", 30, &["A 10.0.0.8"]);
    stage
        .names
        .set("_alias._tcp.test", 3, &["CNAME _http._tcp.app.test"]);
    stage.names.set("one.test", 20, &["A 10.0.0.1", "A 10.0.0.2"]);
    stage.names.set("two.test", 40, &["AAAA ::2"]);
    stage.names.set("alias.test", 10, &["CNAME one.test"]);
    let resolver = stage.resolver();
    let both = "1/10/10.0.0.1/9001/one.test 1/10/10.0.0.2/9001/one.test 2/0/::2/9002/two.test";
    for (name, expected) in [
        ("_http._tcp.app.test", format!("SRV 20 {both}")),
        ("_alias._tcp.test", format!("SRV 3 {both}")),
        ("app.test", "A 30 10.0.0.9".to_owned()),
        (
            "only.test",
            "SRV 10 1/1/10.0.0.1/9001/alias.test 1/1/10.0.0.2/9001/alias.test".to_owned(),
        ),
        ("_none._tcp.test", "not found".to_owned()),
        ("_plain._tcp.test", "A 30 10.0.0.8".to_owned()),
    ] {
        assert_eq!(ask(&resolver, name).await, expected, "{name}");
    }
    // Kong's order.
    let order = vec![RecordType::Srv, RecordType::A, RecordType::Aaaa];
    let kong = stage.asking(&[stage.names.addr()], order);
    assert_eq!(
        ask(&kong, "app.test").await,
        "SRV 20 1/1/10.0.0.1/9009/one.test 1/1/10.0.0.2/9009/one.test"
    );
    // Of a host that nobody can tell of, nothing is made up.
    stage.names.fail("two.test", Trouble::ServFail);
    let failed = ask(&resolver, "_http._tcp.app.test").await;
    assert!(failed.ends_with("Server Failure"), "{failed}");
}

#[tokio::test]
async fn a_failure_is_no_denial() {
    let stage = Stage::new();
    stage.write(
        "resolv.conf",
        "search a.test b.test\noptions timeout:1 attempts:1 ndots:2",
    );
    let resolver = stage.resolver();
    stage.names.fail("app.a.test", Trouble::ServFail);
    let failed = ask(&resolver, "app").await;
    assert!(
        failed.ends_with("Server Failure"),
        "the others deny it, this one may know it: {failed}"
    );
    stage.names.set("app.b.test", 5, &["A 10.0.0.2"]);
    assert_eq!(ask(&resolver, "app").await, "A 5 10.0.0.2");
    stage.names.remove("app.a.test");
    stage.names.set("app", 5, &["A 10.0.0.3"]);
    assert_eq!(ask(&resolver, "app").await, "A 5 10.0.0.2");
    stage.names.remove("app.b.test");
    assert_eq!(ask(&resolver, "app").await, "A 5 10.0.0.3");
    stage.names.set("app.a.test", 5, &["A 10.0.0.1"]);
    assert_eq!(ask(&resolver, "app").await, "A 5 10.0.0.1");
    assert_eq!(ask(&resolver, "app.").await, "A 5 10.0.0.3");
    stage.names.fail("app", Trouble::Silence);
    let failed = ask(&resolver, "app.").await;
    assert!(failed.ends_with("does not answer"), "{failed}");
}

#[tokio::test]
async fn servers_are_asked_in_turn_and_silent_ones_last() {
    let (stage, second) = (Stage::new(), NameServer::start());
    let resolver = stage.asking(&[stage.names.addr(), second.addr()], DnsOptions::default().order);
    stage.names.set("app.test", 5, &["A 10.0.0.1"]);
    second.set("app.test", 5, &["A 10.0.0.2"]);
    second.set("other.test", 5, &["A 10.0.0.2"]);
    assert_eq!(ask(&resolver, "app.test").await, "A 5 10.0.0.1");
    assert_eq!(
        ask(&resolver, "other.test").await,
        "not found",
        "the first says so"
    );
    stage.names.fail("app.test", Trouble::ServFail);
    assert_eq!(ask(&resolver, "app.test").await, "A 5 10.0.0.2");
    stage.names.fail("app.test", Trouble::Silence);
    assert_eq!(ask(&resolver, "app.test").await, "A 5 10.0.0.2");
    let asked = stage.names.asked("A app.test");
    assert_eq!(ask(&resolver, "app.test").await, "A 5 10.0.0.2");
    assert_eq!(
        stage.names.asked("A app.test"),
        asked,
        "it has not answered lately"
    );
}

#[tokio::test]
async fn a_long_answer_comes_over_tcp() {
    let stage = Stage::new();
    let records: Vec<String> = (1..=200).map(|n| format!("A 10.0.0.{n}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    stage.names.set("many.test", 5, &records);
    let answer = stage.resolver().resolve("many.test").await.expect("an answer");
    assert!(
        matches!(&answer.records, Records::Addresses(list) if list.len() == 200),
        "{answer:?}"
    );
    assert_eq!(answer.ttl, Duration::from_secs(5));
}

#[tokio::test]
async fn the_hosts_file_comes_first_and_both_files_are_followed() {
    let stage = Stage::new();
    stage.names.set("app.test", 5, &["A 10.0.0.1"]);
    stage.names.set("app.a.test", 5, &["A 10.0.0.4"]);
    let resolver = stage.resolver();
    assert_eq!(
        (ask(&resolver, "app.test").await, resolver.version()),
        ("A 5 10.0.0.1".to_owned(), 0)
    );
    stage.write("hosts", "10.0.0.2 app.test\n10.0.0.3 localhost\n");
    assert_eq!(resolver.version(), 1);
    assert_eq!(ask(&resolver, "App.test").await, "A 300 10.0.0.2");
    assert_eq!(ask(&resolver, "localhost").await, "A 300 10.0.0.3");
    stage.write("hosts", "");
    assert_eq!(ask(&resolver, "app.test").await, "A 5 10.0.0.1");
    assert_eq!(ask(&resolver, "app").await, "not found");
    stage.write("resolv.conf", "search a.test");
    assert_eq!(ask(&resolver, "app").await, "A 5 10.0.0.4");
    assert_eq!(resolver.version(), 3);
}
