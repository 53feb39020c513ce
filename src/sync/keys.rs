//! Keys of elements.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::kind::ElementKind;

pub(super) type Keys = BTreeMap<ElementKind, BTreeSet<String>>;
