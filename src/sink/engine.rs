//! Finds out which of FalkorDB's two engines a server runs, and whether it is safe to swap graphs there.

use redis::cmd;

use super::connection::{COMMAND_TIMEOUT, CacheConnection};
use super::server;
use crate::error::{Error, ErrorKind, Result};

/// From this version on the engine may be the one in Rust: the one in C continues to 4.22 (2026).
const C_ENDS_BEFORE: u64 = 50_000;

/// A setting that only the engine in Rust has (its `src/config.rs`; unknown to 4.16.3).
const RUST_SETTING: &str = "INDEX_WORKER_THREADS";

/// The engine that runs a FalkorDB server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Engine {
    /// The one in C.
    C,
    /// The one in Rust.
    Rust,
    /// The user may not ask, and the version does not decide.
    Unknown,
}

/// The signs that distinguish the engines, as far as the user may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EngineSigns {
    /// The module's version: 41603 is 4.16.3, and an unreleased build is 999999 in either engine.
    pub(crate) module_version: Option<u64>,
    /// Whether the server knows a setting that only the engine in Rust has.
    pub(crate) has_rust_setting: Option<bool>,
}

impl EngineSigns {
    /// Asks the server, as far as the user may.
    pub async fn of(connection: &mut CacheConnection) -> Result<Self> {
        let module_version = server::identify(connection).await?.module_version;
        let mut command = cmd("GRAPH.CONFIG");
        command.arg("GET").arg(RUST_SETTING);
        let has_rust_setting = match connection.command("identify the engine", &command, COMMAND_TIMEOUT).await {
            Ok(_) => Some(true),
            Err(error) if error.kind() == ErrorKind::CacheRefused => Some(false),
            Err(error) if error.kind() == ErrorKind::CachePermission => None,
            Err(error) => return Err(error),
        };
        Ok(Self { module_version, has_rust_setting })
    }

    /// The engine that has these signs.
    pub fn engine(self) -> Engine {
        match (self.has_rust_setting, self.module_version) {
            (Some(true), _) => Engine::Rust,
            (Some(false), _) => Engine::C,
            (None, Some(version)) if version < C_ENDS_BEFORE => Engine::C,
            (None, _) => Engine::Unknown,
        }
    }
}

impl Engine {
    /// Fails if a renamed graph may not survive a restart. The engine in Rust loads a renamed graph of more than 100,000 elements
    /// empty from a snapshot (FalkorDB's issue 2772, open in September 2026), so only a full sync in place is safe there.
    pub fn require_safe_rename(self) -> Result<()> {
        let refused = |why: &str| {
            let message = format!("{why}; use full_sync.strategy: in_place");
            Err(Error::new(ErrorKind::CacheUnsupported, message))
        };
        match self {
            Engine::C => Ok(()),
            Engine::Rust => refused("FalkorDB's engine in Rust loses a renamed graph at a restart"),
            Engine::Unknown => refused("it is unknown whether this FalkorDB keeps a renamed graph at a restart"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(module_version: Option<u64>, has_rust_setting: Option<bool>) -> Engine {
        EngineSigns { module_version, has_rust_setting }.engine()
    }

    #[test]
    fn the_setting_tells_and_the_version_only_where_nobody_may_ask() {
        assert_eq!(engine(Some(41_603), Some(false)), Engine::C);
        assert_eq!(engine(Some(999_999), Some(false)), Engine::C);
        assert_eq!(engine(Some(42_201), None), Engine::C);
        assert_eq!(engine(Some(41_603), Some(true)), Engine::Rust);
        assert_eq!(engine(Some(50_000), None), Engine::Unknown);
        assert_eq!(engine(None, None), Engine::Unknown);
    }

    #[test]
    fn only_the_engine_in_c_may_rename() {
        assert!(Engine::C.require_safe_rename().is_ok());
        for engine in [Engine::Rust, Engine::Unknown] {
            assert!(engine.require_safe_rename().is_err_and(|error| error.to_string().contains("in_place")));
        }
    }
}
