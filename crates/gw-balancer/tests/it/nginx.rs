//! The ring, the sequence and the order of retries beside those of a real nginx.
//!
//! nginx is asked over one connection for one page after the other. Nobody listens where its upstreams point: which server it
//! chose it says all the same.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use gw_balancer::{
    Algorithm, Ask, Identity, Policy, Ring, RingPolicy, Rng, RoundRobin, Sticky, Target, Tried,
};
use gw_testkit::{DEADLINE, Server};

/// Servers as they stand in the configuration, each with its weight.
type Servers = Vec<(String, u16)>;

/// Questions under way at once.
const BATCH: usize = 500;

/// One at which nothing listens: TCP port 1 of the loopback network, of which there are 2²⁴ addresses.
fn closed(number: usize) -> String {
    format!("127.{}.{}.7:1", 1 + number / 200, 1 + number % 200)
}

/// The server sets whose rings are compared.
fn rings() -> Vec<(&'static str, Servers)> {
    let of = |list: &[(&str, u16)]| {
        list.iter()
            .map(|&(text, weight)| (text.to_owned(), weight))
            .collect()
    };
    vec![
        ("three", (0..3).map(|i| (closed(i), 1)).collect()),
        ("weights", (0..7).map(|i| (closed(i), 1 + 3 * i as u16)).collect()),
        ("heavy", (0..9).map(|i| (closed(i), 100)).collect()),
        ("many", (0..150).map(|i| (closed(i), 1 + i as u16 % 3)).collect()),
        (
            "ipv6",
            of(&[
                ("[::1]:1", 1),
                ("[::1]:2", 2),
                ("[0:0::1]:3", 1),
                ("127.0.0.1:1", 3),
            ]),
        ),
        (
            "unix",
            of(&[
                ("unix:nowhere.sock", 1),
                ("UNIX:no/where.sock:2", 2),
                ("unix:/nowhere:80", 1),
            ]),
        ),
        (
            "twice",
            of(&[
                ("127.0.0.1:1", 1),
                ("127.0.0.1:2", 2),
                ("127.0.0.1:1", 3),
                ("127.0.0.1:2", 1),
                ("127.0.0.1:3", 1),
            ]),
        ),
        (
            "no_port",
            of(&[("127.9.9.1", 1), ("127.9.9.2", 2), ("127.9.9.3:1", 1)]),
        ),
    ]
}

#[tokio::test]
async fn keys_belong_to_whom_they_do_in_nginx() {
    const KEYS: usize = 100_000;
    let sets = rings();
    let upstreams = sets
        .iter()
        .map(|(name, servers)| upstream(name, servers, "hash $arg_k consistent;"));
    let Some(nginx) = start(
        &upstreams.collect::<String>(),
        sets.iter().map(|(name, _)| *name),
        "off",
    )
    .await
    else {
        return;
    };
    let mut compared = 0;
    // A thousand keys are the same in all sets.
    let share = KEYS.div_ceil(4);
    for (number, (name, servers)) in sets.iter().enumerate() {
        let keys: Vec<String> = (0..share)
            .map(|i| format!("{}-{i}", if i < 1000 { 0 } else { number }))
            .collect();
        let chosen = ask(&nginx, name, &keys).await;
        let (targets, addresses) = targets(servers);
        let ring = Ring::new(Identity::NginxText, &targets);
        let policy = Policy::Ring(RingPolicy::default());
        for (key, chosen) in keys.iter().zip(chosen) {
            let hash = u32::try_from(policy.key(key.as_bytes())).expect("a ring's keys have 32 bits");
            let ours = &addresses[ring.owner(hash).expect("there are targets").index()];
            assert_eq!(*ours, chosen, "{name}: {key}");
            compared += 1;
        }
    }
    assert!(compared >= KEYS);
}

