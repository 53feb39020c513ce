//! Bolt's messages: the requests that a reader sends, and the answers.
//!
//! Source: the Bolt protocol specification, message specifications of versions 5.0 to 5.8.

use super::chunk::write_chunked;
use super::encode::PackStreamWriter;
use super::members::Members;
use super::packstream::{DecodeError, Decoded, Decoder, Structure, for_each_entry};
use super::value::texts;
use crate::source::request::{Parameter, Request};

/// The tags of requests.
mod request_tag {
    pub(super) const HELLO: u8 = 0x01;
    pub(super) const GOODBYE: u8 = 0x02;
    pub(super) const RESET: u8 = 0x0F;
    pub(super) const RUN: u8 = 0x10;
    pub(super) const DISCARD: u8 = 0x2F;
    pub(super) const PULL: u8 = 0x3F;
    pub(super) const ROUTE: u8 = 0x66;
    pub(super) const LOGON: u8 = 0x6A;
}

/// The tags of answers.
pub(super) mod answer_tag {
    /// The answer to a request that succeeded.
    pub(crate) const SUCCESS: u8 = 0x70;
    /// A row of the result.
    pub(crate) const RECORD: u8 = 0x71;
    /// The answer to a request after one that failed.
    pub(crate) const IGNORED: u8 = 0x7E;
    /// The answer to a request that failed.
    pub(crate) const FAILURE: u8 = 0x7F;
}

/// The number that requests all rows at once.
const ALL_ROWS: i64 = -1;

/// The name of this client, which appears in `SHOW TRANSACTIONS` and in the server's query log.
pub(in crate::source) const AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// From this minor version on, LOGON is a message of its own.
const LOGON_SINCE: u8 = 1;

/// From this minor version on, a client may refuse notifications. The server would make them for every query, and nobody would
/// read them.
const NOTIFICATIONS_SINCE: u8 = 2;

/// From this minor version on, a map that names the agent is required.
const AGENT_SINCE: u8 = 3;

/// The way to log on.
#[derive(Clone, Copy)]
pub(super) enum Login<'a> {
    /// The server requires no log on.
    None,
    /// A log on with user and password.
    Basic {
        /// The name of the user.
        user: &'a str,
        /// The password of the user.
        password: &'a str,
    },
}

/// The settings of every query on a connection.
#[derive(Debug, Clone)]
pub(super) struct RunSettings {
    /// The database; the server's default if absent.
    pub database: Option<String>,
    /// The time for which the server lets a query run.
    pub timeout_milliseconds: i64,
}

/// Requests that are written one after another and sent together.
#[derive(Default)]
pub(super) struct Requests {
    message: Vec<u8>,
    stream: Vec<u8>,
    count: u32,
}

impl Requests {
    /// Returns the written bytes and the number of answers that they will have.
    pub(super) fn written(&self) -> (&[u8], u32) {
        (&self.stream, self.count)
    }

    /// Removes all written requests.
    pub(super) fn clear(&mut self) {
        self.stream.clear();
        self.count = 0;
    }

    /// Adds the first message; before 5.1 it includes the log on.
    pub(super) fn hello(&mut self, minor: u8, login: Login<'_>) -> Decoded<()> {
        self.add(|to| {
            to.structure(1, request_tag::HELLO);
            let early_login = if minor < LOGON_SINCE { login_entries(login) } else { 0 };
            to.map(1 + early_login + u8::from(minor >= NOTIFICATIONS_SINCE) + u8::from(minor >= AGENT_SINCE));
            text_entry(to, "user_agent", AGENT)?;
            if early_login > 0 {
                write_login(to, login)?;
            }
            if minor >= NOTIFICATIONS_SINCE {
                text_entry(to, "notifications_minimum_severity", "OFF")?;
            }
            if minor >= AGENT_SINCE {
                to.text("bolt_agent")?;
                to.map(1);
                text_entry(to, "product", AGENT)?;
            }
            Ok(())
        })?;
        if minor >= LOGON_SINCE { self.logon(login) } else { Ok(()) }
    }

    fn logon(&mut self, login: Login<'_>) -> Decoded<()> {
        self.add(|to| {
            to.structure(1, request_tag::LOGON);
            to.map(login_entries(login));
            write_login(to, login)
        })
    }

    /// Adds a query in read access mode.
    pub(super) fn run(&mut self, request: &Request, settings: &RunSettings) -> Decoded<()> {
        self.add(|to| {
            to.structure(3, request_tag::RUN);
            to.text(&request.text)?;
            to.map(u8::try_from(request.parameters.len()).map_err(|_| DecodeError::Oversized)?);
            for (name, value) in &request.parameters {
                to.text(name)?;
                write_parameter(to, value)?;
            }
            to.map(3 + u8::from(settings.database.is_some()) + u8::from(request.after.is_some()));
            text_entry(to, "mode", "r")?;
            if let Some(bookmark) = &request.after {
                to.text("bookmarks")?;
                to.list(1)?;
                to.text(bookmark.as_str())?;
            }
            to.text("tx_metadata")?;
            to.map(1);
            text_entry(to, "app", AGENT)?;
            if let Some(database) = &settings.database {
                text_entry(to, "db", database)?;
            }
            to.text("tx_timeout")?;
            to.integer(settings.timeout_milliseconds);
            Ok(())
        })
    }

