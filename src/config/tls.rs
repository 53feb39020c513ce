//! The encryption towards the cache and the sentinels.

use std::path::PathBuf;

use super::section::Section;

/// The encryption of the connections to the cache. The server's certificate is always checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FalkorTls {
    /// The certificate authority that signed the server's certificate, if the system does not know it.
    pub ca_file: Option<PathBuf>,
}

impl FalkorTls {
    /// A named certificate authority implies encryption.
    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let ca_file = section.path("ca_file");
        let enabled = section.flag("enabled").unwrap_or(ca_file.is_some());
        if !enabled && ca_file.is_some() {
            section.problem("ca_file", "has no effect while enabled is false");
        }
        enabled.then_some(Self { ca_file })
    }
}
