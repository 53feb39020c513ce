//! The service itself as a child process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::servers::{FalkorAddress, Neo4jAddress};

/// No command of a test takes longer.
const COMMAND: Duration = Duration::from_secs(240);

/// How a command is to be run.
#[derive(Clone)]
pub struct Service {
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Finished {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A command that runs.
pub struct Running {
    child: Child,
    lines: watch::Receiver<Vec<String>>,
}

impl Service {
    /// The program against these servers.
    pub fn new(program: impl Into<PathBuf>, neo4j: &Neo4jAddress, falkordb: &FalkorAddress, graph: &str) -> Self {
        // So that the same tests can be run on a build as it is shipped.
        let shipped = std::env::var_os("NEO4J_FALKORDB_SYNC_PROGRAM").map(PathBuf::from);
        let service = Self { program: shipped.unwrap_or(program.into()), environment: Vec::new() };
        let service = service
            .with("NEO4J_URI", &neo4j.uri)
            .with("NEO4J_USER", &neo4j.user)
            .with("NEO4J_PASSWORD", &neo4j.password)
            .with("FALKORDB_HOST", &falkordb.host)
            .with("FALKORDB_PORT", falkordb.port)
            .with("FALKORDB_DATABASE", graph)
            .with("HEALTH_PORT", 0);
        match &falkordb.password {
            Some(password) => service.with("FALKORDB_PASSWORD", password),
            None => service,
        }
    }

    /// With a variable of the environment, instead of the one of that name before.
    pub fn with(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// Without a variable of the environment.
    pub fn without(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).env_clear().envs(self.environment.iter().cloned()).kill_on_drop(true);
        // Not the checkout: its config/sync.yaml would be read.
        command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub async fn finish(&self, arguments: &[&str]) -> Finished {
        let output = tokio::time::timeout(COMMAND, self.command(arguments).output());
        let output = output.await.unwrap_or_else(|_| panic!("{arguments:?} did not end")).unwrap();
        Finished {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs a command that has to succeed, and returns its result as JSON.
    pub async fn json(&self, arguments: &[&str]) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        let finished = self.finish(&arguments).await;
        assert_eq!(finished.code, 0, "{}", finished.stderr);
        serde_json::from_str(&finished.stdout).unwrap()
    }

    /// As [`Self::json`], for a command that has to end with this code.
    pub async fn json_with_code(&self, arguments: &[&str], code: i32) -> serde_json::Value {
        let arguments: Vec<&str> = arguments.iter().copied().chain(["--output", "json"]).collect();
        let finished = self.finish(&arguments).await;
        assert_eq!(finished.code, code, "{}", finished.stderr);
        serde_json::from_str(&finished.stdout).unwrap()
    }

    /// Starts a command; its log is read as it comes.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = watch::channel(Vec::new());
        let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let keep = sender.clone();
        tokio::spawn(async move {
            let mut read = BufReader::new(out).lines();
            while let Ok(Some(line)) = read.next_line().await {
                sender.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        tokio::spawn(async move {
            let mut read = BufReader::new(err).lines();
            while let Ok(Some(line)) = read.next_line().await {
                keep.send_modify(|lines: &mut Vec<String>| lines.push(line));
            }
        });
        Running { child, lines }
    }
}

impl Running {
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Waits until a line holds the text, and returns it.
    pub async fn line(&mut self, text: &str) -> String {
        let wanted = |lines: &Vec<String>| lines.iter().any(|line| line.contains(text));
        let found = tokio::time::timeout(COMMAND, self.lines.wait_for(wanted)).await.is_ok_and(|waited| waited.is_ok());
        assert!(found, "no line holds {text:?}; the log:\n{}", self.log());
        self.lines.borrow().iter().find(|line| line.contains(text)).cloned().unwrap_or_default()
    }

    /// Waits until so many lines hold the text.
    pub async fn lines(&mut self, text: &str, number: usize) {
        let wanted = |lines: &Vec<String>| lines.iter().filter(|line| line.contains(text)).count() >= number;
        let found = tokio::time::timeout(COMMAND, self.lines.wait_for(wanted)).await.is_ok_and(|waited| waited.is_ok());
        assert!(found, "{number} lines do not hold {text:?}; the log:\n{}", self.log());
    }

    /// How many lines there are: where to look from for what follows.
    pub fn length(&self) -> usize {
        self.lines.borrow().len()
    }

    /// As [`Self::line`], looking only at lines from that place on.
    pub async fn line_from(&mut self, from: usize, text: &str) -> String {
        let find = |lines: &Vec<String>| lines.iter().skip(from).find(|line| line.contains(text)).cloned();
        let waited = tokio::time::timeout(COMMAND, self.lines.wait_for(|lines| find(lines).is_some()));
        let found = waited.await.is_ok_and(|waited| waited.is_ok());
        assert!(found, "no line after the first {from} holds {text:?}; the log:\n{}", self.log());
        find(&self.lines.borrow()).unwrap_or_default()
    }

    /// The lines from that place on.
    pub fn log_from(&self, from: usize) -> String {
        self.lines.borrow().iter().skip(from).cloned().collect::<Vec<_>>().join("\n")
    }

    pub fn log(&self) -> String {
        self.lines.borrow().join("\n")
    }

    /// SIGKILL, and the wait for its end.
    pub async fn kill(mut self) {
        self.kill_now().await;
    }

    /// As [`Self::kill`], where its log is still wanted.
    pub async fn kill_now(&mut self) {
        self.child.kill().await.unwrap();
    }

    /// SIGTERM, and its exit code.
    pub async fn terminate(mut self) -> i32 {
        self.terminate_now().await
    }

    /// As [`Self::terminate`], where its log is still wanted.
    pub async fn terminate_now(&mut self) -> i32 {
        self.signal("-TERM").await;
        self.ended().await
    }

    /// Sends a signal, such as `-STOP`.
    pub async fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(name).arg(self.pid().to_string()).status().await.unwrap();
        assert!(sent.success(), "kill {name}");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> i32 {
        let status = tokio::time::timeout(COMMAND, self.child.wait()).await;
        status.unwrap_or_else(|_| panic!("it did not end; the log:\n{}", self.log())).unwrap().code().unwrap_or(-1)
    }

    /// Whether it has ended.
    pub fn is_over(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }
}

/// The most memory that a process has had, in bytes; 0 once it is over.
pub fn peak_memory(pid: u32) -> u64 {
    memory(pid, "VmHWM:")
}

/// The memory that a process has now, in bytes; 0 once it is over.
pub fn resident_memory(pid: u32) -> u64 {
    memory(pid, "VmRSS:")
}

fn memory(pid: u32, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
}
