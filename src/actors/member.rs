//! The members of a generation.

/// The members of a generation that end on their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Member {
    Extractor,
    Transformer,
    Loader,
    LeaseKeeper,
    /// Probes the source and the cache.
    Prober,
    /// Reads Neo4j's transaction log.
    LogFollower,
}

impl std::fmt::Display for Member {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Member::Extractor => "extractor",
            Member::Transformer => "transformer",
            Member::Loader => "loader",
            Member::LeaseKeeper => "lease keeper",
            Member::Prober => "prober",
            Member::LogFollower => "log follower",
        })
    }
}
