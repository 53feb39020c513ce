//! What commands print: results on standard output, complaints on standard error.

use std::error::Error as StdError;
use std::io::{self, Write};

use serde::Serialize;

use super::arguments::Output;
use super::exit::Exit;
use crate::error::{Error, chain};

/// A line on standard error. If that is closed, nobody reads it.
pub(super) fn line_to_stderr(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// A line on standard output. A reader that has seen enough closes it; that is no failure.
pub(super) fn line(text: &str) {
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Configuration that cannot be used, with its causes.
pub(super) fn refused(error: &dyn StdError) -> Exit {
    usage(&chain(error))
}

/// Something wrong with how the program was called.
pub(super) fn usage(text: &str) -> Exit {
    line_to_stderr(text);
    Exit::Usage
}

/// Why work failed, and what to do.
pub(super) fn failed(error: &Error) -> Exit {
    line_to_stderr(&format!("{} ({})", error.chain(), error.kind().remedy()));
    Exit::Failed
}

/// A result, for people or for programs.
pub(super) fn result<T: Serialize>(output: Output, value: &T, text: impl FnOnce() -> String) {
    match output {
        Output::Text => line(&text()),
        // Results are plain data with text keys, which always can be written as JSON.
        Output::Json => line(&serde_json::to_string_pretty(value).unwrap_or_default()),
    }
}
