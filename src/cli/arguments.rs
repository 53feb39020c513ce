//! What can be asked on the command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use super::exit::Exit;
use crate::config::{LogFormat, LogLevel, Overrides};

/// Printed below the help of the program itself.
const FIRST_STEPS: &str = "\
First steps:
  export NEO4J_URI=bolt://localhost:7687 NEO4J_PASSWORD=… FALKORDB_HOST=localhost
  neo4j-falkordb-sync check    # check both servers and show what a pass would do
  neo4j-falkordb-sync run      # copy everything, then follow every change

All settings are explained in config/sync.yaml, each with its environment variable.

Exit codes: 0 success · 1 failure · 2 result unknown · 64 invalid usage or configuration";

/// Keeps a FalkorDB graph equal to a Neo4j graph. Never writes to Neo4j.
#[derive(Debug, Clone, PartialEq, Eq, Parser)]
#[command(name = "neo4j-falkordb-sync", version, after_help = FIRST_STEPS, max_term_width = 110)]
pub struct Arguments {
    /// What holds for all commands.
    #[command(flatten)]
    pub(crate) global: GlobalArguments,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for all commands.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(crate) struct GlobalArguments {
    /// Configuration file [default: config/sync.yaml, if it exists]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Format of the result of a command
    #[arg(long, short, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,

    /// Lowest level of log lines to print: error, warn, info, debug or trace
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,

    /// Format of log lines: json or text
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,

    /// Port of the status page, health checks and metrics; 0 turns them off
    #[arg(long, global = true, value_name = "PORT")]
    pub health_port: Option<u16>,

    /// Allow the replacement of a graph that this service did not fill
    #[arg(long, global = true)]
    pub take_over: bool,
}

/// How the result of a command is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// Text for people.
    Text,
    /// One JSON document for programs, with nothing else on standard output.
    Json,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the service: bring the cache in step and keep it in step, until a signal stops the service
    ///
    /// The first start copies everything; a later start resumes where the last one ended. SIGTERM or Ctrl-C stops the service
    /// after it has stored the batches under way; a second signal stops it at once, also without any loss.
    Run,
    /// Run one pass, then exit: for your own schedule, or for a manual repair
    ///
    /// Cannot run beside a service on the same graph: names the owner of the graph and exits.
    Sync(SyncArguments),
    /// Compare both sides element by element: exit 0 if they are equal, 1 if they differ, 2 if the result is unknown
    ///
    /// Without --repair, writes nothing and can run beside a service. With --repair, cannot run beside a service on the same
    /// graph: names the owner of the graph and exits.
    Verify(VerifyArguments),
    /// Restore the graph that the last full sync replaced, if it was kept
    ///
    /// Requires full_sync.keep_previous during that full sync. Pauses the pipeline until you resume it. A second rollback undoes
    /// the first. Use POST /api/sync/rollback instead while the service runs, because the service owns the graph.
    Rollback,
    /// Check the configuration and both servers, and show what a pass would do; writes nothing
    ///
    /// Reads up to 10,000 elements of each label and type as a full sync would, and shows what a full sync does with them:
    /// conversions, quarantine, indices, and the approximate memory of the graph. Exits with 1 if the quarantine would not be
    /// empty.
    Check(CheckArguments),
    /// Show what a running service is doing
    ///
    /// Queries the service at the configured address and port.
    Status,
    /// Print the completion script for a shell
    ///
    /// For bash: source <(neo4j-falkordb-sync completions bash). For fish, write it to
    /// ~/.config/fish/completions/neo4j-falkordb-sync.fish; for zsh, to a file _neo4j-falkordb-sync in a directory of $fpath.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Check whether a running service is alive, as the health check of a container
    ///
    /// Exits with 0 if the service is alive, with 1 if it is not, and with 2 if it cannot be reached.
    Health,
}

/// Which pass to run.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct SyncArguments {
    /// Pass to run
    #[arg(long, value_enum, default_value_t = SyncMode::Incremental)]
    pub(crate) mode: SyncMode,

    /// Approve held deletes, which exceed the allowed share of a label or type
    #[arg(long)]
    pub allow_deletes: bool,
}

/// How much to look at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct CheckArguments {
    /// Read every element, which takes about as long as a full sync
    #[arg(long)]
    pub all: bool,
}

/// What to do about differences.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct VerifyArguments {
    /// Repair the differences
    #[arg(long)]
    pub repair: bool,
}

/// The passes that can be run by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SyncMode {
    /// Build a new graph; readers see the current graph until the new one replaces it in one step
    Full,
    /// Copy what has changed since the last pass
    Incremental,
    /// Compare everything and repair the differences
    Differential,
}

