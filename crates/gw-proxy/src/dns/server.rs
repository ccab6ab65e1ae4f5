//! One name server, and the rule by which several are asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use std::{fmt, io};

use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ProtocolConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle as _, FirstAnswer as _};
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::conf::Conf;
use crate::lock;

/// The name servers, in the order they are asked.
pub(super) struct Servers {
    list: Vec<Server>,
    options: DnsRequestOptions,
    timeout: Duration,
    attempts: u32,
}

struct Server {
    address: SocketAddr,
    pool: NameServerPool<TokioRuntimeProvider>,
    /// Until when others are asked before it, because it did not answer.
    silent_until: Mutex<Option<Instant>>,
}

/// What a server says of a name.
#[derive(Debug)]
pub(super) enum Reply {
    Answer(Box<DnsResponse>),
    /// The name has no such record.
    NoData,
    /// There is no such name.
    NoName,
}

/// Why no server has said anything of use.
#[derive(Debug)]
pub(super) enum Unanswered {
    /// One answered that it cannot say: it may know other names.
    Refused(io::Error),
    /// None answered at all.
    Silent(io::Error),
}

/// How long the first round waits for a server if there are others to ask.
const GLANCE: Duration = Duration::from_secs(1);
/// How long a server that did not answer is asked last.
const SILENCE: Duration = Duration::from_secs(30);
/// Bound: questions to one server under way at once.
const QUESTIONS: usize = 1024;

impl Servers {
    pub(super) fn new(conf: &Conf) -> io::Result<Self> {
        let tls = || TlsConfig::new().map_err(io::Error::other);
        let mut options = ResolverOpts::default();
        options.timeout = conf.timeout;
        options.edns0 = conf.edns0;
        options.max_active_requests = QUESTIONS;
        let servers = conf.servers.iter().map(|&address| {
            let connections = [ProtocolConfig::Udp, ProtocolConfig::Tcp].map(|protocol| {
                let mut connection = ConnectionConfig::new(protocol);
                connection.port = address.port();
                connection
            });
            let config = NameServerConfig::new(address.ip(), true, connections.into());
            let context = Arc::new(PoolContext::new(options.clone(), tls()?));
            Ok(Server {
                address,
                pool: NameServerPool::from_config([config], context, TokioRuntimeProvider::default()),
                silent_until: Mutex::default(),
            })
        });
        let mut request = DnsRequestOptions::default();
        request.use_edns = conf.edns0;
        Ok(Self {
            list: servers.collect::<io::Result<_>>()?,
            options: request,
            timeout: conf.timeout,
            attempts: conf.attempts,
        })
    }

    /// Asks one server after the other until one says whether there is such a record.
    ///
    /// In order, as the system does, but one that has not answered lately is asked last. One that says it cannot say is
    /// passed over.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<Reply, Unanswered> {
        let mut refused = None;
        let mut silent = io::Error::from(io::ErrorKind::TimedOut);
        let last_round = self.attempts.max(2);
        for round in 1..=last_round {
            // A glance at each before any is waited for.
            let patience = if round == 1 {
                GLANCE.min(self.timeout)
            } else {
                self.timeout
            };
            for server in self.in_turn() {
                match server.ask(name, kind, self.options, patience).await {
                    Ok(reply) => return Ok(reply),
                    Err(Unanswered::Refused(error)) => refused = Some(error),
                    Err(Unanswered::Silent(error)) => silent = error,
                }
            }
            if refused.is_some() {
                break;
            }
        }
        Err(refused.map_or(Unanswered::Silent(silent), Unanswered::Refused))
    }

    fn in_turn(&self) -> Vec<&Server> {
        let now = Instant::now();
        let mut turn: Vec<&Server> = self.list.iter().collect();
        turn.sort_by_key(|server| lock(&server.silent_until).is_some_and(|until| now < until));
        turn
    }
}

impl Server {
    async fn ask(
        &self,
        name: &Name,
        kind: RecordType,
        options: DnsRequestOptions,
        patience: Duration,
    ) -> Result<Reply, Unanswered> {
        let request = DnsRequest::from_query(Query::query(name.clone(), kind), options);
        let answer = tokio::time::timeout(patience, self.pool.send(request).first_answer()).await;
        let answer = answer.unwrap_or(Err(NetError::Timeout));
        let silent = matches!(&answer, Err(error) if !matches!(error, NetError::Dns(_)));
        *lock(&self.silent_until) = silent.then(|| Instant::now() + SILENCE);
        let error = |what: &dyn fmt::Display| io::Error::other(format!("{}: {what}", self.address));
        match answer {
            Ok(response)
                if response.response_code == ResponseCode::NXDomain && response.answers.is_empty() =>
            {
                Ok(Reply::NoName)
            }
            Ok(response) => Ok(Reply::Answer(Box::new(response))),
            Err(NetError::Dns(DnsError::NoRecordsFound(none))) => match none.response_code {
                ResponseCode::NXDomain => Ok(Reply::NoName),
                ResponseCode::NoError => Ok(Reply::NoData),
                code => Err(Unanswered::Refused(error(&code))),
            },
            Err(NetError::Dns(DnsError::ResponseCode(code))) => Err(Unanswered::Refused(error(&code))),
            Err(NetError::Timeout) => {
                let text = format!("{} does not answer", self.address);
                Err(Unanswered::Silent(io::Error::new(io::ErrorKind::TimedOut, text)))
            }
            Err(other) => Err(Unanswered::Silent(error(&other))),
        }
    }
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list()
            .entries(self.list.iter().map(|server| server.address))
            .finish()
    }
}
