//! The body of an answer with several ranges: part headers from the core, bytes from the blob.

use atoll_core::range::Multipart;
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use crate::replicate::{FetchError, FoundBlob, PartStream};

/// Where the body is.
struct Progress {
    blob: FoundBlob,
    parts: Multipart,
    next_part: usize,
    current: Option<PartStream>,
}

/// Every part with its header, then the closing line. Only the part being sent is read.
pub fn body(blob: FoundBlob, parts: Multipart) -> Body {
    let progress = Progress { blob, parts, next_part: 0, current: None };
    Body::from_stream(stream::try_unfold(Some(progress), |progress| async move {
        let Some(mut progress) = progress else { return Ok(None) };
        let piece = progress.next().await.inspect_err(|error| {
            tracing::error!(%error, "answer broken off: a blob could not be read");
        })?;
        Ok::<_, FetchError>(Some(match piece {
            Some(bytes) => (bytes, Some(progress)),
            None => (Bytes::from(progress.parts.closing()), None),
        }))
    }))
}

impl Progress {
    async fn next(&mut self) -> Result<Option<Bytes>, FetchError> {
        if let Some(current) = &mut self.current {
            if let Some(bytes) = current.next().await? {
                return Ok(Some(bytes));
            }
            self.current = None;
        }
        let index = self.next_part;
        let Some(&range) = self.parts.ranges().get(index) else { return Ok(None) };
        self.next_part += 1;
        let mut bytes = self.parts.part_header(index, range).into_bytes();
        match &self.blob {
            FoundBlob::Whole(whole) => {
                bytes.extend_from_slice(&whole[range.start() as usize..=range.end() as usize]);
            }
            blob => {
                self.current = Some(blob.stream(range.start(), range.end() + 1));
            }
        }
        Ok(Some(bytes.into()))
    }
}
