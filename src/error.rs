//! One error type, and one table from its kind to the directive and the operator's remedy.

use std::error::Error as StdError;
use std::fmt;

/// The kind of an error, by side and nature. The table in [`ErrorKind::directive`] decides its treatment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// Neo4j cannot be reached, or the connection broke.
    SourceConnection,
    /// Neo4j did not answer in time.
    SourceTimeout,
    /// Neo4j says that the same request may succeed later.
    SourceTransient,
    /// Neo4j has not applied a commit whose bookmark it told.
    SourceBehind,
    /// Neo4j refuses the user or password.
    SourceAuthentication,
    /// Neo4j refuses what was asked for.
    SourceRefused,
    /// Neo4j's answer does not have the shape that was asked for.
    SourceProtocol,
    /// FalkorDB cannot be reached, or the connection broke.
    CacheConnection,
    /// FalkorDB did not answer in time: a write may or may not have happened.
    CacheTimeout,
    /// FalkorDB is loading its data, busy, or its queue is full.
    CacheBusy,
    /// FalkorDB has no memory left for writes.
    CacheOutOfMemory,
    /// FalkorDB cannot persist and therefore refuses writes.
    CacheCannotPersist,
    /// FalkorDB refuses the user or password.
    CacheAuthentication,
    /// The user lacks the permission for a command.
    CachePermission,
    /// The server is a read-only replica.
    CacheReadOnly,
    /// The server is a node of a Redis cluster, and another node holds the graph.
    CacheElsewhere,
    /// The graph's key, or one beside it, holds something else.
    CacheWrongType,
    /// The graph is not this pipeline's to fill.
    CacheForeign,
    /// The server lacks the graph module or a command of it.
    CacheUnsupported,
    /// FalkorDB refuses rows of a write.
    CacheRefused,
    /// FalkorDB's answer does not have the shape that was asked for.
    CacheProtocol,
    /// Another process owns the graph.
    LeaseHeld,
    /// This process owned the graph and does no longer.
    LeaseLost,
    /// The source is another database than before, or an older state of it.
    SourceChanged,
    /// The source has labels or types that a profile found in it does not have yet.
    SourceOutgrown,
    /// The cache is another one than before, or an older state of it.
    CacheChanged,
    /// The checkpoint is of a newer program, or is not readable.
    CheckpointUnreadable,
    /// A full sync is refused: its stage may not replace the live graph, or it would delete more than the limit allows.
    SwapRefused,
    /// The configuration asks for what cannot be done.
    Configuration,
    /// A worker panicked.
    Panic,
    /// An actor stopped without being told to.
    ActorStopped,
}

/// The treatment of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Directive {
    /// Repeat the same, with growing and jittered pauses.
    Retry,
    /// Start a new generation.
    Restart,
    /// Report the reason, and wait for an operator; try again at long intervals.
    Halt,
}

impl ErrorKind {
    /// All kinds, for tests and documentation.
    pub const ALL: [ErrorKind; 31] = [
        ErrorKind::SourceConnection,
        ErrorKind::SourceTimeout,
        ErrorKind::SourceTransient,
        ErrorKind::SourceBehind,
        ErrorKind::SourceAuthentication,
        ErrorKind::SourceRefused,
        ErrorKind::SourceProtocol,
        ErrorKind::CacheConnection,
        ErrorKind::CacheTimeout,
        ErrorKind::CacheBusy,
        ErrorKind::CacheOutOfMemory,
        ErrorKind::CacheCannotPersist,
        ErrorKind::CacheAuthentication,
        ErrorKind::CachePermission,
        ErrorKind::CacheReadOnly,
        ErrorKind::CacheElsewhere,
        ErrorKind::CacheWrongType,
        ErrorKind::CacheForeign,
        ErrorKind::CacheUnsupported,
        ErrorKind::CacheRefused,
        ErrorKind::CacheProtocol,
        ErrorKind::LeaseHeld,
        ErrorKind::LeaseLost,
        ErrorKind::SourceChanged,
        ErrorKind::SourceOutgrown,
        ErrorKind::CacheChanged,
        ErrorKind::CheckpointUnreadable,
        ErrorKind::SwapRefused,
        ErrorKind::Configuration,
        ErrorKind::Panic,
        ErrorKind::ActorStopped,
    ];

