//! A new process takes over from a running one: under load, when it cannot, and again.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use gw_testkit::{Authority, Client, Gateway, GatewayBuilder, Raw, Upstream, within};
use serde_json::json;

use crate::support::{Stage, program};
use crate::tls::{Verified, https_address};

/// A copy of the program that a test may replace.
fn copy(folder: &Path) -> PathBuf {
    let path = folder.join("gw-server");
    install(&path, Path::new(env!("CARGO_BIN_EXE_gw-server")));
    path
}

/// Puts another program in its place, as a package does: the running one keeps its file.
fn install(path: &Path, program: &Path) {
    let fresh = path.with_extension("new");
    fs::copy(program, &fresh).expect("a copy");
    fs::set_permissions(&fresh, fs::Permissions::from_mode(0o755)).expect("permissions");
    fs::rename(&fresh, path).expect("a new name");
}

fn builder(path: &Path) -> GatewayBuilder {
    Gateway::builder(path)
        .env("GW_WORKERS", "2")
        .env("GW_TEST_PROGRAM", env!("CARGO_BIN_EXE_gw-server"))
}

/// Clients that go on until they are told to stop, and every answer of which has to be right.
struct Load {
    stop: Arc<AtomicBool>,
    answers: Arc<AtomicUsize>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn new() -> Self {
        Self {
            stop: Arc::default(),
            answers: Arc::default(),
            tasks: Vec::new(),
        }
    }