#[tokio::test]
async fn turns_are_taken_as_in_nginx() {
    let sets: [(&str, &[u16]); 5] = [
        ("documented", &[5, 1, 1]),
        ("equal", &[1, 1, 1]),
        ("mixed", &[7, 3, 2, 3, 1, 10, 1]),
        ("common_divisor", &[100, 150, 50, 100]),
        ("uneven", &[97, 1, 1, 1]),
    ];
    let servers = |weights: &[u16]| -> Servers {
        weights
            .iter()
            .enumerate()
            .map(|(i, &weight)| (closed(i), weight))
            .collect()
    };
    let upstreams = sets
        .iter()
        .map(|(name, weights)| upstream(name, &servers(weights), ""));
    let Some(nginx) = start(
        &upstreams.collect::<String>(),
        sets.iter().map(|(name, _)| *name),
        "off",
    )
    .await
    else {
        return;
    };
    for (name, weights) in sets {
        let keys: Vec<String> = (0..10_000).map(|i| i.to_string()).collect();
        let chosen = ask(&nginx, name, &keys).await;
        let (targets, addresses) = targets(&servers(weights));
        let (table, tried) = (RoundRobin::new(&targets), Tried::new());
        for (turn, chosen) in chosen.into_iter().enumerate() {
            let ours = table
                .pick(&question(None, &tried), &(), &mut Rng::seeded(0))
                .expect("there are targets");
            assert_eq!(addresses[ours.index()], chosen, "{name}: turn {turn}");
        }
    }
}

/// One is down, the others answer.
#[tokio::test]
async fn a_retry_goes_where_nginx_goes() {
    let names = ["up-a.sock", "down.sock", "up-b.sock", "up-c.sock"];
    let servers: Servers = names
        .iter()
        .zip([1, 3, 2, 1])
        .map(|(name, weight)| (format!("unix:{name}"), weight))
        .collect();
    let ends: String = names
        .iter()
        .filter(|name| name.starts_with("up"))
        .map(|name| format!("server {{ listen unix:{name}; access_log off; return 200; }}\n"))
        .collect();
    let upstream = upstream("one_down", &servers, "hash $arg_k consistent;") + &ends;
    let Some(nginx) = start(&upstream, ["one_down"], "error").await else {
        return;
    };
    let keys: Vec<String> = (0..5_000).map(|i| format!("key-{i}")).collect();
    let orders = ask(&nginx, "one_down", &keys).await;
    let (targets, addresses) = targets(&servers);
    let table = Sticky::new(Ring::new(Identity::NginxText, &targets), &targets);
    let policy = Policy::Ring(RingPolicy::default());
    let mut retried = 0;
    for (key, order) in keys.iter().zip(orders) {
        let (mut tried, mut ours) = (Tried::new(), Vec::new());
        loop {
            let ask = question(Some(policy.key(key.as_bytes())), &tried);
            let target = table.pick(&ask, &(), &mut Rng::seeded(0)).expect("three are up");
            ours.push(addresses[target.index()].as_str());
            if !ours.last().is_some_and(|address| address.contains("down")) {
                break;
            }
            tried.insert(target);
        }
        retried += usize::from(ours.len() == 2);
        assert_eq!(ours.join(", "), order, "{key}");
    }
    assert!(
        retried > 1000,
        "only {retried} keys belong to the one that is down"
    );
}

/// All are down: nginx tries one after the other, each once.
#[tokio::test]
async fn all_are_tried_in_the_order_of_nginx() {
    let servers: Servers = (0..4).map(|i| (closed(i), 1 + i as u16)).collect();
    let upstream = upstream("all_down", &servers, "hash $arg_k consistent;");
    let Some(nginx) = start(&upstream, ["all_down"], "error").await else {
        return;
    };
    let keys: Vec<String> = (0..2_000).map(|i| format!("key-{i}")).collect();
    let orders = ask(&nginx, "all_down", &keys).await;
    let (targets, addresses) = targets(&servers);
    let table = Sticky::new(Ring::new(Identity::NginxText, &targets), &targets);
    let policy = Policy::Ring(RingPolicy::default());
    let mut beyond = 0;
    for (key, order) in keys.iter().zip(orders) {
        let (mut tried, mut ours) = (Tried::new(), Vec::new());
        while let Some(target) = table.pick(
            &question(Some(policy.key(key.as_bytes())), &tried),
            &(),
            &mut Rng::seeded(0),
        ) {
            tried.insert(target);
            ours.push(addresses[target.index()].as_str());
        }
        // After twenty points in vain nginx goes on with its round robin, wherever that stands.
        let agree = ours
            .iter()
            .zip(order.split(", "))
            .take_while(|(ours, nginx)| *ours == nginx)
            .count();
        assert!(agree >= 2, "{key}: {ours:?} and {order}");
        beyond += usize::from(agree < 4);
    }
    assert!(beyond < 40, "{beyond} of 2000 keys go another way in the end");
}

