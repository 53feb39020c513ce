//! Both sides of a comparison, and the rules that lead from one to the other.

use super::super::cache_view::CacheView;
use crate::model::excluded::Excluded;
use crate::model::profile::Profile;
use crate::source::Source;
use crate::transform::Encoder;

/// What a comparison looks at.
pub(crate) struct ComparisonContext<'a> {
    pub source: &'a dyn Source,
    pub view: &'a mut dyn CacheView,
    /// The rules that lead from one to the other.
    pub encoder: &'a Encoder,
    pub profile: &'a Profile,
    /// What the cache lacks because it cannot hold it.
    pub excluded: &'a Excluded,
}
