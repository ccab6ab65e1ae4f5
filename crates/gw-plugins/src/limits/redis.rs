//! Which Redis counts are kept in, as Kong's and APISIX's settings say it.

use std::time::Duration;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error as _};

use crate::limits::refused;
use crate::plugin::BuildError;

/// A Redis, and how it is reached. Instances that say the same share connections.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct RedisPlace {
    pub(crate) host: Box<str>,
    pub(crate) port: u16,
    pub(crate) username: Option<Box<str>>,
    pub(crate) password: Option<Box<str>>,
    pub(crate) database: u32,
    /// For an answer, connecting included.
    pub(crate) timeout: Duration,
    pub(crate) tls: Option<RedisTls>,
}

/// How TLS is spoken with a Redis.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RedisTls {
    pub(crate) verify: bool,
    /// The name that its certificate is to be for, if it is not the host.
    pub(crate) server_name: Option<Box<str>>,
}

/// The settings of a plugin, and beside them those of its Redis.
#[derive(Debug)]
pub(crate) struct WithRedis<T> {
    pub(crate) own: T,
    pub(crate) redis: RedisConfig,
}

/// `redis.…` as Kong 3.8 and later write it; `redis_…` as earlier ones and APISIX do, which win.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct RedisConfig {
    redis: Option<RedisRecord>,
    redis_host: Option<Box<str>>,
    redis_port: Option<u16>,
    redis_username: Option<Box<str>>,
    redis_password: Option<Box<str>>,
    redis_database: Option<u32>,
    redis_timeout: Option<f64>,
    redis_ssl: Option<bool>,
    redis_ssl_verify: Option<bool>,
    redis_server_name: Option<Box<str>>,
}

#[derive(Clone, Debug, serde::Deserialize)]
struct RedisRecord {
    host: Option<Box<str>>,
    port: Option<u16>,
    username: Option<Box<str>>,
    password: Option<Box<str>>,
    database: Option<u32>,
    timeout: Option<f64>,
    ssl: Option<bool>,
    ssl_verify: Option<bool>,
    server_name: Option<Box<str>>,
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for WithRedis<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let whole = serde_json::Value::deserialize(from)?;
        Ok(Self {
            redis: serde_json::from_value(whole.clone()).map_err(D::Error::custom)?,
            own: serde_json::from_value(whole).map_err(D::Error::custom)?,
        })
    }
}

impl RedisConfig {
    /// Reads the place.
    pub(crate) fn place(self) -> Result<RedisPlace, BuildError> {
        let missing = match &self.redis {
            Some(_) => "/redis/host",
            None => "/redis_host",
        };
        let record = self.redis;
        let record = record.as_ref();
        let host = self
            .redis_host
            .or_else(|| record?.host.clone())
            .filter(|host| !host.is_empty());
        let set = |text: Option<Box<str>>| text.filter(|text| !text.is_empty());
        let is_tls = self.redis_ssl.or_else(|| record?.ssl).unwrap_or(false);
        let tls = RedisTls {
            verify: self
                .redis_ssl_verify
                .or_else(|| record?.ssl_verify)
                .unwrap_or(false),
            server_name: set(self.redis_server_name.or_else(|| record?.server_name.clone())),
        };
        let timeout = self.redis_timeout.or_else(|| record?.timeout).unwrap_or(2000.0);
        Ok(RedisPlace {
            host: host.ok_or_else(|| refused(missing, "required field missing"))?,
            port: self.redis_port.or_else(|| record?.port).unwrap_or(6379),
            username: set(self.redis_username.or_else(|| record?.username.clone())),
            password: set(self.redis_password.or_else(|| record?.password.clone())),
            database: self.redis_database.or_else(|| record?.database).unwrap_or(0),
            timeout: Duration::from_secs_f64((timeout / 1000.0).clamp(0.001, 3600.0)),
            tls: is_tls.then_some(tls),
        })
    }
}

impl std::fmt::Debug for RedisPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisPlace")
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn place(settings: serde_json::Value) -> Result<RedisPlace, BuildError> {
        serde_json::from_value::<RedisConfig>(settings).unwrap().place()
    }

    #[test]
    fn shorthands_win_over_the_record() {
        let record = json!({ "host": "a", "port": 6379, "timeout": 2000, "database": 0, "ssl": false, "password": "old" });
        let long = place(json!({ "redis": record })).unwrap();
        assert_eq!(
            (&*long.host, long.port, long.timeout.as_millis()),
            ("a", 6379, 2000)
        );
        assert_eq!(long.tls, None);
        let short = place(json!({
            "redis": record, "redis_host": "b", "redis_port": 1, "redis_timeout": 50, "redis_database": 3,
            "redis_ssl": true, "redis_ssl_verify": true, "redis_server_name": "c", "redis_password": "",
        }))
        .unwrap();
        assert_eq!((&*short.host, short.port, short.database), ("b", 1, 3));
        assert_eq!((short.timeout.as_millis(), short.password), (50, None));
        let tls = RedisTls {
            verify: true,
            server_name: Some("c".into()),
        };
        assert_eq!(short.tls, Some(tls));
    }

    #[test]
    fn a_host_is_needed() {
        for (settings, at) in [
            (json!({ "redis": { "host": null } }), "/redis/host"),
            (json!({ "redis": { "host": "" } }), "/redis/host"),
            (json!({}), "/redis_host"),
        ] {
            let Err(BuildError::Setting { pointer, message }) = place(settings) else {
                panic!("refused")
            };
            assert_eq!((&*pointer, &*message), (at, "required field missing"));
        }
    }
}
