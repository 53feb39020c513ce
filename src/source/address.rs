//! The address of the source.

use std::path::PathBuf;

use crate::config::Secret;

/// The address, the user and the database to read.
#[derive(Debug, Clone)]
pub struct SourceAddress {
    /// The URI: `bolt://host:7687`, or one with a related scheme.
    pub uri: String,
    /// The name of the user.
    pub user: String,
    /// The password of the user.
    pub password: Secret,
    /// The database; the server's default if absent.
    pub database: Option<String>,
    /// The most connections of the pool.
    pub pool_size: usize,
    /// The file of a private CA, in PEM form.
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
