//! The output of commands: results on standard output, errors on standard error.

use std::error::Error as StdError;
use std::io::{self, Write};

use serde::Serialize;

use super::arguments::Output;
use super::exit::Exit;
use crate::error::{Error, chain};

/// Prints a line on standard error. If standard error is closed, nobody reads it.
pub(super) fn line_to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Prints a line on standard output. A reader that has seen enough closes it; this is not a failure.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Reports a configuration that cannot be used, with its causes.
pub(super) fn refused(error: &dyn StdError) -> Exit {
    usage(&chain(error))
}

/// Reports an error in the call of the program.
pub(super) fn usage(text: &str) -> Exit {
    line_to_stderr(text);
    Exit::Usage
}

/// Reports why work failed, and what to do.
pub(super) fn failed(error: &Error) -> Exit {
    line_to_stderr(&format!("{} ({})", error.chain(), error.kind().remedy()));
    Exit::Failed
}

/// Prints a result, for people or for programs.
pub(super) fn result<T: Serialize>(output: Output, value: &T, text: impl FnOnce() -> String) {
    match output {
        Output::Text => line(&text()),
        // Results are plain data with text keys, which can always be written as JSON.
        Output::Json => line(&serde_json::to_string_pretty(value).unwrap_or_default()),
    }
}
