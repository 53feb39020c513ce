//! Python programs from the package index, each set in an environment of its own in the directory of downloads.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::servers::download::{self, cached, run};
use super::{Error, Result};

/// Some thirty packages; slow mirrors are worth waiting for, dead ones are not.
const INSTALL: Duration = Duration::from_secs(900);

/// The environment with exactly the packages that are required, made at the first call on this machine. Blocking.
pub fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    download::require_pip()?;
    cached(&format!("{name}-{}", key(requirements)?), |directory| {
        let mut make = download::python();
        make.args(["-m", "venv"]).arg(directory);
        run(&mut make, INSTALL)?;
        let file = directory.join("requirements.txt");
        std::fs::write(&file, requirements).map_err(Error::file("cannot write", &file))?;
        // By `-m pip`: the directory gets another name later, and the scripts in it keep the one of now.
        let mut install = Command::new(directory.join("bin/python"));
        install.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").args(["-m", "pip", "install", "--quiet", "-r"]).arg(&file);
        run(&mut install, INSTALL)
    })
}

/// Other requirements or another Python make another environment: compiled packages serve one version of Python only.
fn key(requirements: &str) -> Result<String> {
    let version = download::python().args(["-c", "import sys; print(sys.version, sys.prefix)"]).output();
    let version = version.map_err(|source| Error::Spawn { program: "python3".to_owned(), source })?;
    let digest = Sha256::new().chain_update(requirements).chain_update(version.stdout).finalize();
    Ok(digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// Runs a program of an environment to its end, and returns what it printed; if it fails, that is in the error.
pub async fn run_to_end(mut command: tokio::process::Command, what: &str, within: Duration) -> Result<String> {
    command.kill_on_drop(true).stdin(std::process::Stdio::null());
    let Ok(ended) = tokio::time::timeout(within, command.output()).await else {
        return Err(Error::Timeout { what: what.to_owned(), after: within });
    };
    let output = ended.map_err(|source| Error::Spawn { program: what.to_owned(), source })?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(printed);
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(Error::Command { command: what.to_owned(), status: output.status.to_string(), output: format!("{printed}{errors}") })
}

/// A script of the tests.
pub fn script(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(path)
}
