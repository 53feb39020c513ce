//! One reader of a log for all pipelines that follow it and are at its end.
//!
//! A follower reads by itself until nothing is left to read. Then it joins: one of the members reads and tells all members. A
//! member leaves if its passes are behind, so that it does not delay the others, and reads by itself again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::feed::LogFeed;
use super::refusal::LogRefusal;
use super::tail::{NextTransaction, Tail};

/// The most transactions that are read before members can join and leave.
const AT_ONCE: usize = 64;

/// The longest wait of a member before it checks whether it must end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The end of a log, and all followers there.
#[derive(Debug, Default)]
pub(super) struct SharedTail {
    state: Mutex<SharedState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct SharedState {
    /// Present while there are members.
    tail: Option<Tail>,
    members: BTreeMap<MemberId, LogFeed>,
    /// The number of members that ever joined.
    joined: u64,
    /// The member that reads for all.
    reader: Option<MemberId>,
    /// The number of times in a row that the next transaction was incomplete.
    unwhole: u32,
}

/// Distinguishes members of a shared tail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MemberId(u64);

/// The membership in a shared tail. It ends when this value is dropped, even if the member's thread panics.
#[derive(Debug)]
pub(super) struct TailSubscription {
    member: MemberId,
    shared: Arc<SharedTail>,
}

impl Drop for TailSubscription {
    fn drop(&mut self) {
        self.shared.state.lock().remove(self.member);
        self.shared.changed.notify_all();
    }
}

/// The next duty of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberRole {
    /// The member reads for all.
    Read,
    /// Another member reads, and may have told something.
    Wait,
    /// The follower is no longer a member, and reads by itself.
    Left,
}

/// The result of reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Some transactions were read.
    Some,
    /// No transaction was read.
    Nothing {
        /// The number of times in a row that the next transaction was incomplete.
        unwhole: u32,
    },
}

/// The shared tails by the directory of the log, while somebody follows it.
static SHARED_TAILS: Mutex<BTreeMap<PathBuf, Weak<SharedTail>>> = Mutex::new(BTreeMap::new());

impl SharedTail {
    /// Returns the shared tail of the log in a directory.
    pub(super) fn of(directory: &Path) -> Arc<Self> {
        let mut tails = SHARED_TAILS.lock();
        if let Some(known) = tails.get(directory).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::default();
        tails.insert(directory.to_owned(), Arc::downgrade(&new));
        new
    }

    /// Joins if the tail is at the position of the shared one; otherwise returns the tail.
    pub(super) fn join(self: &Arc<Self>, tail: Tail, feed: LogFeed) -> Result<TailSubscription, Box<Tail>> {
        let mut state = self.state.lock();
        match &state.tail {
            Some(shared) if shared.position() != tail.position() => return Err(Box::new(tail)),
            Some(_) => {}
            None => state.tail = Some(tail),
        }
        state.joined += 1;
        let member = MemberId(state.joined);
        state.members.insert(member, feed);
        Ok(TailSubscription { member, shared: Arc::clone(self) })
    }

    /// The current number of members.
    #[cfg(test)]
    pub(super) fn members(&self) -> usize {
        self.state.lock().members.len()
    }
}

impl TailSubscription {
    /// Returns the next duty of this member. Waits a little if another member reads and nothing is new.
    pub(super) fn turn(&self) -> MemberRole {
        let mut state = self.shared.state.lock();
        let Some(feed) = state.members.get(&self.member) else { return MemberRole::Left };
        let is_told = feed.has_untold();
        if *state.reader.get_or_insert(self.member) == self.member {
            return MemberRole::Read;
        }
        if !is_told {
            self.shared.changed.wait_for(&mut state, LOOK_AGAIN);
        }
        MemberRole::Wait
    }

    /// Reads the new transactions and tells them to all members. A refusal ends all memberships.
    pub(super) fn read(&self) -> Result<ReadOutcome, LogRefusal> {
        let mut state = self.shared.state.lock();
        let brought = state.read();
        if brought.is_err() {
            state.dissolve();
        }
        drop(state);
        if !matches!(brought, Ok(ReadOutcome::Nothing { .. })) {
            self.shared.changed.notify_all();
        }
        brought
    }

    /// As [`Tail::verify`], if the last transaction is no longer than `longest`. A refusal ends all memberships.
    pub(super) fn verify(&self, longest: u64) -> Result<(), LogRefusal> {
        let mut state = self.shared.state.lock();
        let Some(tail) = state.tail.as_mut().filter(|tail| tail.last_bytes() <= longest) else { return Ok(()) };
        let verified = tail.verify();
        if verified.is_err() {
            state.dissolve();
            self.shared.changed.notify_all();
        }
        verified
    }
}

impl SharedState {
    /// Ends the memberships of all.
    fn dissolve(&mut self) {
        *self = Self { joined: self.joined, ..Self::default() };
    }

    fn remove(&mut self, member: MemberId) {
        self.members.remove(&member);
        self.reader = self.reader.filter(|reader| *reader != member);
        if self.members.is_empty() {
            self.tail = None;
        }
    }

    fn read(&mut self) -> Result<ReadOutcome, LogRefusal> {
        let mut any = false;
        for _ in 0..AT_ONCE {
            self.let_go_who_is_behind();
            let Some(tail) = &mut self.tail else { break };
            match tail.next(&|_| true)? {
                NextTransaction::Transaction(transaction) => {
                    self.members.values().for_each(|feed| feed.tell(&transaction, tail.position()));
                }
                NextTransaction::Nothing => break,
                NextTransaction::Unwhole => {
                    self.unwhole += 1;
                    break;
                }
            }
            (any, self.unwhole) = (true, 0);
        }
        if let Some(tail) = &mut self.tail {
            // An open file stays readable when the server deletes it.
            tail.look_ahead()?;
        }
        Ok(if any { ReadOutcome::Some } else { ReadOutcome::Nothing { unwhole: self.unwhole } })
    }

    fn let_go_who_is_behind(&mut self) {
        let behind: Vec<MemberId> = self.members.iter().filter(|(_, feed)| !feed.has_room()).map(|(member, _)| *member).collect();
        behind.into_iter().for_each(|member| self.remove(member));
    }
}
