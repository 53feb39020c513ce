//! Sets up the log: to the console, and to a file each day if a directory is configured.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io;
use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};

use indicatif::MultiProgress;
use thiserror::Error;
use tracing::level_filters::LevelFilter;
use tracing::{Subscriber, error};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_appender::rolling::{InitError, RollingFileAppender, Rotation};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::JsonFields;
use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use super::json_lines::JsonLines;
use crate::config::{LogFormat, LogLevel, LoggingConfig};

/// The target of the lines of the audit log: each change of the cache and each command of an operator.
pub(crate) const AUDIT_TARGET: &str = "audit";

/// The target of everything that this crate logs.
const OWN_TARGET: &str = env!("CARGO_CRATE_NAME");

/// Daily files are named `sync.2026-01-01.log`.
const FILE_PREFIX: &str = "sync";
const FILE_SUFFIX: &str = "log";

/// The stream that the log goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Console {
    /// For the service: a container's log is collected there.
    Stdout,
    /// For commands that print a result: standard output is reserved for it.
    Stderr,
}

/// Keeps the log going. When the guard is dropped, it writes the lines that are still on their way to a file, so it belongs in
/// `main`, which must end by returning.
#[must_use = "lines are lost if this is dropped early"]
#[derive(Debug)]
pub(crate) struct LoggingGuard {
    _file: Option<WorkerGuard>,
    level: LevelControl,
}

impl LoggingGuard {
    /// The control of the level while the program runs.
    pub(crate) fn level(&self) -> LevelControl {
        self.level.clone()
    }
}

/// Changes the level of the log while the program runs.
#[derive(Debug, Clone)]
pub(crate) struct LevelControl(reload::Handle<Targets, Registry>);

impl LevelControl {
    /// Applies the level of this configuration from now on. Returns whether this worked: it fails if the log has ended.
    pub(crate) fn set(&self, config: &LoggingConfig) -> bool {
        self.0.reload(filter(config)).is_ok()
    }
}

