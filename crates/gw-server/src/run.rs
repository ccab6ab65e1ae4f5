//! From the flags to a gateway that serves, and back down.

use std::error::Error;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use clap::parser::ValueSource;
use clap::{CommandFactory as _, FromArgMatches as _};
use gw_plugins::Registry;
use gw_plugins::cache::Cache;
use gw_proxy::{
    AccessLogSink, Address, DnsResolver, Ejection, Gateway, HealthSettings, ListenSocket, Listener,
    OwnAddresses, Server, Settings,
};
use tokio::runtime::{Builder, Handle};
use tokio::time::{Instant, sleep_until};

use crate::access::Access;
use crate::alarms::Alarms;
use crate::args::admin::AdminListen;
use crate::args::kong::KongVariables;
use crate::args::secrets::SecretArgs;
use crate::args::store::{MassDeletion, Switch};
use crate::args::{AccessLogTo, Args, Command, EjectFor, Flavor, Workers};
use crate::background::Background;
use crate::banner::{Banner, ShownAdmin};
use crate::commands;
use crate::control::{Control, Kept, Parts, Place};
use crate::demo;
use crate::error::StartError;
use crate::file::{self, Environment};
use crate::listen::Listen;
use crate::logging::{self, Reporting};
use crate::machine::Machine;
use crate::one_line;
use crate::pulse::{Readiness, Source, Status};
use crate::running::{self, Running};
use crate::sockets::{self, Inherited, OWNER_ONLY, Open, Role, SocketFile, Wanted};
use crate::sync::guard::Bounds;
use crate::sync::standing::Lookout;
use crate::upgrade::{Predecessor, Program};

/// Runs the program with the flags and variables it was started with.
#[must_use]
pub fn main() -> ExitCode {
    main_with(Registry::builtin())
}