impl Arguments {
    /// Reads a command line, the program's name first. If there is nothing to do after that, because it asks for help or
    /// cannot be understood, prints what there is to say and returns how the program ends.
    pub fn read<I>(line: I) -> Result<Self, Exit>
    where
        I: IntoIterator,
        I::Item: Into<OsString> + Clone,
    {
        Self::try_parse_from(line).map_err(|error| {
            // If the text cannot be printed, the exit code still says it.
            let _ = error.print();
            exit_of(error.kind())
        })
    }

    /// The settings that the command line overrides.
    pub(crate) fn overrides(&self) -> Overrides {
        let GlobalArguments { log_level, log_format, health_port, take_over, .. } = self.global;
        Overrides { log_level, log_format, health_port, take_over: take_over.then_some(true) }
    }
}

impl Command {
    /// Whether the command is the service itself; the others end by themselves and print a result.
    pub(crate) const fn is_service(&self) -> bool {
        matches!(self, Self::Run)
    }
}

/// To ask for help is no mistake; clap's own code for one is 2, which here means something else.
fn exit_of(kind: ErrorKind) -> Exit {
    match kind {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done,
        _ => Exit::Usage,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(std::iter::once("neo4j-falkordb-sync").chain(line.split_whitespace()))
    }

    #[test]
    fn test_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn test_arguments_know_each_command() {
        for (line, command) in [
            ("run", Command::Run),
            ("check", Command::Check(CheckArguments { all: false })),
            ("check --all", Command::Check(CheckArguments { all: true })),
            ("rollback", Command::Rollback),
            ("status", Command::Status),
            ("health", Command::Health),
            ("completions fish", Command::Completions { shell: Shell::Fish }),
            ("sync", Command::Sync(SyncArguments { mode: SyncMode::Incremental, allow_deletes: false })),
            ("sync --mode full", Command::Sync(SyncArguments { mode: SyncMode::Full, allow_deletes: false })),
            (
                "sync --mode differential --allow-deletes",
                Command::Sync(SyncArguments { mode: SyncMode::Differential, allow_deletes: true }),
            ),
            ("verify", Command::Verify(VerifyArguments { repair: false })),
            ("verify --repair", Command::Verify(VerifyArguments { repair: true })),
        ] {
            assert_eq!(parse(line).unwrap().command, command, "{line}");
        }
        assert!(Command::Run.is_service() && !Command::Check(CheckArguments::default()).is_service());
    }

    #[test]
    fn test_arguments_take_options_before_and_after_the_command() {
        let expected = GlobalArguments {
            config: Some("a.yaml".into()),
            output: Output::Json,
            log_level: Some(LogLevel::Debug),
            log_format: Some(LogFormat::Text),
            health_port: Some(0),
            take_over: true,
        };
        let options = "--config a.yaml --output json --log-level DEBUG --log-format text --health-port 0 --take-over";
        let after = parse(&format!("status {options}")).unwrap();
        assert_eq!(after.global, expected);
        assert_eq!(parse(&format!("{options} status")).unwrap(), after);
        assert_eq!(after.overrides().log_level, Some(LogLevel::Debug));
        assert_eq!((after.overrides().health_port, after.overrides().take_over), (Some(0), Some(true)));
    }

    #[test]
    fn test_arguments_override_nothing_unless_asked() {
        let arguments = parse("run").unwrap();
        assert_eq!(arguments.overrides(), Overrides::default());
        assert_eq!((arguments.global.config, arguments.global.output), (None, Output::Text));
    }

    #[test]
    fn test_arguments_that_are_wrong_are_bad_usage() {
        for line in ["", "fly", "run --no-such", "sync --mode sideways", "run --log-level loud", "run --health-port 70000"] {
            assert_eq!(exit_of(parse(line).unwrap_err().kind()), Exit::Usage, "{line}");
        }
        for line in ["--help", "--version", "help", "sync --help"] {
            assert_eq!(exit_of(parse(line).unwrap_err().kind()), Exit::Done, "{line}");
        }
        let error = parse("run --log-level loud").unwrap_err().to_string();
        assert!(error.contains("is not one of error, warn, info, debug, trace"), "{error}");
    }

    #[test]
    fn test_arguments_help_lists_every_command_and_the_first_steps() {
        let help = Arguments::command().render_help().to_string();
        for expected in ["run", "sync", "verify", "check", "status", "health", "--config", "First steps", "64 invalid usage"] {
            assert!(help.contains(expected), "{expected}:\n{help}");
        }
    }
}