    /// The word for the kind, in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Self::SourceConnection => "source_connection",
            Self::SourceTimeout => "source_timeout",
            Self::SourceTransient => "source_transient",
            Self::SourceBehind => "source_behind",
            Self::SourceAuthentication => "source_authentication",
            Self::SourceRefused => "source_refused",
            Self::SourceProtocol => "source_protocol",
            Self::CacheConnection => "cache_connection",
            Self::CacheTimeout => "cache_timeout",
            Self::CacheBusy => "cache_busy",
            Self::CacheOutOfMemory => "cache_out_of_memory",
            Self::CacheCannotPersist => "cache_cannot_persist",
            Self::CacheAuthentication => "cache_authentication",
            Self::CachePermission => "cache_permission",
            Self::CacheReadOnly => "cache_read_only",
            Self::CacheElsewhere => "cache_elsewhere",
            Self::CacheWrongType => "cache_wrong_type",
            Self::CacheForeign => "cache_foreign",
            Self::CacheUnsupported => "cache_unsupported",
            Self::CacheRefused => "cache_refused",
            Self::CacheProtocol => "cache_protocol",
            Self::LeaseHeld => "lease_held",
            Self::LeaseLost => "lease_lost",
            Self::SourceChanged => "source_changed",
            Self::SourceOutgrown => "source_outgrown",
            Self::CacheChanged => "cache_changed",
            Self::CheckpointUnreadable => "checkpoint_unreadable",
            Self::SwapRefused => "swap_refused",
            Self::Configuration => "configuration",
            Self::Panic => "panic",
            Self::ActorStopped => "actor_stopped",
        }
    }

    /// The treatment of this kind. A kind that is not known to pass by itself halts.
    pub(crate) fn directive(self) -> Directive {
        match self {
            Self::SourceConnection
            | Self::SourceTimeout
            | Self::SourceTransient
            | Self::SourceBehind
            | Self::CacheConnection
            | Self::CacheTimeout
            | Self::CacheBusy
            | Self::CacheOutOfMemory
            | Self::CacheCannotPersist => Directive::Retry,
            Self::SourceProtocol
            | Self::CacheRefused
            | Self::CacheProtocol
            | Self::LeaseLost
            | Self::SourceChanged
            | Self::SourceOutgrown
            | Self::CacheChanged
            | Self::Panic
            | Self::ActorStopped => Directive::Restart,
            Self::SourceAuthentication
            | Self::SourceRefused
            | Self::CacheAuthentication
            | Self::CachePermission
            | Self::CacheReadOnly
            | Self::CacheElsewhere
            | Self::CacheWrongType
            | Self::CacheForeign
            | Self::CacheUnsupported
            | Self::LeaseHeld
            | Self::CheckpointUnreadable
            | Self::SwapRefused
            | Self::Configuration => Directive::Halt,
        }
    }

    /// The actions that the operator can take.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::SourceConnection => "check that Neo4j runs and that neo4j.uri names it; the service keeps trying",
            Self::SourceTimeout => "Neo4j is reachable but slow or silent; the service keeps trying",
            Self::SourceTransient => "no action needed: Neo4j asks for a later attempt, and the service keeps trying",
            Self::SourceBehind => {
                "Neo4j is still applying a large transaction, or a cluster member lags behind; the service keeps trying"
            }
            Self::SourceAuthentication => "check neo4j.user and neo4j.password",
            Self::SourceRefused => "check neo4j.database and that the user is allowed to read it",
            Self::SourceProtocol => "the service cannot interpret the answer of Neo4j; if this recurs, report it with the log",
            Self::CacheConnection => {
                "check that FalkorDB runs and that falkordb.host and falkordb.port name it; the service keeps trying"
            }
            Self::CacheTimeout => "FalkorDB is reachable but slow or silent; the service keeps trying",
            Self::CacheBusy => "FalkorDB is loading or overloaded; the service keeps trying",
            Self::CacheOutOfMemory => "give FalkorDB more memory (maxmemory); the service keeps trying",
            Self::CacheCannotPersist => "FalkorDB cannot write its snapshot: check its disk and log; the service keeps trying",
            Self::CacheAuthentication => "check falkordb.username and falkordb.password",
            Self::CachePermission => "grant the FalkorDB user the commands that the README lists",
            Self::CacheReadOnly => "falkordb.host names a read-only replica: set it to the master",
            Self::CacheElsewhere => "FalkorDB at this address is a node of a Redis cluster: name the nodes in falkordb.cluster",
            Self::CacheWrongType => "choose another falkordb.database: a key of that name exists and is not a graph",
            Self::CacheForeign => {
                "choose another falkordb.database; if no other pipeline fills the graph, you can also delete it or \
                 replace it with --take-over"
            }
            Self::CacheUnsupported => "load the FalkorDB module into that server, or name another server",
            Self::CacheRefused => "the quarantine lists the rows that FalkorDB refuses",
            Self::CacheProtocol => "the service cannot interpret the answer of FalkorDB; if this recurs, report it with the log",
            Self::LeaseHeld => {
                "no action needed for a standby: this process takes over when the other one ends; otherwise stop one of the two"
            }
            Self::LeaseLost => {
                "no action needed: another process took over, the cache lost the lease, or somebody paused or resumed the pipeline \
                 while this process stood still; it starts again"
            }
            Self::SourceChanged => "no action needed: a full sync fills the cache from the current database",
            Self::SourceOutgrown => "no action needed: a full sync beside the live graph copies the new kinds",
            Self::CacheChanged => "no action needed: the service brings the cache in step again",
            Self::CheckpointUnreadable => {
                "use the version of this program that wrote the checkpoint or a newer one, or delete the \
                 checkpoint key to start a full sync"
            }
            Self::SwapRefused => "the graph is unchanged: check the reason, then order another full sync",
            Self::Configuration => "correct the configuration",
            Self::Panic => "this is a defect of the program: please report it with the log; the service resumes the work",
            Self::ActorStopped => "this is a defect of the program: please report it with the log; the service resumes the work",
        }
    }
}

