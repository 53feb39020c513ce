//! Both sides of a comparison, and the rules that convert one into the other.

use super::super::cache_view::CacheView;
use crate::model::profile::Profile;
use crate::model::quarantine_index::QuarantineIndex;
use crate::source::Source;
use crate::transform::Encoder;

/// The two sides and the rules that a comparison uses.
pub(crate) struct ComparisonContext<'a> {
    pub source: &'a dyn Source,
    pub view: &'a mut dyn CacheView,
    /// The rules that convert source rows into cache contents.
    pub encoder: &'a Encoder,
    pub profile: &'a Profile,
    /// Elements and properties that the cache cannot hold.
    pub excluded: &'a QuarantineIndex,
}
