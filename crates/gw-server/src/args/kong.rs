//! Kong's own variables, as public set-ups have them: what they say is the default of our flags.

use tracing::{info, warn};

use super::admin::{AdminArgs, AdminListen};
use crate::listen::Listen;

/// What the variables say that Kong would read.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct KongVariables {
    /// Defaults of arguments, by the argument's id.
    pub(crate) defaults: Vec<(&'static str, Vec<String>)>,
    /// There is no database, whether or not there is a file.
    pub(crate) without_database: bool,
    /// What of them means nothing here, or something else.
    pub(crate) notes: Vec<String>,
    /// Those that are not obeyed.
    pub(crate) unknown: Vec<String>,
}

/// A variable of Kong's that makes no sense.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name}={value}: {why}")]
pub struct KongVariableError {
    name: String,
    value: String,
    why: String,
}

/// Words after an address that ask nginx for what holds here anyway, or is the system's to say.
const MEANINGLESS: [&str; 7] = [
    "reuseport",
    "deferred",
    "bind",
    "backlog",
    "ipv6only",
    "so_keepalive",
    "http2",
];

impl KongVariables {
    /// Reads those among these variables that are Kong's. `plugins` are the plugins there are.
    pub(crate) fn read(
        variables: impl Iterator<Item = (String, String)>,
        plugins: &[&str],
    ) -> Result<Self, KongVariableError> {
        let mut kong = Self::default();
        let mut variables: Vec<(String, String)> = variables
            .filter(|(name, value)| name.starts_with("KONG_") && !value.trim().is_empty())
            .collect();
        variables.sort();
        for (name, value) in variables {
            let read = kong.take(&name, value.trim(), plugins);
            read.map_err(|why| KongVariableError { name, value, why })?;
        }
        Ok(kong)
    }

    fn take(&mut self, name: &str, value: &str, plugins: &[&str]) -> Result<(), String> {
        match name {
            "KONG_DECLARATIVE_CONFIG" => self.set("config", [value]),
            "KONG_DATABASE" if value == "off" => self.without_database = true,
            "KONG_DATABASE" => self.note(format!(
                "KONG_DATABASE={value}: the store is the one in --data-dir, unless there is a file (--config)"
            )),
            "KONG_PROXY_LISTEN" => {
                let listens = self.listens(name, value)?;
                each::<Listen>(&listens)?;
                self.set("proxy_listen", listens);
            }
            "KONG_ADMIN_LISTEN" => {
                let listens = self.listens(name, value)?;
                each::<AdminListen>(&listens)?;
                self.set(
                    "admin_listen",
                    if listens.is_empty() {
                        vec!["off".to_owned()]
                    } else {
                        listens
                    },
                );
            }
            "KONG_STATUS_LISTEN" => {
                let mut listens = self.listens(name, value)?;
                each::<AdminListen>(&listens)?;
                if listens.len() > 1 {
                    self.note(format!("{name}: of several addresses the first counts"));
                    listens.truncate(1);
                }
                self.set(
                    "status_listen",
                    if listens.is_empty() {
                        vec!["off".to_owned()]
                    } else {
                        listens
                    },
                );
            }
            "KONG_PROXY_ACCESS_LOG" => self.access_log(name, value),
            "KONG_ADMIN_ACCESS_LOG" if value == "off" => {}
            "KONG_ADMIN_ACCESS_LOG" => {
                self.note(format!(
                    "{name}: calls of the Admin API are not logged one by one"
                ));
            }
            "KONG_PROXY_ERROR_LOG" | "KONG_ADMIN_ERROR_LOG" => {
                if value.split_whitespace().next() != Some("/dev/stderr") {
                    self.note(format!(
                        "{name}: what the gateway reports of itself goes to standard error"
                    ));
                }
            }
            "KONG_PLUGINS" => self.plugins(value, plugins),
            "KONG_LOG_LEVEL" => self.set("log", [level(value)?]),
            "KONG_MEM_CACHE_SIZE" => self.set("mem_cache_size", [value]),
            "KONG_TRUSTED_IPS" => self.set("trusted_ips", list(value)),
            "KONG_REAL_IP_HEADER" => self.set("real_ip_header", [value]),
            "KONG_REAL_IP_RECURSIVE" => self.set("real_ip_recursive", [value]),
            _ => self.unknown.push(name.to_owned()),
        }
        Ok(())
    }

    fn set<T: Into<String>>(&mut self, argument: &'static str, values: impl IntoIterator<Item = T>) {
        self.defaults
            .push((argument, values.into_iter().map(Into::into).collect()));
    }

    fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Addresses with the words that mean something here; none for `off`.
    fn listens(&mut self, name: &str, value: &str) -> Result<Vec<String>, String> {
        if value == "off" {
            return Ok(Vec::new());
        }
        let mut dropped: Vec<String> = Vec::new();
        let mut listens = Vec::new();
        for listen in list(value) {
            let mut words = listen.split_whitespace();
            let mut kept = vec![words.next().unwrap_or_default().to_owned()];
            for word in words {
                let key = word.split('=').next().unwrap_or_default();
                if !MEANINGLESS.contains(&key) {
                    kept.push(word.to_owned());
                } else if key != "http2" && !dropped.iter().any(|known| known == word) {
                    dropped.push(word.to_owned());
                }
            }
            listens.push(kept.join(" "));
        }
        if listens.is_empty() {
            return Err("expected addresses, or `off`".to_owned());
        }
        if !dropped.is_empty() {
            self.note(format!("{name}: `{}` means nothing here", dropped.join("`, `")));
        }
        Ok(listens)
    }

    fn access_log(&mut self, name: &str, value: &str) {
        let mut words = value.split_whitespace();
        let place = words.next().unwrap_or_default();
        if let Some(format) = words.next() {
            self.note(format!(
                "{name}: there is one format of lines, and it is not `{format}`"
            ));
        }
        match place {
            "off" => self.set("access_log", ["off"]),
            "/dev/stdout" => self.set("access_log", ["stdout"]),
            path if path.starts_with('/') => self.set("access_log", [path]),
            _ => self.note(format!(
                "{name}={value} is no place here; lines go to standard output"
            )),
        }
    }

    fn plugins(&mut self, value: &str, known: &[&str]) {
        let is_known = |name: &str| matches!(name, "bundled" | "off") || known.contains(&name);
        let (here, absent): (Vec<&str>, Vec<&str>) = list(value).partition(|name| is_known(name));
        if !absent.is_empty() {
            let absent = absent.join("`, `");
            self.note(format!(
                "KONG_PLUGINS names `{absent}`, which are not here; a file that uses one is refused unless \
                 --unknown-plugins=ignore"
            ));
        }
        self.set("plugins", if here.is_empty() { vec!["off"] } else { here });
    }

    /// Says once what they come to.
    pub(crate) fn tell(&self) {
        for note in &self.notes {
            info!("{note}");
        }
        if !self.unknown.is_empty() {
            warn!(
                variables = self.unknown.join(" "),
                "variables of Kong's that mean nothing here, and are not obeyed"
            );
        }
    }

    /// Makes where the Admin API listens safe, if Kong's variable said it: an address that others reach is one of this
    /// machine, unless somebody protects it or says that nobody need.
    pub(crate) fn tame(args: &mut AdminArgs) -> Vec<String> {
        let is_protected =
            args.admin_token.is_some() || args.admin_token_file.is_some() || args.admin_insecure;
        let (has_certificate, is_mutual) = (args.admin_tls_cert.is_some(), args.admin_client_ca.is_some());
        let mut notes = Vec::new();
        let tamed = args.admin_listen.drain(..).filter_map(|listen| {
            let AdminListen::At { address, tls } = &listen else {
                return Some(listen);
            };
            if *tls && !has_certificate {
                notes.push(format!(
                    "KONG_ADMIN_LISTEN: the Admin API does not listen at {address} ssl, it has no certificate; give it one by \
                     GW_ADMIN_TLS_CERT and GW_ADMIN_TLS_KEY"
                ));
                return None;
            }
            let local = address.ip().map(|ip| {
                let local: std::net::IpAddr = match ip.is_ipv4() {
                    true => [127, 0, 0, 1].into(),
                    false => std::net::Ipv6Addr::LOCALHOST.into(),
                };
                (ip.ip().to_canonical().is_loopback(), std::net::SocketAddr::new(local, ip.port()))
            });
            let Some((false, local)) = local else {
                return Some(listen);
            };
            if is_protected || (*tls && is_mutual) {
                return Some(listen);
            }
            notes.push(format!(
                "KONG_ADMIN_LISTEN: the Admin API listens at {local} instead of {address}, where other machines would \
                 control the gateway; protect it by GW_ADMIN_TOKEN, or set GW_ADMIN_INSECURE=true where only operators \
                 reach it"
            ));
            Some(AdminListen::At { address: local.into(), tls: *tls })
        });
        args.admin_listen = tamed.collect();
        notes
    }
}

