//! The reasons why a profile cannot be used.

use thiserror::Error;

/// The reason why a profile cannot be used.
#[derive(Debug, Error)]
pub enum ProfileError {
    /// The text is not YAML, or not of the profile's shape.
    #[error("the profile is malformed")]
    Malformed(#[from] serde_yaml::Error),
    /// The profile would copy nothing.
    #[error("the profile names no node kind")]
    Empty,
    /// Two kinds share a label or type.
    #[error("the profile names {0} twice")]
    Repeated(String),
    /// A follow rule names a label or type that no kind has.
    #[error("a follow rule of the profile leads to {0}, which is not one of its kinds")]
    FollowsUnknown(String),
    /// Upserts by an unindexed key would scan the whole label for each row.
    #[error("the profile has no range index on {0}, the key of one of its kinds")]
    KeyNotIndexed(String),
    /// No property distinguishes the groups.
    #[error("the profile {0} does not name the property that holds an element's group (group: …)")]
    NoGroups(String),
    /// Kinds are either named or found.
    #[error("the profile both names and discovers kinds: move kinds with their own rules under discover")]
    NamedAndDiscovered,
    /// No property would identify the elements of a kind.
    #[error("the profile names no key for {0} and no discover.identity")]
    NoIdentity(String),
    /// The source already has a name that only the cache should have.
    #[error(
        "the source already has {0}: copy the profile (config/profiles/generic.yaml for the built-in one), give its {1} a name \
         that the source does not use, and name the copy in profile (SYNC_PROFILE)"
    )]
    Taken(String, &'static str),
    /// A property that identifies elements or is searched cannot have two names.
    #[error("the profile omits or renames {0}, which is a key, a timestamp or a vector")]
    Disturbed(String),
    /// The name of a property must not depend on an order.
    #[error("the profile gives two properties the same name, or renames a property twice")]
    AmbiguousNames,
    /// Follow rules look elements up by their key property.
    #[error("a follow rule of the profile leads to {0}, which has no key property")]
    FollowsNumbered(String),
    /// The index cannot be created.
    #[error("the profile's index on {0} lacks an option that its kind requires, or has an option of another kind")]
    UnsoundIndex(String),
}
