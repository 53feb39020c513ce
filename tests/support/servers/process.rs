//! A server's process: ended by its own id, never left behind, and started again on demand.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::{Error, Result};

const POLL: Duration = Duration::from_millis(20);

const READY_POLL: Duration = Duration::from_millis(100);

/// What to run.
pub struct Program {
    pub server: &'static str,
    pub executable: PathBuf,
    pub arguments: Vec<String>,
    /// Added to the environment of this process.
    pub environment: Vec<(String, String)>,
    /// Its output goes there, and the directory it is in is the one it runs in.
    pub log: PathBuf,
}

/// A server that can be ended and started again, in the same place.
pub struct Restartable {
    program: Mutex<Program>,
    process: Mutex<Arc<ServerProcess>>,
}

impl Restartable {
    pub fn start(program: Program) -> Result<Self> {
        let process = Mutex::new(Arc::new(ServerProcess::start(&program)?));
        Ok(Self { program: Mutex::new(program), process })
    }

    pub fn pid(&self) -> u32 {
        self.current().pid
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<ExitStatus> {
        self.current().ended()
    }

    /// The last lines of its output.
    pub fn log(&self) -> String {
        tail(&self.program.lock().log)
    }

    pub async fn stop(&self, deadline: Duration) {
        self.current().stop(deadline).await;
    }

    pub fn kill(&self) {
        self.current().kill();
    }

    pub fn pause(&self) {
        self.current().signal("STOP");
    }

    pub fn resume(&self) {
        self.current().signal("CONT");
    }

    pub async fn restart(&self, stop: Duration) -> Result<()> {
        self.stop(stop).await;
        *self.process.lock() = Arc::new(ServerProcess::start(&self.program.lock())?);
        Ok(())
    }

    /// Another program in the place of this one, from the next start on.
    pub fn replace(&self, executable: PathBuf, arguments: Vec<String>) {
        let mut program = self.program.lock();
        (program.executable, program.arguments) = (executable, arguments);
    }

    /// Repeats `attempt` until it succeeds: a starting server offers no event to wait for.
    pub async fn until_ready<T, F>(&self, deadline: Duration, mut attempt: impl FnMut() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let end = Instant::now() + deadline;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let process = self.current();
            if process.ended().is_some() || Instant::now() > end {
                return Err(process.not_ready(deadline, error.to_string()));
            }
            tokio::time::sleep(READY_POLL).await;
        }
    }

    fn current(&self) -> Arc<ServerProcess> {
        Arc::clone(&self.process.lock())
    }
}

/// One life of a server.
struct ServerProcess {
    server: &'static str,
    // Reaped only through this handle, so the id cannot have gone to a stranger when a signal is sent.
    child: Mutex<Child>,
    pid: u32,
    log: PathBuf,
}

impl ServerProcess {
    /// Starts it with its output in its log, in a process group of its own: a Ctrl-C on the terminal is for
    /// the program that started it, which stops it in order.
    fn start(program: &Program) -> Result<Self> {
        let output =
            File::options().create(true).append(true).open(&program.log).map_err(Error::file("cannot write", &program.log))?;
        let errors = output.try_clone().map_err(Error::file("cannot write", &program.log))?;
        let mut command = dying_with_parent(&program.executable);
        command.envs(program.environment.iter().cloned()).current_dir(program.log.parent().unwrap_or(Path::new("/")));
        command.args(&program.arguments).stdin(Stdio::null()).stdout(output).stderr(errors).process_group(0);
        let child = spawn_lasting(command)
            .map_err(|source| Error::Spawn { program: program.executable.display().to_string(), source })?;
        Ok(Self { server: program.server, pid: child.id(), child: Mutex::new(child), log: program.log.clone() })
    }

    /// How it ended, if it has.
    fn ended(&self) -> Option<ExitStatus> {
        self.child.lock().try_wait().ok().flatten()
    }

    /// SIGTERM, then SIGKILL if it is still there at the deadline.
    async fn stop(&self, deadline: Duration) {
        self.signal("TERM");
        self.signal("CONT");
        let end = Instant::now() + deadline;
        while self.ended().is_none() {
            if Instant::now() > end {
                return self.kill();
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// SIGKILL, and waits until it is gone.
    fn kill(&self) {
        let mut child = self.child.lock();
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Says why it ended, if it has; else that it did not answer in time, and what it said last.
    fn not_ready(&self, after: Duration, last: String) -> Error {
        let log = tail(&self.log);
        match self.ended() {
            Some(status) => Error::Ended { server: self.server, status: status.to_string(), log },
            None => Error::NotReady { server: self.server, after, last, log },
        }
    }

    fn signal(&self, name: &str) {
        let mut child = self.child.lock();
        if matches!(child.try_wait(), Ok(None)) {
            // The shell's own kill: not every system has the program.
            let _ = Command::new("sh")
                .args(["-c", r#"kill -s "$0" "$1""#, name, &self.pid.to_string()])
                .stderr(Stdio::null())
                .status();
        }
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `program`, to be killed by the kernel when the thread that starts it is gone, where util-linux can ask for
/// that. Elsewhere only a regular end of this process stops it.
fn dying_with_parent(program: &Path) -> Command {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    let known = *KNOWN.get_or_init(|| {
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "true"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    });
    if !known {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program);
    command
}

type Spawned = std::io::Result<Child>;

/// Starts the command from a thread that lives as long as this process: the parent-death signal comes when the
/// *thread* that started the child ends, and a test's thread ends with its test.
fn spawn_lasting(command: Command) -> Spawned {
    static STARTER: OnceLock<mpsc::Sender<(Command, mpsc::Sender<Spawned>)>> = OnceLock::new();
    let starter = STARTER.get_or_init(|| {
        let (orders, inbox) = mpsc::channel::<(Command, mpsc::Sender<Spawned>)>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let gone = || std::io::Error::other("the thread that starts processes is gone");
    let (answer, spawned) = mpsc::channel();
    starter.send((command, answer)).map_err(|_| gone())?;
    spawned.recv().map_err(|_| gone())?
}

/// The last lines of a log, for an error message.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
