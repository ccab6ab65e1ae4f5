//! The files a resolver goes by, read again when they have changed.

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::{info, warn};

use super::conf::Conf;
use super::hosts::Hosts;
use super::server::Servers;

/// What the files say.
#[derive(Clone, Debug)]
pub(super) struct Contents {
    pub(super) hosts: Arc<Hosts>,
    pub(super) conf: Arc<Conf>,
    pub(super) servers: Arc<Servers>,
}

/// The files, and what they said when they were read.
#[derive(Debug)]
pub(super) struct Files {
    hosts: Option<Watched>,
    conf: Watched,
    /// Asked instead of those that the file names, if there are any.
    given: Vec<SocketAddr>,
    contents: Contents,
    version: u64,
}

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    seen: Option<Stamp>,
}

/// What tells one state of a file from another.
type Stamp = (Option<SystemTime>, u64, u64);

impl Files {
    pub(super) fn open(hosts: Option<PathBuf>, conf: PathBuf, given: Vec<SocketAddr>) -> io::Result<Self> {
        let mut hosts = hosts.map(Watched::new);
        let mut conf = Watched::new(conf);
        let names = hosts.as_mut().and_then(Watched::news).unwrap_or_default();
        let text = conf.news().unwrap_or_default();
        let read = settled(Conf::parse(&text), &given);
        Ok(Self {
            contents: Contents {
                hosts: Arc::new(Hosts::parse(&names)),
                servers: Arc::new(Servers::new(&read)?),
                conf: Arc::new(read),
            },
            hosts,
            conf,
            given,
            version: 0,
        })
    }

    /// What they say now, and a number that changes with that.
    pub(super) fn contents(&mut self) -> (Contents, u64) {
        if let Some(text) = self.hosts.as_mut().and_then(Watched::news) {
            let hosts = Hosts::parse(&text);
            if hosts != *self.contents.hosts {
                self.contents.hosts = Arc::new(hosts);
                self.version += 1;
                info!("the hosts file has changed");
            }
        }
        if let Some(text) = self.conf.news() {
            let conf = settled(Conf::parse(&text), &self.given);
            if conf != *self.contents.conf {
                match Servers::new(&conf) {
                    Ok(servers) => {
                        self.contents.servers = Arc::new(servers);
                        self.contents.conf = Arc::new(conf);
                        self.version += 1;
                        info!(servers = ?self.contents.servers, "the configuration of name servers has changed");
                    }
                    Err(error) => warn!(%error, "the name servers cannot be changed"),
                }
            }
        }
        (self.contents.clone(), self.version)
    }
}

fn settled(conf: Conf, given: &[SocketAddr]) -> Conf {
    match given {
        [] => conf,
        given => Conf {
            servers: given.to_vec(),
            ..conf
        },
    }
}

impl Watched {
    fn new(path: PathBuf) -> Self {
        Self { path, seen: None }
    }

    /// Its text, if it is not what it was. One that is gone has none; one that cannot be read is left for later.
    fn news(&mut self) -> Option<String> {
        let stamp = stamp(&self.path);
        if self.seen.is_some() && self.seen == stamp {
            return None;
        }
        match std::fs::read(&self.path) {
            Ok(bytes) => {
                self.seen = stamp;
                Some(String::from_utf8_lossy(&bytes).into_owned())
            }
            // Nothing was there before either.
            Err(_) if self.seen.is_none() => None,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.seen = None;
                Some(String::new())
            }
            Err(error) => {
                warn!(path = %self.path.display(), %error, "the file cannot be read; what it said holds");
                self.seen = stamp;
                None
            }
        }
    }
}

/// Read before the file itself: one that is written meanwhile is read again.
fn stamp(path: &Path) -> Option<Stamp> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.modified().ok(), file.len(), inode(&file)))
}

#[cfg(unix)]
fn inode(file: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(file)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(dir: &tempfile::TempDir, given: &[&str]) -> Files {
        let given = given.iter().map(|address| address.parse().unwrap()).collect();
        Files::open(
            Some(dir.path().join("hosts")),
            dir.path().join("resolv.conf"),
            given,
        )
        .unwrap()
    }

    /// Moved into place, as careful editors do: so that two states never look the same.
    fn write(dir: &tempfile::TempDir, name: &str, text: &str) {
        std::fs::write(dir.path().join("new"), text).unwrap();
        std::fs::rename(dir.path().join("new"), dir.path().join(name)).unwrap();
    }

    #[tokio::test]
    async fn files_that_change_come_and_go_are_followed() {
        let dir = tempfile::tempdir().unwrap();
        let mut files = at(&dir, &[]);
        let (now, version) = files.contents();
        assert_eq!((version, now.hosts.find("app")), (0, None));
        assert_eq!(*now.conf, Conf::default(), "without a file the server is here");
        write(&dir, "hosts", "10.0.0.1 app");
        let (now, version) = files.contents();
        assert_eq!(
            (version, now.hosts.find("app").map(|list| list.len())),
            (1, Some(1))
        );
        write(&dir, "hosts", "10.0.0.1 app # the same to us");
        assert_eq!(files.contents().1, 1);
        write(&dir, "resolv.conf", "nameserver 10.0.0.53\nsearch a.test");
        let (now, version) = files.contents();
        assert_eq!((version, now.conf.servers.len()), (2, 1));
        assert_eq!(now.conf.servers[0], "10.0.0.53:53".parse().unwrap());
        std::fs::remove_file(dir.path().join("hosts")).unwrap();
        let (now, version) = files.contents();
        assert_eq!((version, now.hosts.find("app")), (3, None));
        assert_eq!(files.contents().1, 3);
    }

    #[tokio::test]
    async fn servers_given_stay_whatever_the_file_says() {
        let dir = tempfile::tempdir().unwrap();
        write(&dir, "resolv.conf", "nameserver 10.0.0.53\nsearch a.test");
        let mut files = at(&dir, &["127.0.0.1:5353"]);
        let (now, _) = files.contents();
        assert_eq!(now.conf.servers, ["127.0.0.1:5353".parse().unwrap()]);
        assert_eq!(now.conf.search, [Box::<str>::from("a.test")]);
        write(&dir, "resolv.conf", "nameserver 10.0.0.54\nsearch b.test");
        let (now, version) = files.contents();
        assert_eq!((version, &*now.conf.search[0]), (1, "b.test"));
        assert_eq!(now.conf.servers, ["127.0.0.1:5353".parse().unwrap()]);
    }
}
