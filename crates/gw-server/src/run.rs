//! From the flags to a gateway that serves, and back down.

use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use gw_admin::{AdminApi, StoreIndex};
use gw_plugins::Registry;
use gw_proxy::{
    AccessLogSink, DnsResolver, Ejection, Gateway, HealthSettings, Listener, Server, Settings, TlsSettings,
};
use gw_store::Store;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tracing::{info, warn};

use crate::args::{AccessLogTo, Args, Command, EjectFor, Workers};
use crate::banner::Banner;
use crate::demo;
use crate::error::StartError;
use crate::listen::Listen;
use crate::logging::{self, Reporting};
use crate::one_line;
use crate::ports::{self, ThisNode};
use crate::signal::Stop;
use crate::sync::Sync;

/// Runs the program with the flags and variables it was started with.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let ended = logging::start(&args.log, args.log_format).and_then(|reporting| {
        let control = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| StartError::System {
                what: "a control runtime",
                source,
            })?;
        let ended = control.block_on(async {
            match &args.command {
                Some(Command::Proxy { listen, to }) => one_line::run(&args, listen, to).await,
                command => {
                    let samples = match command {
                        Some(Command::Demo { services }) => demo::start(services).await?,
                        _ => Vec::new(),
                    };
                    run(&args, samples, reporting).await
                }
            }
        });
        // What may still hang, a name look-up or a pipe that nobody reads, must not keep the process.
        control.shutdown_background();
        ended
    });
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a program that could not start, also with logging off"
)]
fn report(error: &StartError) {
    eprint!("error: {error}");
    let mut cause = error.source();
    while let Some(error) = cause {
        eprint!(": {error}");
        cause = error.source();
    }
    eprintln!();
}

/// Starts everything in order of what can fail, serves until told to stop, and lets go in reverse.
async fn run(args: &Args, samples: Vec<SocketAddr>, reporting: Reporting) -> Result<(), StartError> {
    let mut stop = Stop::listen().map_err(|source| StartError::System {
        what: "signal handlers",
        source,
    })?;
    let registry = plugins(&args.plugins)?;
    let kinds = registry
        .kinds()
        .map_err(|error| StartError::Schema(error.into()))?;
    let proxies = bind_proxies(&args.proxy_listen, "--proxy-listen")?;
    let admin = bind_admin(args.admin_listen).await?;
    let admin_address = admin
        .local_addr()
        .map_err(|source| listen(args.admin_listen, source))?;

    let store = open_store(args, StoreIndex::new(kinds.clone())).await?;
    let node = ports::node(&args.data_dir).map_err(|source| StartError::System {
        what: "a node id",
        source,
    })?;
    let gateway = gateway(args, registry.clone(), AccessLogTo::Stdout)?;
    let sync = Sync::start(&store, kinds.clone(), Arc::clone(&gateway));
    let ports = Arc::new(ThisNode {
        applied: sync.applied(),
        gateway: Arc::clone(&gateway),
        node,
        settings: shown_settings(args),
        reporting,
    });
    let sync = tokio::spawn(sync.run(store.clone()));

    let server = Server::start(Arc::clone(&gateway), proxies).map_err(|source| StartError::System {
        what: "worker threads",
        source,
    })?;
    let (admin_stop, stopped) = oneshot::channel::<()>();
    let api = AdminApi::new(store.clone(), registry, kinds, ports);
    let admin = tokio::spawn(api.serve(admin, async move {
        // Note: a dropped sender stops the API as well.
        let _ended = stopped.await;
    }));
    announce(&Banner {
        proxies: args
            .proxy_listen
            .iter()
            .copied()
            .zip(server.addresses().iter().copied())
            .collect(),
        admin: admin_address,
        data_dir: std::path::absolute(&args.data_dir).unwrap_or_else(|_| args.data_dir.clone()),
        revision: store.view().revision().0,
        workers: gateway.settings().workers,
        samples,
        has_routes: store.view().list("routes/", None).next().is_some(),
    });

    let signal = stop.next().await;
    drop(admin_stop);
    drain(server, &mut stop, signal, args.shutdown_grace).await;
    if let Err(error) = admin.await {
        warn!(%error, "the Admin API ended badly");
    }
    store.close().await;
    if let Err(error) = sync.await {
        warn!(%error, "the sync loop ended badly");
    }
    Ok(())
}