/// The same with these plugins: the built-in ones and others, as a rule.
///
/// ```no_run
/// # use gw_plugins::Registry;
/// # fn mine(registry: Registry) -> Registry { registry }
/// fn main() -> std::process::ExitCode {
///     gw_server::main_with(mine(Registry::builtin())) // `.with::<Mine>()`
/// }
/// ```
#[must_use]
pub fn main_with(plugins: Registry) -> ExitCode {
    let (args, said) = match parse(plugins) {
        Ok(parsed) => parsed,
        Err(error) => {
            report(&error);
            return ExitCode::FAILURE;
        }
    };
    let ended = logging::start(&args.log, args.log_format).and_then(|reporting| {
        if let Some(ended) = command(&args)? {
            return Ok(ended);
        }
        said.tell();
        let origin = Origin::find()?;
        let background = origin.background;
        let control = Builder::new_current_thread()
            .enable_all()
            .on_thread_start(move || background.give_way())
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
                    run(&args, samples, said.without_database, (reporting, origin)).await
                }
            }
        });
        // What may still hang, a name look-up or a pipe that nobody reads, must not keep the process.
        control.shutdown_background();
        ended.map(|()| ExitCode::SUCCESS)
    });
    match ended {
        Ok(ended) => ended,
        Err(error) => {
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Runs a command that ends by itself, if that is what was asked for.
fn command(args: &Args) -> Result<Option<ExitCode>, StartError> {
    if !args.command.as_ref().is_some_and(Command::ends_by_itself) {
        return Ok(None);
    }
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| StartError::System {
            what: "a runtime",
            source,
        })?;
    Ok(runtime.block_on(commands::run(args)))
}

/// The arguments, with what Kong's variables say where neither a flag nor a variable of ours does.
fn parse(known: Registry) -> Result<(Args, KongVariables), StartError> {
    let plugins: Vec<&str> = known.iter().map(|plugin| plugin.name).collect();
    // What is no text is no setting.
    let variables = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let mut kong = KongVariables::read(variables, &plugins)?;
    let mut command = Args::command();
    for (argument, values) in &kong.defaults {
        // They are as long needed as the program runs.
        let values: Vec<&'static str> = values.iter().map(|value| &*value.clone().leak()).collect();
        command = command.mut_arg(*argument, |arg| arg.default_values(values));
    }
    let matches = command.try_get_matches().unwrap_or_else(|error| exit(&error));
    let mut args = Args::from_arg_matches(&matches).unwrap_or_else(|error| exit(&error));
    args.known = known;
    let by_kong = kong
        .defaults
        .iter()
        .any(|(argument, _)| *argument == "admin_listen")
        && matches.value_source("admin_listen") == Some(ValueSource::DefaultValue);
    if by_kong {
        let notes = KongVariables::tame(&mut args.admin);
        kong.notes.extend(notes);
    }
    Ok((args, kong))
}

/// The status of a command line that is wrong, as `sysexits.h` has it: with 2 `diff` says that something differs.
const USAGE: i32 = 64;

/// Says what is wrong with the command line, or what was asked of it: `--help`, `--version`.
fn exit(error: &clap::Error) -> ! {
    // Who does not listen misses it.
    let _said: std::io::Result<()> = error.print();
    std::process::exit(if error.use_stderr() { USAGE } else { 0 })
}

#[expect(
    clippy::print_stderr,
    reason = "the last words of a program that could not start, also with logging off"
)]
pub(crate) fn report(error: &(dyn Error + 'static)) {
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
    pub(crate) background: Background,
}

impl Origin {
    /// Called before any thread is started; at its end one is, which starts processes.
    fn find() -> Result<Self, StartError> {
        let mut inherited = sockets::activated().map_err(StartError::Activation)?;
        let predecessor = Predecessor::find()?.map(|(predecessor, handed)| {
            inherited.extend(handed);
            predecessor
        });
        let program = Program::this().map_err(|source| StartError::System {
            what: "the path of the program, or a thread to start it from",
            source,
        })?;
        Ok(Self {
            program,
            predecessor,
            inherited,
            background: Background::beside_this(),
        })
    }
}

/// Starts everything in order of what can fail, and serves until told to stop.
async fn run(
    args: &Args,
    samples: Vec<SocketAddr>,
    without_database: bool,
    (reporting, origin): (Reporting, Origin),
) -> Result<(), StartError> {
    let signals = running::listen_for_signals()?;
    let resolver = resolver(args)?;
    let registry = plugins(args)?.lent(gw_proxy::lender(Handle::current(), resolver.clone()));
    registry.env().shared().get::<Cache>().bound(args.limits.cache());
    let kinds = args.secrets.kinds(&registry)?;
    let access = Access::new(&args.admin)?;
    let sockets = sockets::open(wanted(args), origin.inherited)?;
    let admins = admins(args, &access, &sockets)?;
    let own = own_addresses(args, &sockets);
    let gateway = gateway(args, registry.clone(), resolver, (AccessLogTo::Stdout, own))?;
    let place = place(args, without_database);
    SecretArgs::tell(&kinds, &place);
    let lookout = Lookout::new();
    let readiness = Readiness::new(Arc::clone(&gateway), source(args, &place, &lookout));
    let banner_admins = banner_admins(&access, &admins);

    // All that may go wrong without the store has gone well.
    let leaving = Predecessor::leaving(origin.predecessor).await?;
    let parts = Parts {
        place: place.clone(),
        unknown_plugins: args.file.unknown_plugins.into(),
        registry,
        kinds,
        gateway: Arc::clone(&gateway),
        settings: shown_settings(args, &place),
        reporting,
        access,
        bounds: bounds(args),
        lookout,
        alarms: Alarms::default(),
        started: SystemTime::now(),
        admins,
    };
    let mut control = Control::open(parts, leaving.is_some()).await?;
    readiness.name(control.node().id);
    if leaving.is_some() {
        names_are_known(&gateway).await;
    }
    let server = serve(&args.proxy_listen, &gateway, &sockets)?;
    origin.background.give_way();
    let status = serve_status(&readiness, &sockets)?;
    let predecessor = leaving.as_ref().map(|leaving| leaving.pid);
    if let Some(leaving) = leaving {
        leaving.serving().await?;
    }
    // Requests did not need it.
    let store = control.store().indexed().await;
    // Last: whoever is told that a change is made finds it made in all that is accepted from then on.
    control.serve()?;
    announce(&Banner {
        proxies: proxies(args, server.addresses()),
        admins: banner_admins,
        statuses: addresses(&sockets, Role::Status),
        place,
        revision: store.revision().0,
        workers: gateway.settings().workers,
        samples,
        has_routes: store.list("routes/", None).next().is_some(),
        predecessor,
    });
    drop(store);
    running::tell_ready(predecessor);
    let running = Running {
        args: &args.lifecycle,
        signals,
        program: origin.program,
        files: files(&sockets),
        sockets,
        server,
        control: Some(control),
        status,
        readiness,
    };
    running.until_end().await;
    Ok(())
}

/// Where proxy listeners were asked for, and where they are.
fn proxies(args: &Args, addresses: &[Address]) -> Vec<(Listen, Address)> {
    let asked = args.proxy_listen.iter().cloned();
    asked.zip(addresses.iter().cloned()).collect()
}

/// The files of sockets that are not the data plane's.
fn files(sockets: &[Open]) -> Vec<SocketFile> {
    let others = sockets.iter().filter(|open| open.role != Role::Proxy);
    others.filter_map(Open::file).collect()
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

/// Where the configuration is.
fn place(args: &Args, without_database: bool) -> Place {
    if args.file.config.is_some() || (without_database && args.store.store.is_none()) {
        let environment = Environment {
            unknown_plugins: args.file.unknown_plugins.into(),
        };
        return Place::File {
            path: args.file.config.clone(),
            environment,
        };
    }
    Place::Store(Kept {
        url: args.store.store.clone(),
        data_dir: args.data_dir.clone(),
    })
}

/// Where that is, for the Status API.
fn source(args: &Args, place: &Place, lookout: &Lookout) -> Source {
    match place {
        Place::File { .. } => Source::File,
        Place::Store(_) => Source::Store {
            lookout: lookout.clone(),
            ready_when_stale: args.store.ready_when_stale == Switch::On,
        },
    }
}

/// What a change of what is stored may remove by itself.
pub(crate) fn bounds(args: &Args) -> Option<Bounds> {
    /// So many objects are few, whatever their share.
    const FEW: usize = 10;
    match args.store.mass_deletion {
        MassDeletion::Off => None,
        MassDeletion::Above(share) => Some(Bounds { share, few: FEW }),
    }
}

/// The plugins that run with these flags.
pub(crate) fn plugins(args: &Args) -> Result<Registry, StartError> {
    let registry = &args.known;
    let mut wanted: Vec<&str> = Vec::new();
    for name in &args.plugins {
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

/// Who looks up names, for upstreams and for plugins.
pub(crate) fn resolver(args: &Args) -> Result<Arc<DnsResolver>, StartError> {
    let resolver = DnsResolver::new(args.dns.options()).map_err(|source| StartError::System {
        what: "a resolver",
        source,
    })?;
    Ok(Arc::new(resolver))
}

/// The data plane as the flags say; `log_to` is where the access log goes unless they say otherwise.
pub(crate) fn gateway(
    args: &Args,
    registry: Registry,
    resolver: Arc<DnsResolver>,
    (log_to, own): (AccessLogTo, OwnAddresses),
) -> Result<Arc<Gateway>, StartError> {
    let log_to = args.access_log.clone().unwrap_or(log_to);
    let access_log = match &log_to {
        AccessLogTo::Off => AccessLogSink::Off,
        AccessLogTo::Stdout => AccessLogSink::Stdout,
        AccessLogTo::File(path) => AccessLogSink::File(path.clone()),
    };
    let settings = Settings {
        workers: workers(args.workers),
        router_flavor: flavor(args).into(),
        tls: args.edge.tls(),
        edge: args.edge.settings()?,
        access_log,
        health: health(args.eject_for),
        dns: args.dns.settings(),
        own,
        traffic: args.traffic.settings(),
        ..Settings::default()
    };
    let settings = args.limits.over(settings, &Machine::look());
    Gateway::new(registry, settings, Handle::current(), resolver).map_err(|source| StartError::AccessLog {
        to: log_to.to_string(),
        source,
    })
}

/// By which rules routes are ranked: those asked for, else those of the product whose file it is.
fn flavor(args: &Args) -> Flavor {
    let of_file = || {
        let path = args
            .file
            .config
            .as_deref()
            .filter(|path| *path != Path::new("-"))?;
        let text = file::read(path).ok()?;
        gw_admin::declarative::is_apisix(&text).then_some(Flavor::Radix)
    };
    args.router_flavor.or_else(of_file).unwrap_or(Flavor::Kong)
}

/// The settings as `GET /` shows them; there is no secret among them.
fn shown_settings(args: &Args, place: &Place) -> serde_json::Value {
    let (database, kept) = match place {
        Place::Store(kept) if kept.is_shared() => ("etcd", Some(kept)),
        Place::Store(kept) => ("embedded", Some(kept)),
        Place::File { .. } => ("off", None),
    };
    serde_json::json!({
        "database": database,
        "declarative_config": args.file.config,
        "router_flavor": flavor(args).as_str(),
        "proxy_listen": args.proxy_listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "admin_listen": args.admin.admin_listen.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "data_dir": kept.map(|kept| &kept.data_dir),
        "store": kept.map(ToString::to_string),
        "mass_deletion": args.store.mass_deletion.to_string(),
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
