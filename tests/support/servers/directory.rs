//! A temporary directory that is gone after the process that made it, however that process ends.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{Error, Result};

/// Waits until its input closes, which happens when its owner drops the directory or dies. The server in that
/// directory is dying at the same moment and may still write, hence the second attempts.
const JANITOR: &str = r#"cat >/dev/null
for attempt in 1 2 3 4 5; do rm -rf -- "$0" 2>/dev/null && exit 0; sleep 1; done"#;

pub struct Directory {
    path: PathBuf,
    janitor: Child,
}

impl Directory {
    pub fn new(purpose: &str) -> Result<Self> {
        let path = tempfile::Builder::new()
            .prefix(&format!("neo4j-falkordb-sync-{purpose}-"))
            .tempdir()
            .map_err(Error::file("cannot make a directory in", std::env::temp_dir()))?
            .keep();
        let janitor = Command::new("sh")
            .args(["-c", JANITOR])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .map_err(|source| Error::Spawn { program: "sh".to_owned(), source })?;
        Ok(Self { path, janitor })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        drop(self.janitor.stdin.take());
        let _ = self.janitor.wait();
    }
}