/// Lets requests in flight finish, unless told a second time.
pub(crate) async fn drain(server: Server, stop: &mut Stop, signal: &str, grace: Duration) {
    info!(
        signal,
        ?grace,
        "stopping: no new connections, requests in flight may finish"
    );
    tokio::select! {
        drained = server.shutdown(grace) => info!(cut = drained.cut, "stopped serving"),
        signal = stop.next() => warn!(signal, "asked twice, ending at once"),
    }
}

fn plugins(names: &[String]) -> Result<Registry, StartError> {
    let registry = Registry::builtin();
    let mut wanted: Vec<&str> = Vec::new();
    for name in names {
        match name.trim() {
            "bundled" => wanted.extend(registry.iter().map(|plugin| plugin.name)),
            "off" | "" => {}
            name => wanted.push(name),
        }
    }
    Ok(registry.only(&wanted)?)
}

fn workers(workers: Workers) -> usize {
    match workers {
        Workers::Exactly(count) => count,
        Workers::Auto => std::thread::available_parallelism().map_or(1, usize::from),
    }
}

fn health(eject_for: EjectFor) -> HealthSettings {
    let settings = HealthSettings::default();
    match eject_for {
        EjectFor::Off => HealthSettings {
            by_default: false,
            ..settings
        },
        EjectFor::AtFirst(first) => HealthSettings {
            ejection: Ejection {
                first,
                ..settings.ejection
            },
            ..settings
        },
    }
}

/// The data plane as the flags say; `log_to` is where the access log goes unless they say otherwise.
pub(crate) fn gateway(
    args: &Args,
    registry: Registry,
    log_to: AccessLogTo,
) -> Result<Arc<Gateway>, StartError> {
    let log_to = args.access_log.clone().unwrap_or(log_to);
    let access_log = match &log_to {
        AccessLogTo::Off => AccessLogSink::Off,
        AccessLogTo::Stdout => AccessLogSink::Stdout,
        AccessLogTo::File(path) => AccessLogSink::File(path.clone()),
    };
    let settings = Settings {
        workers: workers(args.workers),
        router_flavor: args.router_flavor.into(),
        tls: TlsSettings {
            min_version: args.tls_min_version.into(),
        },
        access_log,
        health: health(args.eject_for),
        dns: args.dns.settings(),
        ..Settings::default()
    };
    let resolver = DnsResolver::new(args.dns.options()).map_err(|source| StartError::System {
        what: "a resolver",
        source,
    })?;
    let resolver = Arc::new(resolver);
    Gateway::new(registry, settings, Handle::current(), resolver).map_err(|source| StartError::AccessLog {
        to: log_to.to_string(),
        source,
    })
}

pub(crate) fn bind_proxies(wanted: &[Listen], flag: &'static str) -> Result<Vec<Listener>, StartError> {
    let bind = |listen: &Listen| {
        let bound = TcpListener::bind(listen.address).map_err(|source| StartError::Listen {
            address: listen.address,
            what: "clients",
            flag,
            source,
        });
        Ok(listen.on(bound?))
    };
    wanted.iter().map(bind).collect()
}

async fn bind_admin(address: SocketAddr) -> Result<tokio::net::TcpListener, StartError> {
    tokio::net::TcpListener::bind(address)
        .await
        .map_err(|source| listen(address, source))
}

fn listen(address: SocketAddr, source: std::io::Error) -> StartError {
    StartError::Listen {
        address,
        what: "the Admin API",
        flag: "--admin-listen",
        source,
    }
}

async fn open_store(args: &Args, index: StoreIndex) -> Result<Store, StartError> {
    let failed = |source| StartError::Store {
        data_dir: args.data_dir.clone(),
        source,
    };
    gw_store::open(&format!("file:{}", args.data_dir.display()), index)
        .await
        .map_err(failed)
}

/// The settings as `GET /` shows them; there is no secret among them.
fn shown_settings(args: &Args) -> serde_json::Value {
    serde_json::json!({
        "database": "embedded",
        "router_flavor": args.router_flavor.as_str(),
        "proxy_listen": args.proxy_listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "admin_listen": [args.admin_listen],
        "data_dir": args.data_dir,
        "plugins": args.plugins,
        "log_level": args.log,
    })
}

#[expect(
    clippy::print_stderr,
    reason = "the banner is for the person who typed the command"
)]
fn announce(banner: &Banner) {
    eprint!("{banner}");
}
