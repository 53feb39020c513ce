//! Reads that see at least the newest commit that this process knows of.
//!
//! Neo4j reveals the bookmark of a transaction before it has applied the transaction: for 60,000 elements 0.8 s before (5.26.12).
//! A read that does not send the bookmark may see nothing of that transaction, or a part, and be credited with all of it. A read
//! that sends the bookmark runs once the transaction is applied; on a cluster, once the member that answers has applied it. A
//! read is credited only with commits that were known before it, so every read sends the newest bookmark.

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

    /// The newest bookmark, if any is known.
    pub(super) fn newest(&self) -> Option<Bookmark> {
        self.newest.lock().clone()
    }

    fn after_newest(&self, request: Request) -> Request {
        request.after(self.newest())
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
        let (told, newest) = (self.reader.told(), self.newest());
        let is_newer = told.as_ref().zip(newest.as_ref()).is_none_or(|(told, newest)| told.can_follow(newest));
        if is_newer { told.or(newest) } else { newest }
    }

    async fn each(&self, doing: &str, requests: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
        self.reader.each(doing, requests.into_iter().map(|request| self.after_newest(request)).collect()).await
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn bookmark(transaction: u8) -> Bookmark {
        let bytes = [&[0x91, 0xCC, 0x10], &[0; 16][..], &[transaction, 0x90]].concat();
        Bookmark::new(format!("FB:{}", STANDARD.encode(bytes)))
    }

    #[test]
    fn every_request_is_sent_after_the_newest_commit() {
        let causal = BookmarkedReader::new(());
        let sent_after = || causal.after_newest(Request::new("RETURN 1")).after;
        assert_eq!(sent_after(), None);
        causal.heard(&bookmark(5));
        assert_eq!(sent_after(), Some(bookmark(5)));
        causal.heard(&bookmark(4));
        assert_eq!(sent_after(), Some(bookmark(5)), "a member that lags makes no read older");
        causal.heard(&bookmark(6));
        assert_eq!(sent_after(), Some(bookmark(6)));
    }
}
