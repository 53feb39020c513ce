//! The container's commands, run as it runs them: by a user with no rights, in a directory where nothing can be written.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::compose::environment_with_secrets;

/// The user of the Dockerfile.
const USER: u32 = 65532;

/// How long the service may take to listen, and a command to answer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A container's world: the program, its secrets, and an empty directory to be in.
struct Place {
    directory: tempfile::TempDir,
    program: PathBuf,
    environment: Vec<(String, String)>,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let read_by_all = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        read_by_all(directory.path(), 0o755);
        // Where the checkout is that user may not look.
        let program = directory.path().join("neo4j-falkordb-sync");
        std::fs::copy(env!("CARGO_BIN_EXE_neo4j-falkordb-sync"), &program).unwrap();
        std::fs::create_dir(directory.path().join("empty")).unwrap();
        read_by_all(&directory.path().join("empty"), 0o555);
        let environment = environment_with_secrets(directory.path());
        // As in a container, where each file is mounted by itself.
        read_by_all(&directory.path().join("secrets"), 0o755);
        Self { directory, program, environment }
    }

    fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).stdin(Stdio::null());
        command.current_dir(self.directory.path().join("empty"));
        // Whoever is not root cannot become another user, and has no rights already.
        if is_root() {
            command.uid(USER).gid(USER);
        }
        command
    }
}

fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

/// Ended with its test, however that ends.
struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nothing listens on.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn the_service_and_its_health_check_need_no_rights_and_no_disk() {
    let dead = free_port();
    let place = Place::new()
        .with("HEALTH_PORT", free_port())
        .with("NEO4J_URI", format!("bolt://127.0.0.1:{dead}"))
        .with("FALKORDB_HOST", "127.0.0.1")
        .with("FALKORDB_PORT", dead);
    let before = place.command(&["health"]).output().unwrap();
    assert_eq!(before.status.code(), Some(2), "{before:?}");
    let mut service = Service(place.command(&["run"]).stdout(Stdio::piped()).spawn().unwrap());
    let log = BufReader::new(service.0.stdout.take().unwrap()).lines();
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    let mut seen = Vec::new();
    while !seen.iter().any(|line: &String| line.contains("HTTP server started")) {
        seen.push(lines.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{error}: {seen:?}")));
    }
    // Neither server is there, and the service lives.
    let health = place.command(&["health"]).output().unwrap();
    assert_eq!(health.status.code(), Some(0), "{health:?}");
    let status = place.command(&["status", "--output", "json"]).output().unwrap();
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    assert_eq!(std::fs::read_dir(place.directory.path().join("empty")).unwrap().count(), 0, "something was written");
}
