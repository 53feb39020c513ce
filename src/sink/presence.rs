//! The instances of the service beside a graph: each announces itself, and finds the others.
//!
//! A hash has a field for each instance, with the time at which its announcement expires. All times are the server's, so the
//! clocks of machines do not matter. FalkorDB forbids scripts, and none is needed: an instance writes only its own field.

use std::time::Duration;

use async_trait::async_trait;
use redis::{Pipeline, Value, cmd};
use serde::{Deserialize, Serialize};

use super::address::CacheAddress;
use super::connection::CacheConnection;
use super::fence::Ownership;
use super::keys::GraphKeys;
use super::lease::{Holder, LEASE_TIMEOUT, LEASE_TTL, milliseconds};
use super::{Presence, reply};
use crate::error::{Error, ErrorKind, Result};
use crate::model::leader::Leader;
use crate::model::spread::InstanceId;

/// The lifetime of an announcement without a renewal: that of a lease, so that an instance that dies loses both at about the same
/// time.
const ANNOUNCED_FOR: Duration = LEASE_TTL;

/// The age at which an announcement is renewed: a renewal may be lost on the way before it expires. Each is a write, which Redis
/// counts for its snapshots and keeps in its append-only file.
const RENEWED_AT: Duration = Duration::from_secs(2);

/// The lifetime of the hash after somebody first announced itself in it: it goes some time after its last instance. Should it go
/// before, each instance announces itself anew at its next look.
const KEPT_FOR: Duration = Duration::from_secs(86_400);

/// The time after which an expired announcement is deleted. Its instance may only have been stopped, and then renews it.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(60);

/// The instances beside a graph at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Surroundings {
    /// The holder of the lease, if anybody holds it.
    pub holder: Option<Holder>,
    /// The instances with a valid announcement. This process is among them after its first look.
    pub announced: Vec<Announced>,
}

/// An instance that is announced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Announced {
    pub instance: InstanceId,
    pub process: Leader,
    /// How long the announcement is still valid.
    pub left: Duration,
}

/// An announcement as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Announcement {
    /// The time at which it expires, in milliseconds since 1970.
    until_ms: u64,
    #[serde(flatten)]
    process: Leader,
}

/// This process among the instances beside a graph.
pub(crate) struct RedisPresence {
    connection: CacheConnection,
    ownership: Ownership,
    key: String,
}

impl RedisPresence {
    /// The process that makes this claim.
    pub(super) fn new(address: CacheAddress, ownership: Ownership) -> Self {
        let key = GraphKeys::of(&ownership.graph).instances();
        Self { connection: CacheConnection::new(address), ownership, key }
    }

    async fn announce(&mut self, now_ms: u64, is_new: bool, forgotten: &[InstanceId]) -> Result<()> {
        let until_ms = now_ms + milliseconds(ANNOUNCED_FOR);
        let announcement = Announcement { until_ms, process: self.ownership.process.clone() };
        let text = serde_json::to_string(&announcement)
            .map_err(|error| Error::caused(ErrorKind::CacheProtocol, "cannot encode the announcement of this process", error))?;
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("HSET").arg(&self.key).arg(self.ownership.instance.as_str()).arg(text).to_owned());
        if is_new {
            pipeline.add_command(cmd("PEXPIRE").arg(&self.key).arg(milliseconds(KEPT_FOR)).to_owned());
        }
        if !forgotten.is_empty() {
            let fields: Vec<&str> = forgotten.iter().map(InstanceId::as_str).collect();
            pipeline.add_command(cmd("HDEL").arg(&self.key).arg(fields).to_owned());
        }
        for answer in self.connection.pipeline("announce this process", &pipeline, LEASE_TIMEOUT).await? {
            answer?;
        }
        Ok(())
    }
}

#[async_trait]
impl Presence for RedisPresence {
    async fn look(&mut self) -> Result<Surroundings> {
        self.connection.follow_master_at_times().await;
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("TIME"));
        pipeline.add_command(cmd("GET").arg(&self.ownership.key).to_owned());
        pipeline.add_command(cmd("HGETALL").arg(&self.key).to_owned());
        let answers = self.connection.pipeline("find the other processes", &pipeline, LEASE_TIMEOUT).await?;
        let mut answers = answers.into_iter();
        let mut next = || answers.next().unwrap_or_else(|| Err(reply::unexpected("three answers")));
        let now_ms = clock(next()?)?;
        let holder = reply::optional_text(&next()?)?.map(|value| Holder::read(&self.ownership.key, &value)).transpose()?;
        let announcements = announcements(next()?)?;
        let own = announcements.iter().find(|(announced, _)| *announced == self.ownership.instance);
        let (is_new, is_due) = (own.is_none(), is_due(own.map(|(_, own)| own), now_ms));
        if is_due && let Err(error) = self.announce(now_ms, is_new, &forgotten(&announcements, now_ms)).await {
            // A server that is out of memory takes no announcement. Then others do not reckon with this process.
            tracing::debug!(error = %error.chain(), "this process cannot announce itself");
        }
        Ok(Surroundings { holder, announced: valid(announcements, now_ms) })
    }

    async fn withdraw(&mut self) -> Result<()> {
        let command = cmd("HDEL").arg(&self.key).arg(self.ownership.instance.as_str()).to_owned();
        self.connection.command("withdraw the announcement of this process", &command, LEASE_TIMEOUT).await.map(drop)
    }
}

