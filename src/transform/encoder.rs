//! The encoder, which depends on the profile, the dimensions of vectors, and the property names that the graph has.

use std::sync::Arc;

use super::property_names::PropertyNames;
use crate::model::profile::Profile;
use crate::model::vector_dimensions::VectorDimensions;

/// Encodes the source's content in the form that the cache takes. It does no I/O, and keeps nothing from one batch to the next
/// except the property names that the graph has.
#[derive(Debug, Clone)]
pub struct Encoder {
    pub(super) profile: Arc<Profile>,
    pub(super) dimensions: VectorDimensions,
    pub(super) names: PropertyNames,
}

impl Encoder {
    /// Creates an encoder for a profile. Vectors of a property with an unknown dimension are accepted with any dimension.
    pub fn new(profile: Arc<Profile>, dimensions: VectorDimensions) -> Self {
        let names = PropertyNames::new(&profile, []);
        Self { profile, dimensions, names }
    }

    /// Returns the encoder for a graph that already has properties with these names.
    #[must_use]
    pub(crate) fn for_graph_with(self, names: impl IntoIterator<Item = String>) -> Self {
        Self { names: PropertyNames::new(&self.profile, names), ..self }
    }

    /// The property names that the graph has, or gets with the encoded rows.
    pub(crate) fn names(&self) -> &PropertyNames {
        &self.names
    }

    /// The profile of the encoder.
    pub(crate) fn profile(&self) -> &Profile {
        &self.profile
    }
}
