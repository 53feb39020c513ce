//! Reads that are repeated while their error may pass.

use async_trait::async_trait;

use super::reader::{PartialRows, Reader};
use super::request::Request;
use crate::error::Result;
use crate::model::bookmark::Bookmark;
use crate::model::element::{Properties, SourceNode, SourceRelationship};
use crate::retry::repeated;

/// A reader that asks again if the server indicates that it may answer the same question later.
pub(super) struct Retrying<R>(pub(super) R);

#[async_trait]
impl<R: Reader> Reader for Retrying<R> {
    async fn nodes(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceNode>> {
        repeated(|| self.0.nodes(doing, request.clone(), most)).await
    }

    async fn relationships(&self, doing: &str, request: Request, most: usize) -> Result<PartialRows<SourceRelationship>> {
        repeated(|| self.0.relationships(doing, request.clone(), most)).await
    }

    async fn typed_relationships(
        &self,
        doing: &str,
        request: Request,
        most: usize,
    ) -> Result<PartialRows<(String, SourceRelationship)>> {
        repeated(|| self.0.typed_relationships(doing, request.clone(), most)).await
    }

    async fn rows(&self, doing: &str, request: Request) -> Result<Vec<Properties>> {
        repeated(|| self.0.rows(doing, request.clone())).await
    }

    async fn each(&self, doing: &str, requests: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
        repeated(|| self.0.each(doing, requests.clone())).await
    }

    fn told(&self) -> Option<Bookmark> {
        self.0.told()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::error::{Error, ErrorKind};

    /// A reader that answers at the third request.
    #[derive(Default)]
    struct Busy(AtomicU32);

    impl Busy {
        fn answer<T>(&self, answer: T) -> Result<T> {
            match self.0.fetch_add(1, Ordering::SeqCst) {
                0 | 1 => Err(Error::new(ErrorKind::SourceTransient, "busy")),
                _ => Ok(answer),
            }
        }
    }

    #[async_trait]
    impl Reader for Busy {
        async fn nodes(&self, _: &str, _: Request, _: usize) -> Result<PartialRows<SourceNode>> {
            self.answer(PartialRows { rows: Vec::new(), is_whole: true })
        }

        async fn relationships(&self, _: &str, _: Request, _: usize) -> Result<PartialRows<SourceRelationship>> {
            self.answer(PartialRows { rows: Vec::new(), is_whole: true })
        }

        async fn typed_relationships(&self, _: &str, _: Request, _: usize) -> Result<PartialRows<(String, SourceRelationship)>> {
            self.answer(PartialRows { rows: Vec::new(), is_whole: true })
        }

        async fn rows(&self, _: &str, _: Request) -> Result<Vec<Properties>> {
            self.answer(Vec::new())
        }

        async fn each(&self, _: &str, _: Vec<Request>) -> Result<Vec<Vec<Properties>>> {
            self.answer(Vec::new())
        }

        fn told(&self) -> Option<Bookmark> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn every_question_is_asked_until_it_is_answered() {
        let request = || Request::new("RETURN 1");
        let reader = || Retrying(Busy::default());
        reader().nodes("x", request(), 1).await.unwrap();
        reader().relationships("x", request(), 1).await.unwrap();
        reader().typed_relationships("x", request(), 1).await.unwrap();
        reader().rows("x", request()).await.unwrap();
        reader().each("x", vec![request()]).await.unwrap();
    }
}
