//! The address of the cache, and the login.

use std::fmt;
use std::path::PathBuf;

use crate::config::Secret;

/// Encryption towards the cache.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheTls {
    /// Certificate authorities to trust, PEM. If absent, those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Everything needed to connect to a FalkorDB server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheAddress {
    /// The host name or IP address of the server.
    pub host: String,
    /// The TCP port of the server.
    pub port: u16,
    /// ACL user. If absent, the default user.
    pub username: Option<String>,
    /// The password of the ACL user.
    pub password: Option<Secret>,
    /// The encryption of the connection. Absent if it is not encrypted.
    pub tls: Option<CacheTls>,
}

impl CacheAddress {
    /// A server without user, password and encryption.
    pub fn plain(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port, username: None, password: None, tls: None }
    }
}

impl fmt::Display for CacheAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let address = CacheAddress { password: Some(Secret::new("hunter2")), ..CacheAddress::plain("cache", 6379) };
        assert!(!format!("{address:?} {address}").contains("hunter2"));
    }
}
