//! Places at which tests have this program fail, wait, panic or die; nothing without the feature `failpoints`.
//!
//! `FAILPOINTS` in the environment says what happens where: `swap-begin=panic`, `load-nodes=3*off->return(kill)`,
//! `indices-end=sleep(500)`; see the crate `fail` for the words. `return(kill)` is SIGKILL, any other `return` an error.

/// A place that tests can name, in a function that returns [`Result`](crate::error::Result).
#[macro_export]
macro_rules! failpoint {
    ($name:expr) => {
        #[cfg(feature = "failpoints")]
        $crate::failpoint::reach($name)?;
    };
}

/// Does what the environment says of a place.
#[cfg(feature = "failpoints")]
pub(crate) fn reach(name: &str) -> crate::error::Result<()> {
    use crate::error::{Error, ErrorKind};
    fail::fail_point!(name, |argument| match argument.as_deref() {
        Some("kill") => kill(),
        _ => Err(Error::new(ErrorKind::CacheConnection, format!("scripted fault at {name}"))),
    });
    Ok(())
}

/// As from outside: nothing of this process runs on.
#[cfg(feature = "failpoints")]
fn kill() -> ! {
    let own = std::process::id().to_string();
    // If it cannot be started, the test that waits for the end says so.
    let _ = std::process::Command::new("kill").args(["-KILL", &own]).status();
    loop {
        std::thread::park();
    }
}
