//! Behaves as a gateway does at its edges: listens, says where, ends when told to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[expect(clippy::print_stdout, reason = "the banner is what the kit reads")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let value = |flag: &str| {
        args.iter()
            .skip_while(|arg| *arg != flag)
            .nth(1)
            .cloned()
            .unwrap_or_default()
    };
    let dir = PathBuf::from(value("--data-dir"));
    if args.iter().any(|arg| arg == "refuse") {
        eprintln!("data directory {} is held by another process", dir.display());
        return ExitCode::from(3);
    }
    let mut terminate = signal(SignalKind::terminate()).expect("signals can be waited for");
    let mut interrupt = signal(SignalKind::interrupt()).expect("signals can be waited for");
    let (_proxy, proxy) = listen(&value("--proxy-listen")).await;
    let (_admin, admin) = listen(&value("--admin-listen")).await;
    eprintln!("admin listening on http://{admin}");
    println!("proxy listening on http://{proxy} (Ctrl-C stops)");

    let seen = dir.join("starts");
    let starts = std::fs::read_to_string(&seen).unwrap_or_default() + "x";
    std::fs::write(&seen, &starts).expect("the data directory can be written");
    println!("start number {}", starts.len());
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    println!(
        "args {args:?} GW_GREETING={} GW_WORKERS={}",
        variable("GW_GREETING"),
        variable("GW_WORKERS")
    );

    tokio::select! {
        _ = terminate.recv() => println!("terminated"),
        _ = interrupt.recv() => println!("interrupted"),
    }
    ExitCode::SUCCESS
}

async fn listen(addr: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind(addr).await.expect("the address is free");
    let addr = listener.local_addr().expect("it is bound");
    (listener, addr)
}
