//! The dimension of the vectors of each property: a vector of another length breaks every similarity search on the graph.

use crate::error::Result;
use crate::model::profile::Profile;
use crate::model::vector_dimensions::VectorDimensions;
use crate::source::Source;

/// About how many elements of a kind are looked at. If vectors have two lengths, and the rarer one has less than two fifths of
/// all, this sample picks the wrong length less than once in a million times.
const SAMPLE: u64 = 1_000;

/// Returns the dimensions that the profile names, and for its other vectors the dimension that most elements of a sample have.
pub(crate) async fn dimensions(source: &dyn Source, profile: &Profile) -> Result<VectorDimensions> {
    let mut dimensions = VectorDimensions::of_profile(profile);
    let counts = source.counts().await?;
    for (kind, count) in profile.kinds().into_iter().zip(counts) {
        for property in profile.vectors(kind) {
            if count == 0 || dimensions.of(profile, kind, property).is_some() {
                continue;
            }
            let share = SAMPLE as f64 / count as f64;
            let mut found = source.usual_dimension(kind, property, share).await?;
            // Few elements have this vector.
            if found.is_none() && share < 1.0 {
                found = source.usual_dimension(kind, property, 1.0).await?;
            }
            if let Some(dimension) = found {
                dimensions.set(profile, kind, property.clone(), dimension);
            }
        }
    }
    Ok(dimensions)
}
