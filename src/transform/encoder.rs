//! What all that is encoded depends on: the profile, the dimensions of vectors, and the names that the graph has.

use std::sync::Arc;

use super::property_names::PropertyNames;
use crate::model::dimensions::Dimensions;
use crate::model::profile::Profile;

/// Makes of what the source holds what the cache takes. It does no I/O, and keeps nothing from one batch to the next but the names
/// that it gave to properties.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub(super) profile: Arc<Profile>,
    pub(super) dimensions: Dimensions,
    pub(super) names: PropertyNames,
}

impl Encoder {
    /// An encoder for a profile. Vectors of a property whose dimension is not known are taken as they are.
    pub fn new(profile: Arc<Profile>, dimensions: Dimensions) -> Self {
        let names = PropertyNames::new(&profile, []);
        Self { profile, dimensions, names }
    }

    /// The same for a graph that has properties of these names already.
    #[must_use]
    pub(crate) fn for_graph_with(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { names: PropertyNames::new(&self.profile, names), ..self }
    }

    /// The names of properties that the graph has, or gets with what was encoded.
    pub(crate) fn names(&self) -> &PropertyNames {
        &self.names
    }

    /// The profile that it works for.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }
}
