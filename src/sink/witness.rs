//! The master according to several servers, which may disagree or not answer.

use crate::error::{Error, ErrorKind, Result};
use crate::model::host_port::HostPort;

/// What one server says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Testimony<R> {
    /// Higher for a server that knows of a later change.
    pub rank: R,
    pub master: HostPort,
}

/// Returns the master that the server of the highest rank names; of equal ranks, the first.
pub(super) fn newest<R: Ord>(answers: Vec<Result<Testimony<R>>>, unnamed: impl FnOnce() -> String) -> Result<HostPort> {
    let mut reasons = Vec::new();
    let mut newest: Option<Testimony<R>> = None;
    for answer in answers {
        match answer {
            Ok(said) if newest.as_ref().is_none_or(|newest| said.rank > newest.rank) => newest = Some(said),
            Ok(_) => {}
            Err(error) => reasons.push(error),
        }
    }
    newest.map(|said| said.master).ok_or_else(|| unnamed_master(unnamed(), reasons))
}

/// The error if no server names a master. What a server answers says more than that another one does not answer, but passes by itself
/// if one of those that do not answer knows better.
fn unnamed_master(message: String, mut reasons: Vec<Error>) -> Error {
    let is_silent = |reason: &Error| reason.kind() == ErrorKind::CacheConnection;
    let some_are_silent = reasons.iter().any(is_silent);
    // The sort keeps the order of the servers otherwise.
    reasons.sort_by_key(is_silent);
    match reasons.into_iter().next() {
        Some(first) => {
            let kind = if some_are_silent { ErrorKind::CacheConnection } else { first.kind() };
            Error::caused(kind, message, first)
        }
        None => Error::new(ErrorKind::CacheConnection, message),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn said(rank: u64, host: &str) -> Result<Testimony<u64>> {
        Ok(Testimony { rank, master: HostPort::new(host, 1) })
    }

    fn failed(kind: ErrorKind, text: &str) -> Result<Testimony<u64>> {
        Err(Error::new(kind, text))
    }

    fn chosen(answers: Vec<Result<Testimony<u64>>>) -> Result<String> {
        newest(answers, || "nobody names the master".to_owned()).map(|master| master.host)
    }

    #[test]
    fn whoever_knows_of_the_last_change_is_believed() {
        assert_eq!(chosen(vec![said(1, "a"), said(3, "b"), said(2, "c"), said(3, "d")]).unwrap(), "b");
        assert_eq!(chosen(vec![failed(ErrorKind::Configuration, "unknown"), said(1, "a")]).unwrap(), "a");
    }

    #[test]
    fn an_answer_explains_more_than_silence_and_may_pass_with_it() {
        let silent = || failed(ErrorKind::CacheConnection, "silent");
        let unknown = || failed(ErrorKind::Configuration, "unknown");
        let error = |answers| chosen(answers).unwrap_err();
        assert_eq!(error(vec![silent(), unknown()]).chain(), "nobody names the master: unknown");
        assert_eq!(error(vec![silent(), unknown()]).kind(), ErrorKind::CacheConnection);
        assert_eq!(error(vec![unknown(), unknown()]).kind(), ErrorKind::Configuration);
        assert_eq!(error(vec![silent()]).kind(), ErrorKind::CacheConnection);
        assert_eq!(error(Vec::new()).kind(), ErrorKind::CacheConnection);
    }
}