    /// Asks which members of the cluster serve a database; the server's default database if absent. `address` is the one under
    /// which the server was reached: a server without a cluster names it as its own.
    pub(super) fn route(&mut self, address: &str, database: Option<&str>) -> Decoded<()> {
        self.add(|to| {
            to.structure(3, request_tag::ROUTE);
            to.map(1);
            text_entry(to, "address", address)?;
            to.list(0)?;
            to.map(u8::from(database.is_some()));
            database.map_or(Ok(()), |database| text_entry(to, "db", database))
        })
    }

    /// Requests the rows of the query before.
    pub(super) fn pull(&mut self) -> Decoded<()> {
        self.rows(request_tag::PULL)
    }

    /// Requests the end of the query before, without its rows.
    pub(super) fn discard(&mut self) -> Decoded<()> {
        self.rows(request_tag::DISCARD)
    }

    /// Adds a reset, which ends any running query and clears a failure.
    pub(super) fn reset(&mut self) -> Decoded<()> {
        self.add(|to| {
            to.structure(0, request_tag::RESET);
            Ok(())
        })
    }

    /// Adds the last message, which has no answer.
    pub(super) fn goodbye(&mut self) -> Decoded<()> {
        self.add(|to| {
            to.structure(0, request_tag::GOODBYE);
            Ok(())
        })?;
        self.count -= 1;
        Ok(())
    }

    fn rows(&mut self, tag: u8) -> Decoded<()> {
        self.add(|to| {
            to.structure(1, tag);
            to.map(1);
            to.text("n")?;
            to.integer(ALL_ROWS);
            Ok(())
        })
    }

    fn add(&mut self, write: impl FnOnce(&mut PackStreamWriter) -> Decoded<()>) -> Decoded<()> {
        let mut packer = PackStreamWriter::reusing(std::mem::take(&mut self.message));
        write(&mut packer)?;
        self.message = packer.into_bytes();
        write_chunked(&self.message, &mut self.stream);
        self.count += 1;
        Ok(())
    }
}

fn text_entry(to: &mut PackStreamWriter, name: &str, value: &str) -> Decoded<()> {
    to.text(name)?;
    to.text(value)
}

fn login_entries(login: Login<'_>) -> u8 {
    match login {
        Login::None => 1,
        Login::Basic { .. } => 3,
    }
}

fn write_login(to: &mut PackStreamWriter, login: Login<'_>) -> Decoded<()> {
    match login {
        Login::None => text_entry(to, "scheme", "none"),
        Login::Basic { user, password } => {
            text_entry(to, "scheme", "basic")?;
            text_entry(to, "principal", user)?;
            text_entry(to, "credentials", password)
        }
    }
}

fn write_parameter(to: &mut PackStreamWriter, value: &Parameter) -> Decoded<()> {
    match value {
        Parameter::Text(text) => to.text(text)?,
        Parameter::Texts(texts) => to.texts(texts)?,
        Parameter::Integer(number) => to.integer(*number),
        Parameter::Integers(numbers) => to.integers(numbers)?,
        Parameter::Instant(instant) => to.instant(*instant),
        Parameter::Local(local) => to.local_datetime(*local),
    }
    Ok(())
}

/// The parts that we use of the server's answer at the end of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SuccessMetadata {
    /// The columns of a query.
    pub(crate) columns: Vec<String>,
    /// The bookmark after the query.
    pub(crate) bookmark: Option<String>,
    /// The server's name and version.
    pub(crate) server: Option<String>,
    /// The members of the cluster.
    pub(crate) members: Option<Members>,
}

/// Reads the head of an answer: its tag. Every answer of the server has one field, except IGNORED, which has none.
pub(super) fn read_tag(decoder: &mut Decoder<'_>) -> Decoded<u8> {
    let Structure { fields, tag } = decoder.structure()?;
    match (tag, fields) {
        (answer_tag::IGNORED, 0..=1) | (_, 1) => Ok(tag),
        _ => Err(DecodeError::Structure { tag, fields }),
    }
}