/// An error with its kind, the failed action, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    doing: String,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of anything that can fail with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error without a cause. `message` describes the problem for the operator, without values of properties.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, doing: message.into(), cause: None }
    }

    /// An error that another one caused.
    pub(crate) fn caused(kind: ErrorKind, message: impl Into<String>, cause: impl StdError + Send + Sync + 'static) -> Self {
        Self { kind, doing: message.into(), cause: Some(Box::new(cause)) }
    }

    /// The kind of the error.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The treatment of the error.
    pub fn directive(&self) -> Directive {
        self.kind.directive()
    }

    /// The whole chain of causes, in one line.
    pub fn chain(&self) -> String {
        chain(self)
    }
}

/// An error and its causes, in one line. Some errors of libraries already end with their cause: it is not repeated.
pub(crate) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let words = cause.to_string();
        if !text.ends_with(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        next = cause.source();
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_remedy() {
        for kind in ErrorKind::ALL {
            assert!(!kind.remedy().is_empty(), "{kind:?}");
        }
    }

    #[test]
    fn a_chain_names_every_cause() {
        let io = std::io::Error::other("reset by peer");
        let error = Error::caused(ErrorKind::SourceConnection, "cannot read nodes of Entity", io);
        assert_eq!(error.chain(), "cannot read nodes of Entity: reset by peer");
    }

    #[test]
    fn a_cause_that_is_told_already_is_not_told_again() {
        #[derive(Debug, thiserror::Error)]
        #[error("the socket failed: {0}")]
        struct Telling(#[from] std::io::Error);
        let refused = std::io::Error::other("Connection refused");
        let error = Error::caused(ErrorKind::SourceConnection, "cannot reach Neo4j", Telling(refused));
        assert_eq!(error.chain(), "cannot reach Neo4j: the socket failed: Connection refused");
    }
}
