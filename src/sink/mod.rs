//! FalkorDB: the only place that writes the cache.