/// The reason why there is no log.
#[derive(Debug, Error)]
pub(crate) enum LoggingError {
    /// The directory cannot be made, or nothing can be written to it.
    #[error("cannot write log files to {} (logging.directory)", directory.display())]
    Directory { directory: PathBuf, source: DirectoryError },
    /// Logging can be set up only once in a process.
    #[error("logging is already set up")]
    Twice(#[from] TryInitError),
}

/// The reason why a directory cannot take log files.
#[derive(Debug, Error)]
pub(crate) enum DirectoryError {
    /// The directory cannot be made.
    #[error(transparent)]
    Make(#[from] io::Error),
    /// No file can be opened in the directory.
    #[error(transparent)]
    Open(#[from] InitError),
}

/// Sets up the log of this process, and logs panics too. If there are bars, lines are written above them.
pub(crate) fn start(config: &LoggingConfig, console: Console, bars: Option<MultiProgress>) -> Result<LoggingGuard, LoggingError> {
    let (file, guard) = match &config.directory {
        Some(directory) => {
            let (writer, guard) = daily_files(directory, config.keep_files)
                .map_err(|source| LoggingError::Directory { directory: directory.clone(), source })?;
            (Some(writer), Some(guard))
        }
        None => (None, None),
    };
    let (filter, level) = reload::Layer::new(filter(config));
    subscriber(config, move || Above { console, bars: bars.clone() }, file, filter).try_init()?;
    std::panic::set_hook(Box::new(on_panic));
    Ok(LoggingGuard { _file: guard, level: LevelControl(level) })
}

/// Writes lines above the bars of a terminal, which are then redrawn below them.
struct Above {
    console: Console,
    bars: Option<MultiProgress>,
}

impl Above {
    fn around<T>(&self, write: impl FnOnce(&mut dyn io::Write) -> io::Result<T>) -> io::Result<T> {
        let write = || match self.console {
            Console::Stdout => write(&mut io::stdout().lock()),
            Console::Stderr => write(&mut io::stderr().lock()),
        };
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl io::Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.around(|console| console.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.around(|console| console.flush())
    }
}

/// A writer to daily files. It waits if the disk is too slow: a log with missing lines is not a log.
fn daily_files(directory: &Path, keep_files: usize) -> Result<(NonBlocking, WorkerGuard), DirectoryError> {
    std::fs::create_dir_all(directory)?;
    let files = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(FILE_PREFIX)
        .filename_suffix(FILE_SUFFIX)
        .max_log_files(keep_files)
        .build(directory)?;
    Ok(NonBlockingBuilder::default().lossy(false).thread_name("log-writer").finish(files))
}

/// One layer for both places: each line is made once, and is the same in both. There are no colours anywhere: a container's log
/// is seldom read on a terminal.
fn subscriber<W>(
    config: &LoggingConfig,
    console: W,
    file: Option<NonBlocking>,
    filter: reload::Layer<Targets, Registry>,
) -> impl Subscriber + Send + Sync + 'static
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let writer = match file {
        Some(file) => BoxMakeWriter::new(console.and(file)),
        None => BoxMakeWriter::new(console),
    };
    let layer = fmt::layer().with_ansi(false).with_writer(writer);
    let layer = match config.format {
        LogFormat::Json => layer.event_format(JsonLines).fmt_fields(JsonFields::new()).boxed(),
        LogFormat::Text => layer.boxed(),
    };
    Registry::default().with(layer.with_filter(filter))
}

/// Our own lines from the configured level on, and lines of libraries from warnings on: below that, database drivers log
/// connection details and rows, which belong in no log.
fn filter(config: &LoggingConfig) -> Targets {
    let own = level_filter(config.level);
    let audit = if config.audit { LevelFilter::INFO } else { LevelFilter::OFF };
    Targets::new().with_default(own.min(LevelFilter::WARN)).with_target(OWN_TARGET, own).with_target(AUDIT_TARGET, audit)
}

const fn level_filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    }
}

fn on_panic(panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let message = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    log_panic(message.unwrap_or("no message"), panic.location().map(ToString::to_string));
}

/// Logs a panic like any other fault, in the same format.
fn log_panic(message: &str, location: Option<String>) {
    let thread = std::thread::current();
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
    error!(location, thread = thread.name(), backtrace, panic = message, "a part of the program panicked");
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::{debug, info, subscriber::with_default, warn};

    use super::*;

    /// A console that keeps its lines.
    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl Memory {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn config(level: LogLevel, format: LogFormat) -> LoggingConfig {
        LoggingConfig { level, format, directory: None, keep_files: 2, audit: true }
    }

    /// The console output of a closure's log lines.
    fn logged(config: &LoggingConfig, log: impl FnOnce()) -> String {
        let memory = Memory::default();
        let console = memory.clone();
        let (filter, _level) = reload::Layer::new(filter(config));
        with_default(subscriber(config, move || console.clone(), None, filter), log);
        memory.text()
    }

    #[test]
    fn test_logging_as_json_has_fields_at_the_top() {
        let text = logged(&config(LogLevel::Info, LogFormat::Json), || info!(rows = 3, "pass done"));
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!((&line["message"], &line["rows"], &line["level"]), (&"pass done".into(), &3.into(), &"INFO".into()));
    }

    #[test]
    fn test_logging_as_json_tells_whose_line_it_is_at_the_top() {
        let text = logged(&config(LogLevel::Info, LogFormat::Json), || {
            let span = tracing::info_span!("generation", pipeline = "research", generation = 3_u64);
            span.in_scope(|| info!(target: AUDIT_TARGET, kind = "Entity", last = Option::<&str>::None, "cache changed"));
            span.in_scope(|| info!(generation = 4_u64, flag = true, half = 0.5, "its own word counts"));
        });
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["pipeline"], &lines[0]["generation"]), (&"research".into(), &3.into()), "{text}");
        assert_eq!((&lines[0]["target"], &lines[0]["kind"], lines[0].get("last")), (&"audit".into(), &"Entity".into(), None));
        assert!(lines[0]["timestamp"].as_str().unwrap().ends_with('Z'));
        assert_eq!((&lines[1]["generation"], &lines[1]["half"]), (&4.into(), &0.5.into()));
    }

