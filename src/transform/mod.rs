//! Pure: what the source holds becomes what the cache takes.