/// Reads the map of a success.
pub(super) fn read_summary(decoder: &mut Decoder<'_>) -> Decoded<SuccessMetadata> {
    let mut summary = SuccessMetadata::default();
    for_each_entry(decoder, |name, value| {
        match name {
            "fields" => summary.columns = texts(value)?,
            "bookmark" => summary.bookmark = Some(value.text()?.to_owned()),
            "server" => summary.server = Some(value.text()?.to_owned()),
            "rt" => summary.members = Some(Members::read(value)?),
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok(summary)
}

/// Reads the map of a failure: code and message. From 5.7 on the code has another name.
pub(super) fn read_failure(decoder: &mut Decoder<'_>) -> Decoded<(String, String)> {
    let (mut code, mut message) = (None, None);
    for_each_entry(decoder, |name, value| {
        match name {
            "code" | "neo4j_code" => code = Some(value.text()?.to_owned()),
            "message" => message = Some(value.text()?.to_owned()),
            _ => value.skip()?,
        }
        Ok(())
    })?;
    Ok((code.ok_or(DecodeError::Missing("code of a failure"))?, message.unwrap_or_default()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn login() -> Login<'static> {
        Login::Basic { user: "neo4j", password: "pw" }
    }

    /// Returns the messages of a stream of requests: each tag and the bytes after it.
    fn messages(requests: &Requests) -> Vec<(u8, Vec<u8>)> {
        let mut rest = requests.written().0;
        let mut messages = Vec::new();
        while let Some((header, after)) = rest.split_first_chunk::<2>() {
            let (body, after) = after.split_at(usize::from(u16::from_be_bytes(*header)));
            rest = &after[2..];
            messages.push((body[1], body[2..].to_vec()));
        }
        messages
    }

    /// Reads the texts of a map; omits other values.
    fn texts_of(bytes: &[u8]) -> Vec<(String, String)> {
        let mut entries = Vec::new();
        for_each_entry(&mut Decoder::new(bytes), |name, value| {
            match value.peek()? {
                0xD0 => entries.push((name.to_owned(), value.text()?.to_owned())),
                _ => value.skip()?,
            }
            Ok(())
        })
        .unwrap();
        entries
    }

    fn hello(minor: u8) -> Vec<(u8, Vec<(String, String)>)> {
        let mut requests = Requests::default();
        requests.hello(minor, login()).unwrap();
        messages(&requests).into_iter().map(|(tag, body)| (tag, texts_of(&body))).collect()
    }

    #[test]
    fn the_log_on_is_where_the_version_wants_it() {
        let names = |entries: &[(String, String)]| entries.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
        let old = hello(0);
        assert_eq!(old.len(), 1);
        assert_eq!(names(&old[0].1), ["user_agent", "scheme", "principal", "credentials"]);
        let new = hello(8);
        assert_eq!(new.iter().map(|(tag, _)| *tag).collect::<Vec<_>>(), [request_tag::HELLO, request_tag::LOGON]);
        assert_eq!(names(&new[0].1), ["user_agent", "notifications_minimum_severity"]);
        assert_eq!(names(&new[1].1), ["scheme", "principal", "credentials"]);
    }

    #[test]
    fn a_query_always_runs_in_read_access_mode() {
        let settings = RunSettings { database: Some("movies".to_owned()), timeout_milliseconds: 7 };
        let mut requests = Requests::default();
        requests.run(&Request::new("RETURN $a").with("a", "b"), &settings).unwrap();
        requests.pull().unwrap();
        assert_eq!(requests.written().1, 2);
        let messages = messages(&requests);
        let mut run = Decoder::new(&messages[0].1);
        assert_eq!(run.text(), Ok("RETURN $a"));
        run.skip().unwrap();
        let extra = &messages[0].1[messages[0].1.len() - run.remaining()..];
        let entries = texts_of(extra);
        assert!(entries.contains(&("mode".to_owned(), "r".to_owned())));
        assert!(entries.contains(&("db".to_owned(), "movies".to_owned())));
    }

    #[test]
    fn a_failure_is_read_in_both_forms() {
        let old = b"\xA2\x84code\x83A.B\x87message\x82no";
        assert_eq!(read_failure(&mut Decoder::new(old)), Ok(("A.B".to_owned(), "no".to_owned())));
        let new = b"\xA3\x8Aneo4j_code\x83A.B\x87message\x82no\x81x\xA1\x81y\x91\xC0";
        assert_eq!(read_failure(&mut Decoder::new(new)), Ok(("A.B".to_owned(), "no".to_owned())));
        assert_eq!(read_failure(&mut Decoder::new(b"\xA0")), Err(DecodeError::Missing("code of a failure")));
    }

    #[test]
    fn a_goodbye_has_no_answer() {
        let mut requests = Requests::default();
        requests.goodbye().unwrap();
        assert_eq!(requests.written(), (&[0, 2, 0xB0, 2, 0, 0][..], 0));
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_tag(&mut Decoder::new(&bytes));
            let _ = read_summary(&mut Decoder::new(&bytes));
            let _ = read_failure(&mut Decoder::new(&bytes));
        }
    }
}
