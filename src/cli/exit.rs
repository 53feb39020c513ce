//! The end of a command, as its caller sees it.

use std::process::{ExitCode, Termination};

/// The result of a command. The numbers are part of the command line's interface: scripts depend on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// The work is done, or the answer is yes.
    Done = 0,
    /// The work failed, or the answer is no.
    Failed = 1,
    /// The answer is unknown, for instance because a server could not be reached.
    Unknown = 2,
    /// The command line or the configuration cannot be used. 64 is the `EX_USAGE` of sysexits(3): it tells a service manager that
    /// a restart does not help.
    Usage = 64,
}

impl Exit {
    /// The exit code of the process.
    pub(crate) const fn code(self) -> u8 {
        self as u8
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        self.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_exit_keeps_its_numbers() {
        assert_eq!([Exit::Done, Exit::Failed, Exit::Unknown, Exit::Usage].map(Exit::code), [0, 1, 2, 64]);
    }
}
