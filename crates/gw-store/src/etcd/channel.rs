//! The way to one member: a connection, the token it was let in with, and what its errors mean.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;
use tonic::{Code, Request, Status};

use super::address::{Member, Password, User};
use super::connection::Connection;
use super::tls::Tls;
use super::wire::{AuthClient, AuthenticateRequest, KvClient, LeaseClient, WatchClient, one};
use crate::log::BoxError;

/// How long one member may take to be connected to and to answer first.
const DIAL: Duration = Duration::from_secs(3);

/// Bound: the largest answer: a page of commits, or of parts.
const ANSWER: usize = 64 * 1024 * 1024;

/// Clones are the same way.
#[derive(Clone)]
pub(super) struct Channel {
    connection: Connection,
    /// Which member it leads to.
    pub(super) member: usize,
    /// Which of all ways that were opened this is.
    pub(super) number: u64,
    token: Arc<Mutex<Option<AsciiMetadataValue>>>,
}

/// Why there is no way to a member.
pub(super) enum DialError {
    /// The user may not come in, here or anywhere.
    Denied(Status),
    /// It cannot be used now; `alive` if it did answer.
    Unusable { alive: bool, source: BoxError },
}

/// What an error of etcd's means for the one who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A new token is needed.
    Token,
    /// The user may not do it.
    Denied,
    /// The cluster will not do it, whoever asks.
    Refused,
    /// This member cannot say; another one may.
    Elsewhere,
}

impl Channel {
    /// Connects, logs in, and sees to it that the member can tell the value of `probe`, for which it needs a quorum.
    pub(super) async fn open(
        (member, number): (usize, u64),
        address: Member,
        tls: Option<Arc<Tls>>,
        user: Option<User>,
        probe: String,
    ) -> Result<Self, DialError> {
        let dialing = async {
            let connection = Connection::open(&address, tls.as_deref()).await;
            let channel = Self {
                connection: connection.map_err(|source| DialError::Unusable { alive: false, source })?,
                member,
                number,
                token: Arc::default(),
            };
            if let Some(user) = &user {
                channel
                    .log_in(user)
                    .await
                    .map_err(|status| refusal(status, true))?;
            }
            let probing = channel.kv().range(channel.request(one(probe))).await;
            match probing.map_err(|status| refusal(status, user.is_some())) {
                // What the user may read shows when it is read.
                Ok(_) | Err(DialError::Denied(_)) => Ok(channel),
                Err(error) => Err(error),
            }
        };
        timeout(DIAL, dialing).await.unwrap_or_else(|late| {
            Err(DialError::Unusable {
                alive: false,
                source: late.into(),
            })
        })
    }

    pub(super) fn is_closed(&self) -> bool {
        self.connection.is_closed()
    }

    pub(super) fn kv(&self) -> KvClient<Connection> {
        KvClient::with_origin(self.connection.clone(), self.connection.origin.clone())
            .max_decoding_message_size(ANSWER)
    }

    pub(super) fn watch(&self) -> WatchClient<Connection> {
        WatchClient::with_origin(self.connection.clone(), self.connection.origin.clone())
    }

    pub(super) fn lease(&self) -> LeaseClient<Connection> {
        LeaseClient::with_origin(self.connection.clone(), self.connection.origin.clone())
    }

    /// A request that says who asks, and that a member without a leader shall say so instead of waiting for one.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request
            .metadata_mut()
            .insert("hasleader", AsciiMetadataValue::from_static("true"));
        if let Some(token) = &*self.token.lock().unwrap_or_else(PoisonError::into_inner) {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }

    /// Gets a token, in place of the one there is.
    pub(super) async fn log_in(&self, user: &User) -> Result<(), Status> {
        let password = match &user.password {
            Password::Plain(password) => password.clone(),
            Password::File(path) => {
                let read = std::fs::read_to_string(path).map_err(|error| {
                    Status::permission_denied(format!(
                        "the password file `{}` cannot be read: {error}",
                        path.display()
                    ))
                });
                read?.trim_end_matches(['\r', '\n']).to_owned()
            }
        };
        let request = AuthenticateRequest {
            name: user.name.clone(),
            password,
        };
        let mut auth = AuthClient::with_origin(self.connection.clone(), self.connection.origin.clone());
        let token = match auth.authenticate(request).await {
            Ok(answer) => {
                let token = AsciiMetadataValue::try_from(answer.into_inner().token);
                Some(token.map_err(|_| Status::internal("the token is not text"))?)
            }
            // A cluster that does not ask who one is takes everybody.
            Err(status) if status.message().contains("authentication is not enabled") => None,
            Err(status) => return Err(status),
        };
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
        Ok(())
    }
}

impl Meaning {
    /// Reads an error; `known` if there is a user whose token can be renewed.
    pub(super) fn of(status: &Status, known: bool) -> Self {
        let text = status.message();
        match status.code() {
            Code::Unauthenticated if known => Self::Token,
            // Users or roles were changed while the request was under way.
            Code::InvalidArgument if text.contains("revision of auth store is old") => Self::Token,
            // Authentication was turned on after this way was opened.
            Code::InvalidArgument if text.contains("user name is empty") && known => Self::Token,
            Code::InvalidArgument if text.contains("user name is empty") => Self::Denied,
            Code::InvalidArgument if text.contains("authentication failed") => Self::Denied,
            Code::Unauthenticated | Code::PermissionDenied => Self::Denied,
            Code::ResourceExhausted if text.contains("too many requests") => Self::Elsewhere,
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::DataLoss => Self::Refused,
            _ => Self::Elsewhere,
        }
    }
}

fn refusal(status: Status, known: bool) -> DialError {
    match Meaning::of(&status, known) {
        Meaning::Denied => DialError::Denied(status),
        // A token this new that does not count is one of a change of users that is under way.
        Meaning::Token | Meaning::Refused | Meaning::Elsewhere => DialError::Unusable {
            alive: true,
            source: status.into(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart() {
        for (code, text, anonymous, known) in [
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Meaning::Denied,
                Meaning::Denied,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Meaning::Denied,
                Meaning::Token,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: user name is empty",
                Meaning::Denied,
                Meaning::Token,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: revision of auth store is old",
                Meaning::Token,
                Meaning::Token,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: authentication failed, invalid user ID or password",
                Meaning::Denied,
                Meaning::Denied,
            ),
            (
                Code::InvalidArgument,
                "etcdserver: request is too large",
                Meaning::Refused,
                Meaning::Refused,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Meaning::Refused,
                Meaning::Refused,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Meaning::Elsewhere,
                Meaning::Elsewhere,
            ),
            (
                Code::Unavailable,
                "etcdserver: no leader",
                Meaning::Elsewhere,
                Meaning::Elsewhere,
            ),
            (
                Code::Unavailable,
                "etcdserver: leader changed",
                Meaning::Elsewhere,
                Meaning::Elsewhere,
            ),
            (
                Code::DeadlineExceeded,
                "context deadline exceeded",
                Meaning::Elsewhere,
                Meaning::Elsewhere,
            ),
            (
                Code::Unknown,
                "transport error",
                Meaning::Elsewhere,
                Meaning::Elsewhere,
            ),
        ] {
            let status = Status::new(code, text);
            assert_eq!(
                Meaning::of(&status, false),
                anonymous,
                "{text}, nobody in particular"
            );
            assert_eq!(Meaning::of(&status, true), known, "{text}, a user");
        }
    }
}