/// The server's clock in milliseconds since 1970, from seconds and microseconds.
fn clock(answer: Value) -> Result<u64> {
    let parts = reply::array(answer)?;
    let number = |place: usize| -> Result<u64> {
        reply::text(reply::cell(&parts, place)?)?.parse().map_err(|_| reply::unexpected("a time"))
    };
    Ok(number(0)? * 1_000 + number(1)? / 1_000)
}

/// All announcements that this version can read. Announcements in another form are ignored: this
/// version cannot plan with such an instance.
fn announcements(answer: Value) -> Result<Vec<(InstanceId, Announcement)>> {
    let mut found = Vec::new();
    for (field, value) in reply::pairs(answer)? {
        if let Ok(announcement) = serde_json::from_str(&reply::text(&value)?) {
            found.push((InstanceId::new(field), announcement));
        }
    }
    Ok(found)
}

/// Whether an instance with this announcement has to announce itself now. An announcement that is valid for too long is from
/// another server's clock.
fn is_due(own: Option<&Announcement>, now_ms: u64) -> bool {
    let fresh = milliseconds(ANNOUNCED_FOR - RENEWED_AT)..=milliseconds(ANNOUNCED_FOR);
    own.is_none_or(|own| !fresh.contains(&own.until_ms.saturating_sub(now_ms)))
}

fn forgotten(announcements: &[(InstanceId, Announcement)], now_ms: u64) -> Vec<InstanceId> {
    let is_over = |announcement: &Announcement| announcement.until_ms.saturating_add(milliseconds(FORGOTTEN_AFTER)) <= now_ms;
    announcements.iter().filter(|(_, announcement)| is_over(announcement)).map(|(instance, _)| instance.clone()).collect()
}

/// An announcement that is valid for too long is from a master whose clock was ahead: an instance that lives replaces it.
fn valid(announcements: Vec<(InstanceId, Announcement)>, now_ms: u64) -> Vec<Announced> {
    let announced = announcements.into_iter().map(|(instance, Announcement { until_ms, process })| {
        let left = Duration::from_millis(until_ms.saturating_sub(now_ms));
        Announced { instance, process, left }
    });
    announced.filter(|announced| !announced.left.is_zero() && announced.left <= ANNOUNCED_FOR).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const NOW: u64 = 1_000_000;

    fn announced(instance: &str, until_ms: u64) -> (InstanceId, Announcement) {
        let process = Leader { host: "box".to_owned(), pid: 7, since: "2026-01-01T00:00:00Z".to_owned(), url: None };
        (InstanceId::new(instance), Announcement { until_ms, process })
    }

    fn bulk(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    #[test]
    fn the_servers_clock_is_read_in_milliseconds() {
        assert_eq!(clock(Value::Array(vec![bulk("1700000000"), bulk("123456")])).unwrap(), 1_700_000_000_123);
        assert!(clock(Value::Array(vec![bulk("1700000000")])).is_err() && clock(Value::Nil).is_err());
    }

    #[test]
    fn announcements_of_another_form_are_passed_over() {
        let (instance, announcement) = announced("a", NOW);
        let text = serde_json::to_string(&announcement).unwrap();
        let fields = Value::Array(vec![bulk("a"), bulk(&text), bulk("b"), bulk("{}"), bulk("c"), bulk("junk")]);
        assert_eq!(announcements(fields).unwrap(), [(instance, announcement)]);
    }

    #[test]
    fn an_instance_announces_itself_before_its_announcement_expires() {
        let due = |until_ms| is_due(Some(&announced("a", until_ms).1), NOW);
        assert!(is_due(None, NOW));
        assert!(!due(NOW + 5_000) && !due(NOW + 3_000));
        assert!(due(NOW + 2_999) && due(NOW - 1) && due(NOW + 90_000));
    }

    #[test]
    fn an_announcement_is_valid_until_it_expires_and_deleted_later() {
        let all = [announced("a", NOW + 5_000), announced("b", NOW), announced("c", NOW - 60_000), announced("d", NOW + 90_000)];
        let left = valid(all.to_vec(), NOW).into_iter().map(|announced| (announced.instance, announced.left)).collect::<Vec<_>>();
        assert_eq!(left, [(InstanceId::new("a"), ANNOUNCED_FOR)]);
        assert_eq!(forgotten(&all, NOW), [InstanceId::new("c")]);
    }
}
