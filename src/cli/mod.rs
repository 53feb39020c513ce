//! The command line, with one file for each subcommand.

pub mod arguments;
mod check;
pub mod exit;
mod health;
mod parts;
mod pipelines;
mod print;
mod progress;
mod reload;
mod rollback;
mod run;
mod status;
mod sync;
mod table;
mod verify;

use actix::System;

use arguments::{Arguments, Command};
use clap::CommandFactory;
use clap_complete::Shell;
use exit::Exit;
use progress::Progress;
use reload::Origin;

use crate::config::{Config, Environment, MonitoringConfig};
use crate::telemetry::logging::{self, Console, LevelControl};

/// Runs a command line until it ends.
///
/// First come all checks that need no server: arguments, configuration, logging. Only then the runtime starts.
pub fn main<I>(line: I) -> Exit
where
    I: IntoIterator,
    I::Item: Into<std::ffi::OsString> + Clone,
{
    let arguments = match Arguments::read(line) {
        Ok(arguments) => arguments,
        Err(exit) => return exit,
    };
    if let Command::Completions { shell } = arguments.command {
        print_completions(shell);
        return Exit::Done;
    }
    let environment = Environment::of_process();
    let (file, overrides) = (arguments.global.config.as_deref(), arguments.overrides());
    if matches!(arguments.command, Command::Status | Command::Health) {
        return match MonitoringConfig::load(file, &environment, &overrides) {
            Ok(monitoring) => ask(&arguments, &monitoring),
            Err(error) => print::refused(&error),
        };
    }
    let config = match Config::load(file, &environment, &overrides) {
        Ok(config) => config,
        Err(error) => return print::refused(&error),
    };
    let console = if arguments.command.is_service() { Console::Stdout } else { Console::Stderr };
    let progress = Progress::of(arguments.global.output, arguments.command.is_service());
    let logging = match logging::start(&config.logging, console, progress.bars()) {
        Ok(guard) => guard,
        Err(error) => return print::refused(&error),
    };
    for name in environment.without_effect() {
        tracing::warn!(variable = name, "environment variable has no effect in this service");
    }
    let origin = Origin { file: arguments.global.config.clone(), overrides };
    work(&arguments, &config, origin, logging.level(), progress)
}

/// A shell takes completions from standard output; if it is closed, nobody wants them.
fn print_completions(shell: Shell) {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), env!("CARGO_PKG_NAME"), &mut text);
    print::line(String::from_utf8_lossy(&text).trim_end());
}

fn ask(arguments: &Arguments, monitoring: &MonitoringConfig) -> Exit {
    let Some(address) = monitoring.address() else {
        return print::usage("monitoring.health_port is 0: the service does not answer over HTTP");
    };
    let output = arguments.global.output;
    in_system(|| async move {
        match arguments.command {
            Command::Health => health::health(address, output).await,
            _ => status::status(address, output).await,
        }
    })
}

fn work(arguments: &Arguments, config: &Config, origin: Origin, level: LevelControl, progress: Progress) -> Exit {
    // Two libraries use TLS, and each could choose a provider: choose one here, or the first handshake panics.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("another TLS provider is already installed");
    }
    let output = arguments.global.output;
    in_system(|| async move {
        match &arguments.command {
            Command::Run => run::run(config, origin, level, progress).await,
            Command::Sync(sync) => sync::sync(config, sync, output, &progress).await,
            Command::Verify(verify) => verify::verify(config, verify.repair, output, &progress).await,
            Command::Rollback => rollback::rollback(config, output).await,
            Command::Check(check) => check::check(config, check, output).await,
            Command::Status | Command::Health | Command::Completions { .. } => Exit::Usage,
        }
    })
}

/// Actors live on this thread; their workers' tasks run on the runtime's threads.
fn in_system<F: Future<Output = Exit>>(body: impl FnOnce() -> F) -> Exit {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap_or_else(|error| {
            // Without threads or descriptors, this process cannot do anything.
            print::line_to_stderr(&format!("cannot start: {error}"));
            std::process::exit(i32::from(Exit::Failed.code()))
        })
    };
    let system = System::with_tokio_rt(runtime);
    let exit = system.block_on(body());
    // Actors that a failure leaves behind before their first turn start when the system is dropped, and need the runtime's clock.
    let handle = system.runtime().tokio_runtime().handle().clone();
    let _runtime = handle.enter();
    drop(system);
    exit
}