/// The items of a list that is separated by commas.
fn list(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

fn each<T: std::str::FromStr<Err: std::fmt::Display>>(values: &[String]) -> Result<(), String> {
    for value in values {
        value.parse::<T>().map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn level(value: &str) -> Result<&'static str, String> {
    match value {
        "debug" => Ok("debug"),
        "info" | "notice" => Ok("info"),
        "warn" => Ok("warn"),
        "error" | "crit" | "alert" | "emerg" => Ok("error"),
        _ => Err("expected debug, info, notice, warn, error, crit, alert or emerg".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<KongVariables, KongVariableError> {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        KongVariables::read(variables, &["cors", "key-auth"])
    }

    fn default(name: &str, value: &str) -> Vec<String> {
        let kong = read(&[(name, value)]).unwrap();
        assert!(kong.unknown.is_empty(), "{kong:?}");
        kong.defaults
            .into_iter()
            .next()
            .map(|(_, values)| values)
            .unwrap_or_default()
    }

    #[test]
    fn what_they_say_becomes_the_default_of_a_flag() {
        for (name, value, expected) in [
            (
                "KONG_DECLARATIVE_CONFIG",
                "/kong/kong.yml",
                &["/kong/kong.yml"][..],
            ),
            (
                "KONG_PROXY_LISTEN",
                "0.0.0.0:8000 reuseport backlog=16384, 0.0.0.0:8443 http2 ssl reuseport backlog=16384",
                &["0.0.0.0:8000", "0.0.0.0:8443 ssl"],
            ),
            (
                "KONG_PROXY_LISTEN",
                "[::]:8000 ipv6only=on so_keepalive=on",
                &["[::]:8000"],
            ),
            (
                "KONG_PROXY_LISTEN",
                "127.0.0.1:80 proxy_protocol ssl",
                &["127.0.0.1:80 proxy_protocol ssl"],
            ),
            ("KONG_PROXY_LISTEN", "off", &[]),
            (
                "KONG_ADMIN_LISTEN",
                "0.0.0.0:8001, 127.0.0.1:8444 ssl",
                &["0.0.0.0:8001", "127.0.0.1:8444 ssl"],
            ),
            ("KONG_ADMIN_LISTEN", "off", &["off"]),
            ("KONG_STATUS_LISTEN", "0.0.0.0:8100", &["0.0.0.0:8100"]),
            (
                "KONG_STATUS_LISTEN",
                "0.0.0.0:8100, 0.0.0.0:8101",
                &["0.0.0.0:8100"],
            ),
            ("KONG_PROXY_ACCESS_LOG", "/dev/stdout", &["stdout"]),
            (
                "KONG_PROXY_ACCESS_LOG",
                "/var/log/a.log custom",
                &["/var/log/a.log"],
            ),
            ("KONG_PROXY_ACCESS_LOG", "off", &["off"]),
            ("KONG_PLUGINS", "bundled, cors,mine", &["bundled", "cors"]),
            ("KONG_PLUGINS", "mine", &["off"]),
            ("KONG_LOG_LEVEL", "notice", &["info"]),
            ("KONG_LOG_LEVEL", "crit", &["error"]),
            ("KONG_MEM_CACHE_SIZE", "64m", &["64m"]),
            ("KONG_TRUSTED_IPS", "0.0.0.0/0,::/0", &["0.0.0.0/0", "::/0"]),
            ("KONG_REAL_IP_HEADER", "X-Forwarded-For", &["X-Forwarded-For"]),
        ] {
            assert_eq!(default(name, value), expected, "{name}={value}");
        }
        assert!(read(&[("KONG_DATABASE", "off")]).unwrap().without_database);
    }

    #[test]
    fn what_means_nothing_here_is_told() {
        for (name, value, told) in [
            (
                "KONG_PROXY_LISTEN",
                "0.0.0.0:8000 reuseport backlog=16384",
                "`reuseport`, `backlog=16384`",
            ),
            ("KONG_DATABASE", "postgres", "--data-dir"),
            ("KONG_ADMIN_ACCESS_LOG", "/dev/stdout", "not logged one by one"),
            ("KONG_PROXY_ERROR_LOG", "/var/log/error.log", "standard error"),
            ("KONG_PROXY_ACCESS_LOG", "logs/access.log", "standard output"),
            ("KONG_PLUGINS", "bundled,mine", "`mine`"),
        ] {
            let notes = read(&[(name, value)]).unwrap().notes;
            assert!(notes.len() == 1 && notes[0].contains(told), "{name}: {notes:?}");
        }
        for (name, value) in [
            ("KONG_PROXY_ERROR_LOG", "/dev/stderr"),
            ("KONG_ADMIN_ACCESS_LOG", "off"),
            ("KONG_PROXY_LISTEN", "0.0.0.0:8443 http2 ssl"),
            ("KONG_LOG_LEVEL", ""),
        ] {
            assert_eq!(read(&[(name, value)]).unwrap().notes, Vec::<String>::new());
        }
        let kong = read(&[("KONG_PREFIX", "/x"), ("KONG_DNS_ORDER", "A"), ("GW_LOG", "x")]).unwrap();
        assert_eq!(kong.unknown, ["KONG_DNS_ORDER", "KONG_PREFIX"]);
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        for (name, value) in [
            ("KONG_PROXY_LISTEN", "0.0.0.0:8000 tls"),
            ("KONG_PROXY_LISTEN", "8000"),
            ("KONG_PROXY_LISTEN", ","),
            ("KONG_ADMIN_LISTEN", "localhost:8001"),
            ("KONG_LOG_LEVEL", "loud"),
        ] {
            let error = read(&[(name, value)]).unwrap_err().to_string();
            assert!(error.starts_with(&format!("{name}={value}: ")), "{error}");
        }
    }
}
