//! Certificates of an authority of one's own: a good one, and such that nobody should trust.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Error, Result};

/// Two authorities, and certificates of the first for a server on the loopback interface.
pub struct Certificates {
    directory: tempfile::TempDir,
}

const SCRIPT: &str = r#"
authority() { openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj "/CN=$1" -keyout "$1.key" -out "$1.crt"; }
certificate() {
  openssl req -newkey rsa:2048 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr"
  printf 'subjectAltName=%s\nbasicConstraints=CA:FALSE\n' "$3" > extensions
  openssl x509 -req -in "$1.csr" -CA authority.crt -CAkey authority.key -CAcreateserial -days "$2" -extfile extensions -out "$1.crt"
}
authority authority
authority stranger
certificate good 2 IP:127.0.0.1,DNS:localhost
certificate expired -1 IP:127.0.0.1,DNS:localhost
certificate elsewhere 2 DNS:elsewhere.example
cp good.key private.key
cp good.crt public.crt
"#;

impl Certificates {
    pub fn make() -> Result<Self> {
        let directory = tempfile::tempdir().map_err(Error::file("cannot make a directory in", std::env::temp_dir()))?;
        let spawned = |source| Error::Spawn { program: "sh".to_owned(), source };
        let made = Command::new("sh").args(["-ec", SCRIPT]).current_dir(directory.path()).output().map_err(spawned)?;
        if made.status.success() {
            return Ok(Self { directory });
        }
        let output = String::from_utf8_lossy(&made.stderr).into_owned();
        Err(Error::Command { command: "openssl".to_owned(), status: made.status.to_string(), output })
    }

    /// Where `private.key` and `public.crt` are, as Neo4j wants them.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Who signed all of them.
    pub fn authority(&self) -> PathBuf {
        self.directory.path().join("authority.crt")
    }

    /// Who signed none of them.
    pub fn stranger(&self) -> PathBuf {
        self.directory.path().join("stranger.crt")
    }

    /// The certificate and the key of this name: `good`, `expired` or `elsewhere`.
    pub fn of(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.directory.path().join(format!("{name}.crt")), self.directory.path().join(format!("{name}.key")))
    }
}