    #[test]
    fn test_logging_as_text_is_a_line_without_colours() {
        let text = logged(&config(LogLevel::Info, LogFormat::Text), || info!(rows = 3, "pass done"));
        assert!(text.ends_with("pass done rows=3\n") && !text.contains('\u{1b}'), "{text:?}");
    }

    #[test]
    fn test_logging_heeds_the_level_but_keeps_libraries_quiet() {
        let log = || {
            debug!("own detail");
            warn!("own warning");
            info!(target: "neo4rs", "row");
            warn!(target: "neo4rs", "library warning");
            info!(target: AUDIT_TARGET, "full pass by hand");
        };
        let text = logged(&config(LogLevel::Trace, LogFormat::Text), log);
        for shown in ["own detail", "own warning", "library warning", "full pass by hand"] {
            assert!(text.contains(shown), "{shown}");
        }
        assert!(!text.contains("row\n"), "{text}");
        let text = logged(&config(LogLevel::Error, LogFormat::Text), log);
        assert!(text.trim().ends_with("audit: full pass by hand") && text.lines().count() == 1, "{text}");
        let text = logged(&LoggingConfig { audit: false, ..config(LogLevel::Info, LogFormat::Text) }, log);
        assert!(!text.contains("full pass by hand") && !text.contains("own detail"), "{text}");
    }

    #[test]
    fn test_logging_changes_its_level_while_it_runs() {
        let memory = Memory::default();
        let console = memory.clone();
        let (quiet, loud) = (config(LogLevel::Info, LogFormat::Text), config(LogLevel::Debug, LogFormat::Text));
        let (filter, level) = reload::Layer::new(filter(&quiet));
        let level = LevelControl(level);
        with_default(subscriber(&quiet, move || console.clone(), None, filter), || {
            debug!("before");
            assert!(level.set(&loud));
            debug!("after");
        });
        assert!(memory.text().contains("after") && !memory.text().contains("before"), "{}", memory.text());
    }

    #[test]
    fn test_logging_writes_a_file_a_day_as_well() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("log/sync");
        let (writer, guard) = daily_files(&directory, 2).unwrap();
        let memory = Memory::default();
        let console = memory.clone();
        let config = config(LogLevel::Info, LogFormat::Json);
        let (filter, _level) = reload::Layer::new(filter(&config));
        with_default(subscriber(&config, move || console.clone(), Some(writer), filter), || info!("to both"));
        drop(guard);
        let files: Vec<_> = std::fs::read_dir(&directory).unwrap().map(|file| file.unwrap().path()).collect();
        let [file] = files.as_slice() else { panic!("one file: {files:?}") };
        let name = file.file_name().unwrap().to_str().unwrap();
        assert!(name.starts_with("sync.") && name.ends_with(".log"), "{name}");
        assert_eq!(std::fs::read_to_string(file).unwrap(), memory.text());
        assert!(memory.text().contains("to both"));
    }

    #[test]
    fn test_logging_says_which_directory_it_cannot_use() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let config = LoggingConfig { directory: Some(file.path().join("log")), ..config(LogLevel::Info, LogFormat::Json) };
        let error = start(&config, Console::Stderr, None).unwrap_err();
        assert!(error.to_string().contains(file.path().to_str().unwrap()), "{error}");
    }

    #[test]
    fn test_logging_tells_a_panic_with_its_place() {
        let text = logged(&config(LogLevel::Error, LogFormat::Json), || {
            log_panic("out of cheese", Some("kitchen.rs:7:1".to_owned()));
        });
        let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
        assert_eq!(line["panic"], "out of cheese");
        assert_eq!(line["location"], "kitchen.rs:7:1");
    }
}
