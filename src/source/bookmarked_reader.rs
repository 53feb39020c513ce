//! Reads that see at least the newest commit that this process knows of.
//!
//! Neo4j reveals the bookmark of a transaction before it has applied the transaction: for 60,000 elements 0.8 s before (5.26.12).
//! A read that does not send the bookmark may see nothing of that transaction, or a part, and be credited with all of it. A read
//! that sends the bookmark runs once the transaction is applied; on a cluster, once the member that answers has applied it. A
//! read is credited only with commits that were known before it, so every read sends the newest bookmark that a question revealed. On
//! a cluster, that may also be one that another read revealed: if a member shows an element as changed, no member that is behind may
//! answer for its content. A single server is never behind itself, and a wait for each newer commit would only make passes longer.

use async_trait::async_trait;
use parking_lot::Mutex;

use super::reader::{PartialRows, Reader};
use super::request::Request;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{Properties, SourceNode, SourceRelationship};

/// A reader that sends the newest known bookmark with every query.
pub(super) struct BookmarkedReader<R> {
    reader: R,
    newest: Mutex<Option<Bookmark>>,
}

impl<R> BookmarkedReader<R> {
    /// Creates a reader that knows of no commit yet.
    pub(super) fn new(reader: R) -> Self {
        Self { reader, newest: Mutex::new(None) }
    }

    /// Remembers a bookmark that the server sent. A cluster member that lags sends an older one, which changes nothing.
    pub(super) fn heard(&self, bookmark: &Bookmark) {
        let mut newest = self.newest.lock();
        if newest.as_ref().is_none_or(|known| bookmark.can_follow(known)) {
            *newest = Some(bookmark.clone());
        }
    }

    /// The newest bookmark that was heard, if any.
    fn newest(&self) -> Option<Bookmark> {
        self.newest.lock().clone()
    }
}

impl<R: Reader> BookmarkedReader<R> {
    fn after_newest(&self, request: Request) -> Request {
        request.after(if self.reader.is_of_cluster() { self.told() } else { self.newest() })
    }
}

#[async_trait]
impl<R: Reader> Reader for BookmarkedReader<R> {
    async fn nodes(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceNode>> {
        self.reader.nodes(doing, self.after_newest(request), most).await
    }

    async fn relationships(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceRelationship>> {
        self.reader.relationships(doing, self.after_newest(request), most).await
    }

    async fn typed_relationships(
        &self,
        doing: &str,
        request: Request,
        most: usize,
    ) -> Result<PartialRows<(String, SourceRelationship)>> {
        self.reader.typed_relationships(doing, self.after_newest(request), most).await
    }

    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>> {
        self.reader.rows(doing, self.after_newest(request)).await
    }

    /// The newest bookmark from any query or question.
    fn told(&self) -> Option<Bookmark> {
        newer(self.reader.told(), self.newest())
    }

    async fn each(&self, doing: &str, requests: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
        self.reader.each(doing, requests.into_iter().map(|request| self.after_newest(request)).collect()).await
    }
}

/// The newer bookmark: what a query told, or what was heard from a question.
fn newer(told: Option<Bookmark>, heard: Option<Bookmark>) -> Option<Bookmark> {
    let is_newer = told.as_ref().zip(heard.as_ref()).is_none_or(|(told, heard)| told.can_follow(heard));
    if is_newer { told.or(heard) } else { heard }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn bookmark(transaction: u8) -> Bookmark {
        let bytes = [&[0x91, 0xCC, 0x10], &[0; 16][..], &[transaction, 0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    #[test]
    fn what_was_heard_never_becomes_older() {
        let causal = BookmarkedReader::new(());
        assert_eq!(causal.newest(), None);
        for (heard, newest) in [(5, 5), (4, 5), (6, 6)] {
            causal.heard(&bookmark(heard));
            assert_eq!(causal.newest(), Some(bookmark(newest)));
        }
    }

    /// A reader of a cluster, or of one server, that was told a commit and remembers which one the last request named.
    struct Told(Option<Bookmark>, Mutex<Option<Bookmark>>, bool);

    #[async_trait]
    impl Reader for Told {
        async fn nodes(&self, _: &str, request: Request, _: usize) -> Result<PartialRows<SourceNode>> {
            *self.1.lock() = request.after;
            Ok(PartialRows { rows: Vec::new(), is_whole: true })
        }
        async fn relationships(&self, _: &str, request: Request, _: usize) -> Result<PartialRows<SourceRelationship>> {
            *self.1.lock() = request.after;
            Ok(PartialRows { rows: Vec::new(), is_whole: true })
        }
        async fn typed_relationships(
            &self,
            _: &str,
            request: Request,
            _: usize,
        ) -> Result<PartialRows<(String, SourceRelationship)>> {
            *self.1.lock() = request.after;
            Ok(PartialRows { rows: Vec::new(), is_whole: true })
        }
        async fn rows(&self, _: &str, request: Request) -> Result<Vec<Properties>> {
            *self.1.lock() = request.after;
            Ok(Vec::new())
        }
        async fn each(&self, _: &str, mut requests: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
            *self.1.lock() = requests.pop().and_then(|request| request.after);
            Ok(Vec::new())
        }
        fn told(&self) -> Option<Bookmark> {
            self.0.clone()
        }
        fn is_of_cluster(&self) -> bool {
            self.2
        }
    }

    #[tokio::test]
    async fn the_reads_of_one_server_wait_for_no_commit_but_those_that_questions_revealed() {
        let reader = BookmarkedReader::new(Told(Some(bookmark(6)), Mutex::default(), false));
        reader.heard(&bookmark(5));
        reader.rows("x", Request::new("RETURN 1")).await.unwrap();
        assert_eq!(reader.reader.1.lock().take(), Some(bookmark(5)));
        assert_eq!(reader.told(), Some(bookmark(6)), "it is known all the same");
    }

    /// A member of a cluster may have answered with an element of a later commit than any question told.
    #[tokio::test]
    async fn no_read_goes_back_behind_another_one() {
        let request = || Request::new("RETURN 1");
        let reader = BookmarkedReader::new(Told(Some(bookmark(6)), Mutex::default(), true));
        reader.heard(&bookmark(5));
        let sent = || reader.reader.1.lock().take();
        reader.nodes("x", request(), 1).await.unwrap();
        assert_eq!(sent(), Some(bookmark(6)));
        reader.relationships("x", request(), 1).await.unwrap();
        assert_eq!(sent(), Some(bookmark(6)));
        reader.typed_relationships("x", request(), 1).await.unwrap();
        assert_eq!(sent(), Some(bookmark(6)));
        reader.rows("x", request()).await.unwrap();
        assert_eq!(sent(), Some(bookmark(6)));
        reader.each("x", vec![request()]).await.unwrap();
        assert_eq!(sent(), Some(bookmark(6)));
    }

    #[test]
    fn a_request_is_sent_after_what_any_read_or_question_saw() {
        assert_eq!(newer(None, None), None);
        for (told, heard, sent) in [(Some(5), None, 5), (None, Some(5), 5), (Some(5), Some(6), 6), (Some(6), Some(5), 6)] {
            assert_eq!(newer(told.map(bookmark), heard.map(bookmark)), Some(bookmark(sent)));
        }
    }
}
