//! Where the source is.

use std::path::PathBuf;

use crate::config::Secret;

/// Where and as whom to read.
#[derive(Debug, Clone)]
pub struct SourceAddress {
    /// `bolt://host:7687` and its kin.
    pub uri: String,
    /// The user.
    pub user: String,
    /// The password.
    pub password: Secret,
    /// The database; the server's default where absent.
    pub database: Option<String>,
    /// Connections at most.
    pub pool_size: usize,
    /// A CA of one's own, PEM.
    pub ca_file: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_printed() {
        let address = SourceAddress {
            uri: "bolt://h:1".to_owned(),
            user: "u".to_owned(),
            password: Secret::new("tr0ub4dor"),
            database: None,
            pool_size: 1,
            ca_file: None,
        };
        assert!(!format!("{address:?}").contains("tr0ub4dor"));
    }
}
