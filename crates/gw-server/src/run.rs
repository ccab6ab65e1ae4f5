//! From the flags to a gateway that serves, and back down.

use std::error::Error;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use gw_plugins::Registry;
use gw_proxy::{
    AccessLogSink, Address, DnsResolver, Ejection, Gateway, HealthSettings, ListenSocket, Listener,
    OwnAddresses, Server, Settings,
};
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep_until};

use crate::access::Access;
use crate::args::admin::AdminListen;
use crate::args::{AccessLogTo, Args, Command, EjectFor, Workers};
use crate::banner::{Banner, ShownAdmin};
use crate::control::{Control, Parts};
use crate::demo;
use crate::error::StartError;
use crate::listen::Listen;
use crate::logging::{self, Reporting};
use crate::machine::Machine;
use crate::one_line;
use crate::pulse::{Readiness, Status};
use crate::running::{self, Running};
use crate::sockets::{self, Inherited, OWNER_ONLY, Open, Role, Wanted};
use crate::upgrade::{Predecessor, Program};

/// Runs the program with the flags and variables it was started with.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let ended = logging::start(&args.log, args.log_format).and_then(|reporting| {
        let origin = Origin::find()?;
        let control = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|source| StartError::System {
                what: "a control runtime",
                source,
            })?;
        let ended = control.block_on(async {
            match &args.command {
                Some(Command::Proxy { listen, to }) => one_line::run(&args, listen, to, origin).await,
                command => {
                    let samples = match command {
                        Some(Command::Demo { services }) => demo::start(services).await?,
                        _ => Vec::new(),
                    };
                    run(&args, samples, (reporting, origin)).await
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

/// What was there before the runtime: how the program was started, and what others have handed to it.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) program: Program,
    pub(crate) predecessor: Option<Predecessor>,
    pub(crate) inherited: Vec<Inherited>,
}

impl Origin {
    /// Called before any thread is started.
    fn find() -> Result<Self, StartError> {
        let program = Program::this().map_err(|source| StartError::System {
            what: "the path of the program",
            source,
        })?;
        let mut inherited = sockets::activated().map_err(StartError::Activation)?;
        let predecessor = Predecessor::find()?.map(|(predecessor, handed)| {
            inherited.extend(handed);
            predecessor
        });
        Ok(Self {
            program,
            predecessor,
            inherited,
        })
    }
}

/// Starts everything in order of what can fail, and serves until told to stop.
async fn run(
    args: &Args,
    samples: Vec<SocketAddr>,
    (reporting, origin): (Reporting, Origin),
) -> Result<(), StartError> {
    let signals = running::listen_for_signals()?;
    let registry = plugins(&args.plugins)?;
    let kinds = registry
        .kinds()
        .map_err(|error| StartError::Schema(error.into()))?;
    let access = Access::new(&args.admin)?;
    let sockets = sockets::open(wanted(args), origin.inherited)?;
    let admins = admins(args, &access, &sockets)?;
    let own = own_addresses(args, &sockets);
    let gateway = gateway(args, registry.clone(), AccessLogTo::Stdout, own)?;
    let readiness = Readiness::new(Arc::clone(&gateway));
    let banner_admins = banner_admins(&access, &admins);

    // All that may go wrong without the store has gone well.
    let leaving = match origin.predecessor {
        Some(predecessor) => Some(predecessor.prepared().await?),
        None => None,
    };
    let parts = Parts {
        data_dir: args.data_dir.clone(),
        registry,
        kinds,
        gateway: Arc::clone(&gateway),
        settings: shown_settings(args),
        reporting,
        access,
        admins,
    };
    let mut control = Control::open(parts, leaving.is_some()).await?;
    if leaving.is_some() {
        names_are_known(&gateway).await;
    }
    let server = serve(&args.proxy_listen, &gateway, &sockets)?;
    let status = serve_status(&readiness, &sockets)?;
    let predecessor = leaving.as_ref().map(|leaving| leaving.pid);
    if let Some(leaving) = leaving {
        leaving.serving().await?;
    }
    // Last: whoever is told that a change is made finds it made in all that is accepted from then on.
    control.serve()?;
    let store = control.store().view();
    announce(&Banner {
        proxies: args
            .proxy_listen
            .iter()
            .cloned()
            .zip(server.addresses().iter().cloned())
            .collect(),
        admins: banner_admins,
        statuses: addresses(&sockets, Role::Status),
        data_dir: std::path::absolute(&args.data_dir).unwrap_or_else(|_| args.data_dir.clone()),
        revision: store.revision().0,
        workers: gateway.settings().workers,
        samples,
        has_routes: store.list("routes/", None).next().is_some(),
        predecessor,
    });
    drop(store);
    running::tell_ready(predecessor);
    let files = sockets.iter().filter(|open| open.role != Role::Proxy);
    let running = Running {
        args: &args.lifecycle,
        signals,
        program: origin.program,
        files: files.filter_map(Open::file).collect(),
        sockets,
        server,
        control: Some(control),
        status,
        readiness,
    };
    running.until_end().await;
    Ok(())
}

/// The sockets that the flags ask for.
fn wanted(args: &Args) -> Vec<Wanted> {
    let mut wanted = proxies_wanted(&args.proxy_listen, "--proxy-listen");
    let admins = args.admin.admin_listen.iter();
    wanted.extend(admins.filter_map(|listen| other_wanted(Role::Admin, "--admin-listen", listen)));
    wanted.extend(status_wanted(args));
    wanted
}

pub(crate) fn status_wanted(args: &Args) -> Option<Wanted> {
    other_wanted(Role::Status, "--status-listen", &args.lifecycle.status_listen)
}

fn other_wanted(role: Role, flag: &'static str, listen: &AdminListen) -> Option<Wanted> {
    let AdminListen::At { address, .. } = listen else {
        return None;
    };
    Some(Wanted {
        role,
        spec: listen.to_string(),
        address: address.clone(),
        mode: Some(OWNER_ONLY),
        flag,
    })
}

pub(crate) fn proxies_wanted(listens: &[Listen], flag: &'static str) -> Vec<Wanted> {
    let one = |listen: &Listen| Wanted {
        role: Role::Proxy,
        spec: listen.to_string(),
        address: listen.address.clone(),
        mode: listen.mode,
        flag,
    };
    listens.iter().map(one).collect()
}

/// The Admin API's sockets, with whether TLS is spoken there, if it may listen where they are.
fn admins(args: &Args, access: &Access, sockets: &[Open]) -> Result<Vec<(ListenSocket, bool)>, StartError> {
    let mut admins = Vec::new();
    let asked = args.admin.admin_listen.iter().filter_map(|listen| match listen {
        AdminListen::At { tls, .. } => Some(*tls),
        AdminListen::Off => None,
    });
    let opened = sockets.iter().filter(|open| open.role == Role::Admin);
    for (tls, open) in asked.zip(opened) {
        // Where it is, which a service manager may have decided, and not what was asked for.
        let address = open.socket.address().map_err(|source| StartError::System {
            what: "the address of a socket",
            source,
        })?;
        access.check(&address, tls)?;
        admins.push((open.socket()?, tls));
    }
    Ok(admins)
}

fn addresses(sockets: &[Open], role: Role) -> Vec<Address> {
    let of_role = sockets.iter().filter(|open| open.role == role);
    of_role.filter_map(|open| open.socket.address().ok()).collect()
}

fn banner_admins(access: &Access, admins: &[(ListenSocket, bool)]) -> Vec<ShownAdmin> {
    let shown = |(socket, tls): &(ListenSocket, bool)| {
        let address = socket.address().ok()?;
        Some(ShownAdmin {
            is_open: access.is_open(&address, *tls),
            address,
            tls: *tls,
        })
    };
    admins.iter().filter_map(shown).collect()
}

/// Where no service may lead.
pub(crate) fn own_addresses(args: &Args, sockets: &[Open]) -> OwnAddresses {
    let refused = sockets.iter().filter(|open| match open.role {
        Role::Admin => !args.admin.allow_admin_upstream,
        Role::Proxy => !args.admin.allow_proxy_upstream,
        Role::Status => false,
    });
    refused.filter_map(|open| open.socket.address().ok()).collect()
}

pub(crate) fn serve(
    listens: &[Listen],
    gateway: &Arc<Gateway>,
    sockets: &[Open],
) -> Result<Server, StartError> {
    let proxies = sockets.iter().filter(|open| open.role == Role::Proxy);
    let listeners = listens.iter().zip(proxies).map(|(listen, open)| {
        let listener = listen.on(open.socket()?);
        Ok(if open.is_foreign {
            listener.keep_file()
        } else {
            listener
        })
    });
    let listeners = listeners.collect::<Result<Vec<Listener>, StartError>>()?;
    Server::start(Arc::clone(gateway), listeners).map_err(|source| StartError::System {
        what: "worker threads",
        source,
    })
}

pub(crate) fn serve_status(readiness: &Arc<Readiness>, sockets: &[Open]) -> Result<Vec<Status>, StartError> {
    let statuses = sockets.iter().filter(|open| open.role == Role::Status);
    statuses
        .map(|open| Status::serve(readiness, open.socket()?))
        .collect()
}

/// Waits until every name has been looked up once, for a moment at most: nobody is waiting, the process before still serves.
pub(crate) async fn names_are_known(gateway: &Gateway) {
    const PATIENCE: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_millis(10);
    let deadline = Instant::now() + PATIENCE;
    while gateway.names().iter().any(|name| name.pending) && Instant::now() < deadline {
        sleep_until(Instant::now() + PAUSE).await;
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
    own: OwnAddresses,
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
        tls: args.edge.tls(),
        edge: args.edge.settings()?,
        access_log,
        health: health(args.eject_for),
        dns: args.dns.settings(),
        own,
        ..Settings::default()
    };
    let settings = args.limits.over(settings, &Machine::look());
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

/// The settings as `GET /` shows them; there is no secret among them.
fn shown_settings(args: &Args) -> serde_json::Value {
    serde_json::json!({
        "database": "embedded",
        "router_flavor": args.router_flavor.as_str(),
        "proxy_listen": args.proxy_listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "admin_listen": args.admin.admin_listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
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
