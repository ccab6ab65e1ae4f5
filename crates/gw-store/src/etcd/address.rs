//! `etcd://` addresses: members, prefix, user and TLS files.

use std::fmt;
use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::error::OpenError;

/// etcd's port for clients.
const PORT: u16 = 2379;

/// Where keys are if the address does not say.
const PREFIX: &str = "/gw";

/// What an address says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) members: Vec<Member>,
    pub(super) prefix: String,
    pub(super) user: Option<User>,
    pub(super) tls: Option<TlsFiles>,
}

/// One of the cluster's servers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// Without the brackets of an IPv6 address.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Who to be. Its `Debug` shows no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct User {
    pub(super) name: String,
    pub(super) password: Password,
}

/// Where the password is from; a file is read each time it is asked for.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Password {
    Plain(String),
    File(PathBuf),
}

/// The files TLS needs; with no `ca`, the system's authorities count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TlsFiles {
    pub(super) ca: Option<PathBuf>,
    pub(super) cert: Option<PathBuf>,
    pub(super) key: Option<PathBuf>,
    /// The name the members' certificates are for, where that is not the host of the address.
    pub(super) server_name: Option<String>,
}

impl Address {
    /// Reads `etcd://[user[:password]@]host[:port],…[/prefix][?option=value&…]`, or the same with `etcds://`.
    pub(super) fn parse(url: &str) -> Result<Self, OpenError> {
        Self::read(url).map_err(|why| OpenError::BadEtcdUrl {
            url: without_secret(url).into(),
            why: why.into(),
        })
    }

    fn read(url: &str) -> Result<Self, String> {
        let (secure, rest) = match (url.strip_prefix("etcds://"), url.strip_prefix("etcd://")) {
            (Some(rest), _) => (true, rest),
            (None, Some(rest)) => (false, rest),
            (None, None) => return Err("it begins with neither `etcd://` nor `etcds://`".to_owned()),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (Some(user), hosts),
            None => (None, authority),
        };
        let members = hosts.split(',').map(member).collect::<Result<Vec<_>, _>>()?;
        let mut prefix = decoded(path)?.trim_end_matches('/').to_owned();
        if prefix.is_empty() {
            PREFIX.clone_into(&mut prefix);
        }
        let mut user = user.filter(|user| !user.is_empty()).map(named).transpose()?;
        let mut files = TlsFiles::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let value = value.into_owned();
            if value.is_empty() {
                return Err(format!("`{name}` has no value"));
            }
            match &*name {
                "ca" => files.ca = Some(value.into()),
                "cert" => files.cert = Some(value.into()),
                "key" => files.key = Some(value.into()),
                "server_name" => files.server_name = Some(value),
                "password_file" => give(&mut user, Password::File(value.into()))?,
                "password_env" => {
                    let password = std::env::var(&value)
                        .map_err(|_| format!("the environment has no variable `{value}`"))?;
                    give(&mut user, Password::Plain(password))?;
                }
                _ => {
                    return Err(format!(
                        "there is no option `{name}`; there are ca, cert, key, server_name, password_file and password_env"
                    ));
                }
            }
        }
        if !secure && files != TlsFiles::default() {
            return Err("it names files for TLS; begin it with `etcds://`".to_owned());
        }
        if files.cert.is_some() != files.key.is_some() {
            return Err("`cert` and `key` belong together; give both or neither".to_owned());
        }
        if user
            .as_ref()
            .is_some_and(|user| user.password == Password::Plain(String::new()))
        {
            return Err(
                "the user has no password; add `:password`, `password_file` or `password_env`".to_owned(),
            );
        }
        Ok(Self {
            members,
            prefix,
            user,
            tls: secure.then_some(files),
        })
    }
}

/// The address as messages show it: without user and options.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.tls.is_some() { "etcds://" } else { "etcd://" })?;
        for (n, member) in self.members.iter().enumerate() {
            write!(f, "{}{member}", if n > 0 { "," } else { "" })?;
        }
        f.write_str(&self.prefix)
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

