//! One reader of a log for all pipelines that follow it and are at its end.
//!
//! A follower reads by itself until nothing is left to read. Then it joins: one of the members reads, and tells all of them. A member
//! whose passes are behind leaves, so that it does not hold the others back, and reads by itself again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::feed::LogFeed;
use super::refusal::LogRefusal;
use super::tail::{NextTransaction, Tail};

/// Transactions that are read before members are let in and out.
const AT_ONCE: usize = 64;

/// How long a member waits at most before it looks whether it is to end.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// The end of a log, and all that follow it there.
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
    /// Counts all members that there were.
    joined: u64,
    /// The member that reads.
    reader: Option<MemberId>,
    /// How often in a row the next transaction was not whole yet.
    unwhole: u32,
}

/// Tells members apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct MemberId(u64);

/// Being a member of a shared tail: it ends with this value, also where the thread of the member panics.
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

/// What a member does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberRole {
    /// It reads for all.
    Read,
    /// Another member reads; it may have told something.
    Wait,
    /// It is no member any more, and reads by itself.
    Left,
}

/// What reading brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    /// Transactions.
    Some,
    /// Nothing; `unwhole` is how often in a row the next transaction was not whole yet.
    Nothing {
        /// As above.
        unwhole: u32,
    },
}

/// Shared tails by the directory of the log, as long as somebody follows it.
static SHARED_TAILS: Mutex<BTreeMap<PathBuf, Weak<SharedTail>>> = Mutex::new(BTreeMap::new());

impl SharedTail {
    /// The one of the log in a directory.
    pub(super) fn of(directory: &Path) -> Arc<Self> {
        let mut tails = SHARED_TAILS.lock();
        if let Some(known) = tails.get(directory).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::default();
        tails.insert(directory.to_owned(), Arc::downgrade(&new));
        new
    }

    /// Joins, if the tail stands where the shared one does; else the tail is given back.
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

    /// How many members there are.
    #[cfg(test)]
    pub(super) fn members(&self) -> usize {
        self.state.lock().members.len()
    }
}

impl TailSubscription {
    /// The next duty of this member. Waits a little if another member reads and there is nothing new.
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

    /// Reads what is there and tells all members. A refusal ends the membership of all.
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

    /// As [`Tail::verify`], where the last transaction is no longer than this. A refusal ends the membership of all.
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
    /// Ends the membership of all.
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
                NextTransaction::Unwhole(_) => {
                    self.unwhole += 1;
                    break;
                }
            }
            (any, self.unwhole) = (true, 0);
        }
        if let Some(tail) = &mut self.tail {
            // A file that is open stays readable when the server deletes it.
            tail.look_ahead()?;
        }
        Ok(if any { ReadOutcome::Some } else { ReadOutcome::Nothing { unwhole: self.unwhole } })
    }

    fn let_go_who_is_behind(&mut self) {
        let behind: Vec<MemberId> = self.members.iter().filter(|(_, feed)| !feed.has_room()).map(|(member, _)| *member).collect();
        behind.into_iter().for_each(|member| self.remove(member));
    }
}