    fn add<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        task: impl FnOnce(Arc<AtomicBool>, Arc<AtomicUsize>) -> F,
    ) {
        let task = task(Arc::clone(&self.stop), Arc::clone(&self.answers));
        self.tasks.push(tokio::spawn(task));
    }

    /// Clients that each keep a connection, or open one for each request.
    fn http(&mut self, count: usize, url: &str, client: fn() -> Client) {
        for _ in 0..count {
            let url = url.to_owned();
            self.add(|stop, answers| async move {
                let client = client();
                while !stop.load(SeqCst) {
                    let answer = client.get(&url).await;
                    assert_eq!(
                        (answer.status, answer.text()),
                        (200, "Hello from any"),
                        "{answer:?}"
                    );
                    answers.fetch_add(1, SeqCst);
                }
            });
        }
    }

    /// The same over TLS.
    fn https(&mut self, count: usize, addr: SocketAddr, verified: &Verified) {
        for _ in 0..count {
            let verified = verified.clone();
            self.add(move |stop, answers| async move {
                let mut connection = None;
                while !stop.load(SeqCst) {
                    let mut open = match connection.take() {
                        Some(open) => open,
                        None => verified.connect(addr, "any.test").await.expect("a handshake"),
                    };
                    let (answer, more) = open.get("any.test").await.expect("an answer");
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                    answers.fetch_add(1, SeqCst);
                    connection = more.then_some(open);
                }
            });
        }
    }

    /// Waits until so many more answers have come.
    async fn wait_for(&self, more: usize) {
        let enough = self.answers.load(SeqCst) + more;
        within("answers under load", async {
            while self.answers.load(SeqCst) < enough {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn end(self) -> usize {
        self.stop.store(true, SeqCst);
        for task in self.tasks {
            task.await.expect("no request failed");
        }
        self.answers.load(SeqCst)
    }
}

/// Writes one consumer after the other, and keeps what was acknowledged. A process that gives way says to try again.
async fn write(
    admin: String,
    client: Client,
    name: &str,
    stop: Arc<AtomicBool>,
    kept: Arc<Mutex<Vec<String>>>,
) {
    for n in 0.. {
        if stop.load(SeqCst) {
            return;
        }
        let username = format!("{name}-{n}");
        loop {
            let form = [("username", username.as_str())];
            let answer = client
                .call("POST", format!("{admin}/consumers"))
                .form(&form)
                .send()
                .await;
            match answer.status {
                201 => break,
                503 => assert_eq!(answer.header("retry-after"), Some("1"), "{answer:?}"),
                _ => panic!("{answer:?}"),
            }
        }
        kept.lock().expect("no writer panics").push(username);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_process_takes_over_under_load_and_no_request_fails() {
    let upstream = Upstream::named("any");
    let stage = Stage::from(program().proxy_listen("127.0.0.1:0,127.0.0.1:0 ssl")).await;
    stage.expose("any", &upstream, "/").await;
    let authority = Authority::new();
    let identity = authority.identity(&["any.test"]);
    let (cert, key) = identity.pem();
    let document = json!({ "cert": cert, "key": key, "snis": ["any.test"] });
    stage
        .admin("POST", "/certificates")
        .json(&document)
        .send()
        .await
        .expect_status(201);

    let mut load = Load::new();
    load.http(120, &stage.gateway.proxy_url("/"), Client::new);
    load.http(20, &stage.gateway.proxy_url("/"), Client::without_keep_alive);
    load.https(60, https_address(&stage.gateway).await, &Verified::by(&authority));
    let kept = Arc::new(Mutex::new(Vec::new()));
    for (name, client) in [("kept", Client::new()), ("fresh", Client::without_keep_alive())] {
        let (admin, kept) = (stage.gateway.admin_url(""), Arc::clone(&kept));
        load.add(move |stop, _| async move { write(admin, client, name, stop, kept).await });
    }
    // Connections that have nothing to do when the time comes are served once more.
    let mut idle = Vec::new();
    for _ in 0..50 {
        let mut raw = Raw::connect(stage.gateway.proxy()).await;
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_eq!(raw.read_response().await.header("connection"), None);
        idle.push(raw);
    }
    load.wait_for(500).await;

    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    stage.gateway.wait_for_line("a new process has taken over").await;
    load.wait_for(500).await;
    for raw in &mut idle {
        raw.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
        let answer = raw.read_response().await;
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
    }
    assert!(
        stage.gateway.wait().await.success(),
        "the old process ends by itself"
    );

    // And once more: the new process is as good as the first.
    stage.gateway.upgrade_successor();
    stage.gateway.wait_for_successors(2).await;
    load.wait_for(500).await;
    let answers = load.end().await;
    assert!(answers >= 1500, "{answers}");

    let mut stage = stage;
    stage.client = Client::new(); // with no connections to processes that have ended
    let mut names = HashSet::new();
    let mut page = "/consumers?size=1000".to_owned();
    loop {
        let consumers = stage.read(&page).await;
        let data = consumers["data"].as_array().expect("a list");
        names.extend(
            data.iter()
                .filter_map(|one| one["username"].as_str().map(str::to_owned)),
        );
        match consumers["next"].as_str() {
            Some(next) => page = next.to_owned(),
            None => break,
        }
    }
    let kept = kept.lock().expect("no writer panics").clone();
    assert!(!kept.is_empty());
    for name in &kept {
        assert!(names.contains(name), "{name} is lost");
    }
    let log = stage.gateway.log().join("\n");
    assert!(!log.contains(" ERROR "), "{log}");
}

#[tokio::test]
async fn a_new_program_that_does_not_start_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = copy(folder.path());
    let upstream = Upstream::named("any");
    let mut stage = Stage::from(builder(&path)).await;
    stage.expose("any", &upstream, "/").await;
    let broken = folder.path().join("broken");
    for (n, (text, reason)) in [
        (
            "#!/bin/sh\necho 'this is no gateway' >&2\nexit 3\n",
            "exit status: 3",
        ),
        ("#!/nowhere/at/all\n", "cannot be started"),
        // One that has the sockets and then ends.
        (
            "#!/bin/sh\nexec \"$GW_TEST_PROGRAM\" \"$@\" --workers none\n",
            "exit status: 64",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        fs::write(&broken, text).expect("a file");
        install(&path, &broken);
        stage.gateway.upgrade();
        let lines = stage
            .gateway
            .wait_for_lines(n + 1, "no new process takes over")
            .await;
        let line = lines.last().expect("one of them");
        assert!(line.contains(reason), "{reason}: {line}");
        stage.get("/").await.expect_status(200);
        stage
            .create("/consumers", &[("username", &format!("after-{n}"))])
            .await;
    }
    assert_eq!(stage.gateway.status(), None);

    // And with one that does, all is there.
    install(&path, Path::new(env!("CARGO_BIN_EXE_gw-server")));
    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    stage.client = Client::new(); // with no connections to the old process
    stage.get("/").await.expect_status(200);
    let consumers = stage.read("/consumers").await;
    assert_eq!(consumers["data"].as_array().map(Vec::len), Some(3), "{consumers}");
    assert!(stage.gateway.wait().await.success());
}

#[tokio::test]
async fn a_store_that_was_given_away_is_taken_back() {
    let upstream = Upstream::named("any");
    let mut stage = Stage::start().await;
    stage.expose("any", &upstream, "/").await;
    // A new process cannot read its id, which it needs once it has the store.
    let id = stage.gateway.data_dir().join("node-id");
    let was = fs::read(&id).expect("an id");
    fs::remove_file(&id).expect("it is there");
    fs::create_dir(&id).expect("a folder");
    stage.gateway.upgrade();
    let line = stage.gateway.wait_for_line("no new process takes over").await;
    assert!(line.contains("exit status: 1"), "{line}");
    stage.create("/consumers", &[("username", "ann")]).await;
    stage.get("/").await.expect_status(200);
    fs::remove_dir(&id).expect("a folder");
    fs::write(&id, was).expect("an id");
    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    stage.client = Client::new(); // with no connections to the old process
    let consumers = stage.read("/consumers").await;
    assert_eq!(consumers["data"][0]["username"], "ann");
}

#[tokio::test]
async fn a_gateway_without_a_store_is_replaced_as_well() {
    let upstream = Upstream::named("any");
    let to = upstream.addr().to_string();
    let gateway = program().one_line().args(["--to", &to]).start().await;
    let mut load = Load::new();
    load.http(20, &gateway.proxy_url("/"), Client::new);
    load.wait_for(100).await;
    gateway.upgrade();
    assert!(gateway.wait().await.success());
    load.wait_for(100).await;
    load.end().await;
}

/// The priorities of a process's threads by their names; the first thread has that of the program.
fn niceness(process: &str) -> BTreeMap<String, i32> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let read = |path: PathBuf| {
        let text = fs::read_to_string(path.join("stat")).ok()?;
        let (name, rest) = text.split_once('(')?.1.rsplit_once(") ")?;
        Some((name.to_owned(), rest.split(' ').nth(16)?.parse().ok()?))
    };
    threads.filter_map(|thread| read(thread.ok()?.path())).collect()
}

#[tokio::test]
async fn threads_that_serve_go_before_the_others_also_in_a_process_that_took_over() {
    let stage = Stage::start().await;
    let own = *niceness("self").values().next().expect("this thread");
    let beside = (own + 5).min(19);
    let expected = [
        ("worker-0", own),
        ("starter", own),
        ("gw-server", beside),
        ("store", beside),
    ];
    // A thread that has just begun has the name of the program for a moment.
    let settled = |process: u32| async move {
        let is_so = || {
            let found = niceness(&process.to_string());
            expected
                .iter()
                .all(|(name, niceness)| found.get(*name) == Some(niceness))
        };
        within("threads as nice as they are to be", async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    settled(stage.gateway.id()).await;
    stage.gateway.upgrade();
    stage.gateway.wait_for_successors(1).await;
    stage.gateway.wait_for_line("a new process has taken over").await;
    settled(*stage.gateway.successors().first().expect("one has taken over")).await;
}

#[tokio::test]
async fn a_service_manager_hands_sockets_over_and_is_told_how_it_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("notify");
    let told = UnixDatagram::bind(&path).expect("a socket");
    told.set_read_timeout(Some(gw_testkit::DEADLINE))
        .expect("a timeout");
    let hear = || {
        let mut bytes = [0; 1024];
        let length = told.recv(&mut bytes).expect("a message in time");
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let (proxy, admin) = (TcpListener::bind("127.0.0.1:0"), TcpListener::bind("127.0.0.1:0"));
    let (proxy, admin) = (proxy.expect("a port"), admin.expect("a port"));
    let proxy_addr = proxy.local_addr().expect("bound");
    let builder = program()
        .activated(&[("admin", &admin), ("unnamed", &proxy)])
        .proxy_listen(proxy_addr) // by its address, the other by its name
        .env("NOTIFY_SOCKET", &path);
    let upstream = Upstream::named("any");
    let stage = Stage::from(builder).await;
    assert_eq!(stage.gateway.proxy(), proxy_addr);
    assert_eq!(stage.gateway.admin(), admin.local_addr().expect("bound"));
    drop((proxy, admin));
    assert!(hear().starts_with("READY=1\n"));
    stage.expose("any", &upstream, "/").await;
    stage.get("/").await.expect_status(200);

    stage.gateway.upgrade();
    assert!(hear().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    let pid = stage.gateway.wait_for_successors(1).await;
    assert_eq!(hear(), format!("MAINPID={pid}\n"));
    assert!(hear().starts_with("READY=1\nSTATUS=serving, in place of process"));
    stage.get("/").await.expect_status(200);
    stage.gateway.terminate_successor();
    assert_eq!(hear(), "STOPPING=1\n");
    assert!(stage.gateway.wait().await.success());
}

#[tokio::test]
async fn a_socket_that_nobody_asked_for_is_not_left_alone() {
    let stray = TcpListener::bind("127.0.0.1:0").expect("a port");
    let builder = program().activated(&[("stray", &stray)]);
    let (code, said) = crate::support::refusal(builder).await;
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("`stray`") && said.contains("FileDescriptorName"),
        "{said}"
    );
}