fn member(text: &str) -> Result<Member, String> {
    let bad = || format!("`{text}` is not a host with an optional port");
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
        (
            host,
            rest.strip_prefix(':')
                .or(rest.is_empty().then_some(""))
                .ok_or_else(bad)?,
        )
    } else {
        text.split_once(':').unwrap_or((text, ""))
    };
    let port = match port {
        "" => PORT,
        digits => digits.parse().ok().filter(|port| *port > 0).ok_or_else(bad)?,
    };
    if host.is_empty() || host.contains(|letter: char| letter.is_whitespace() || "/@?#%".contains(letter)) {
        return Err(bad());
    }
    Ok(Member {
        host: host.to_owned(),
        port,
    })
}

fn named(text: &str) -> Result<User, String> {
    let (name, password) = text.split_once(':').unwrap_or((text, ""));
    Ok(User {
        name: decoded(name)?,
        password: Password::Plain(decoded(password)?),
    })
}

fn give(user: &mut Option<User>, password: Password) -> Result<(), String> {
    let user = user
        .as_mut()
        .ok_or("it has a password and no user; write `user@` before the hosts")?;
    if user.password != Password::Plain(String::new()) {
        return Err("it has two passwords; give one".to_owned());
    }
    user.password = password;
    Ok(())
}

fn decoded(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded
        .map(Into::into)
        .map_err(|_| "it is not UTF-8 once decoded".to_owned())
}

/// For messages about an address that could not be read: whatever may be a password is left out.
fn without_secret(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("etcd", url));
    match rest.rsplit_once('@') {
        Some((_, hosts)) => format!("{scheme}://***@{hosts}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(list: &[(&str, u16)]) -> Vec<Member> {
        let member = |&(host, port): &(&str, u16)| Member {
            host: host.to_owned(),
            port,
        };
        list.iter().map(member).collect()
    }

    #[test]
    fn an_address_says_where_and_who() {
        let plain = Address::parse("etcd://a,b:1,[::1]:7,[fe80::1]").unwrap();
        assert_eq!(
            plain.members,
            members(&[("a", 2379), ("b", 1), ("::1", 7), ("fe80::1", 2379)])
        );
        assert_eq!(
            (plain.prefix.as_str(), &plain.user, &plain.tls),
            ("/gw", &None, &None)
        );
        assert_eq!(plain.to_string(), "etcd://a:2379,b:1,[::1]:7,[fe80::1]:2379/gw");

        let full = "etcds://ann:s%40cret@a/my/gw/?ca=%2Fca.pem&cert=c.pem&key=k.pem&server_name=etcd.local";
        let full = Address::parse(full).unwrap();
        assert_eq!(full.prefix, "/my/gw");
        assert_eq!(full.user.as_ref().unwrap().name, "ann");
        assert!(full.user.as_ref().unwrap().password == Password::Plain("s@cret".to_owned()));
        let files = full.tls.clone().unwrap();
        assert_eq!(files.ca.unwrap().to_str(), Some("/ca.pem"));
        assert_eq!(files.server_name.unwrap(), "etcd.local");
        assert_eq!(full.to_string(), "etcds://a:2379/my/gw", "no user, no password");
        assert!(!format!("{full:?}").contains("s@cret"));

        let file = Address::parse("etcd://ann@a?password_file=/run/pw").unwrap();
        assert!(file.user.unwrap().password == Password::File("/run/pw".into()));
    }

    #[test]
    fn what_is_wrong_with_an_address_is_said_without_its_password() {
        for (url, why) in [
            ("etcd://", "not a host"),
            ("etcd://a,,b", "not a host"),
            ("etcd://a:x", "not a host"),
            ("etcd://a:0", "not a host"),
            ("etcd://[::1", "not a host"),
            ("etcd://a?tls=1", "no option `tls`"),
            ("etcd://a?ca=", "no value"),
            ("etcd://a?ca=x", "etcds://"),
            ("etcds://a?cert=x", "belong together"),
            ("etcd://ann@a", "no password"),
            ("etcd://a?password_file=x", "no user"),
            ("etcd://ann:secret@a?password_file=x", "two passwords"),
            (
                "etcd://ann:secret@a?password_env=GW_NO_SUCH_VARIABLE",
                "no variable",
            ),
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains(why), "{url}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