fn question(key: Option<u64>, tried: &Tried) -> Ask<'_> {
    let now = Instant::now();
    Ask { key, tried, now }
}

/// The targets, and the address of each as nginx says it.
fn targets(servers: &Servers) -> (Vec<Target>, Vec<String>) {
    let address = |text: &str| match text.parse::<SocketAddr>() {
        Ok(addr) => addr.to_string(),
        Err(_) => match text.get(..5) {
            Some(scheme) if scheme.eq_ignore_ascii_case("unix:") => text.to_owned(),
            _ => format!("{text}:80"),
        },
    };
    let target = |(text, weight): &(String, u16)| (Target::new(text.as_str(), *weight), address(text));
    servers.iter().map(target).unzip()
}

fn upstream(name: &str, servers: &Servers, method: &str) -> String {
    let servers = servers
        .iter()
        .map(|(text, weight)| format!("server {text} weight={weight} max_fails=0;\n"));
    format!(
        "upstream {name} {{ {method}\n{} }}\n",
        servers.collect::<String>()
    )
}

/// An nginx with a location for each of these upstreams, that goes on to the next server as said.
async fn start<'n>(upstreams: &str, names: impl IntoIterator<Item = &'n str>, next: &str) -> Option<Server> {
    let quick = [
        "access_log off;",
        "error_log /dev/null crit;",
        "keepalive_requests 10000000;",
        "server_tokens off;",
    ];
    let builder = Server::builder("nginx").file("http-upstreams.conf", upstreams);
    let builder = quick
        .into_iter()
        .fold(builder, |builder, line| builder.setting(line));
    let location = |name: &str| {
        format!(
            "location = /{name} {{ proxy_pass http://{name}; proxy_next_upstream {next}; error_page 502 = @{name}; }}
             location @{name} {{ return 204; add_header X-Chosen $upstream_addr; }}"
        )
    };
    let answered = "add_header X-Chosen $upstream_addr;";
    names
        .into_iter()
        .fold(builder.setting(answered), |builder, name| {
            builder.setting(location(name))
        })
        .start()
        .await
}

/// Whom nginx chose for each of these keys; several, where it tried several.
async fn ask(nginx: &Server, name: &str, keys: &[String]) -> Vec<String> {
    let (addr, name, keys) = (nginx.addr(), name.to_owned(), keys.to_vec());
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(addr).expect("nginx listens");
        stream
            .set_read_timeout(Some(DEADLINE))
            .expect("a timeout above zero");
        let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone().expect("a second handle"));
        let mut chosen = Vec::with_capacity(keys.len());
        for batch in keys.chunks(BATCH) {
            let questions = batch
                .iter()
                .map(|key| format!("GET /{name}?k={key} HTTP/1.1\r\nHost: x\r\n\r\n"));
            let questions: String = questions.collect();
            stream.write_all(questions.as_bytes()).expect("nginx reads");
            chosen.extend(
                batch
                    .iter()
                    .map(|key| answer(&mut reader).unwrap_or_else(|| panic!("{name}, {key}: no answer"))),
            );
        }
        chosen
    });
    asked.await.expect("nginx answers")
}

/// The header in which nginx says whom it chose.
fn answer(reader: &mut impl BufRead) -> Option<String> {
    let mut headers: HashMap<String, String> = HashMap::new();
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|&length| length > 0)?;
        match line.trim_end().split_once(": ") {
            Some((name, value)) => headers.insert(name.to_ascii_lowercase(), value.to_owned()),
            None if line.trim_end().is_empty() => break,
            None => None,
        };
    }
    let length: usize = headers
        .get("content-length")
        .map_or(Some(0), |length| length.parse().ok())?;
    std::io::copy(&mut reader.take(length as u64), &mut std::io::sink()).ok()?;
    headers.remove("x-chosen")
}
