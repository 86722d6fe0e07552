//! One part of a blob, whoever sends it: taken up at the same byte elsewhere when it breaks.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use tokio::sync::OwnedSemaphorePermit;

use super::{FetchError, Job, UNIT_BYTES, cut::Cut};
use crate::{
    auth::Scope,
    endpoint::Endpoint,
    engine::Engine,
    error::{Attempt, PullError, RequestError, Unavailable},
    exchange::Sending,
    net::answer::Answer,
    perform::{Ask, AskError},
    placement::Aim,
};

/// How often in a row a body may break without a single byte before it is given up.
const FRUITLESS_MAX: u32 = 5;

/// A part of a blob in memory.
pub(crate) struct Piece {
    pub(crate) offset: u64,
    pub(crate) chunks: Vec<Bytes>,
    /// Whoever sent some of it.
    pub(crate) sources: Vec<Endpoint>,
    /// The length of the whole blob, as it was told.
    pub(crate) total: u64,
}

impl Piece {
    pub(crate) fn len(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64).sum()
    }

    pub(crate) fn end(&self) -> u64 {
        self.offset + self.len()
    }
}

/// An answer with the whole blob of which only a part was taken, and where it goes on.
pub(crate) struct Carried {
    answer: Answer,
    position: u64,
    total: u64,
    /// What was read behind the last piece.
    rest: Bytes,
}

impl Engine {
    /// Fetches one part; whoever calls has room for it. `nth` says which replica begins. What was
    /// sent beyond it is left in `carried`, for the part that follows.
    pub(crate) async fn piece(
        self: &Arc<Self>,
        job: &Job,
        nth: usize,
        cut: Cut,
        carried: &mut Option<Carried>,
    ) -> Result<Piece, FetchError> {
        let most = cut.end.map_or(self.limits().range_bytes, |end| end - cut.offset);
        let mut piece = Piece {
            offset: cut.offset,
            chunks: Vec::new(),
            sources: Vec::new(),
            total: cut.end.unwrap_or(0),
        };
        let mut end = cut.end;
        let mut fruitless = Vec::new();
        loop {
            let position = piece.end();
            let mut source = match carried.take().filter(|kept| kept.position == position) {
                Some(kept) => kept,
                None => self.open_at(job, nth, cut, position).await?,
            };
            if let Some(size) = job.size
                && source.total != size
            {
                let why = format!("it has {} bytes there, {size} were expected", source.total);
                return Err(FetchError::Wrong { from: vec![source.answer.endpoint], why });
            }
            piece.total = source.total;
            let end = *end.get_or_insert(source.total.min(cut.offset + most));
            let node = source.answer.endpoint.clone();
            if !piece.sources.contains(&node) {
                piece.sources.push(node.clone());
            }
            let broken = self.read(job, &mut piece, &mut source, end).await;
            let Some(why) = broken else {
                if source.position < source.total && source.answer.status == StatusCode::OK {
                    *carried = Some(source);
                } else if source.answer.status != StatusCode::OK || source.position == source.total
                {
                    // Reading the end gives the connection back.
                    let _ = source.answer.next().await;
                }
                return Ok(piece);
            };
            self.wires.counters.resumes.add(1);
            self.directory.suspect(&node, self.limits().suspect_for);
            self.refresh_soon();
            tracing::debug!(digest = %job.digest, %node, why, at = piece.end(), "going on elsewhere");
            if piece.end() > position {
                fruitless.clear();
            }
            fruitless.push(Attempt { node: node.to_string(), why });
            if fruitless.len() >= FRUITLESS_MAX as usize || job.only.is_some() {
                return Err(gave_up(job, fruitless));
            }
        }
    }

    /// Room for so many bytes, when there is some. Pieces of one blob take it in the order of the
    /// content: were a later one to get the last of it, an earlier one would wait for ever.
    pub(crate) async fn room(&self, bytes: u64) -> OwnedSemaphorePermit {
        let permit = self.room.clone().acquire_many_owned(self.units(bytes)).await;
        permit.expect("the semaphore is never closed")
    }

    /// Room for so many bytes, if there is some now.
    pub(crate) fn room_now(&self, bytes: u64) -> Option<OwnedSemaphorePermit> {
        self.room.clone().try_acquire_many_owned(self.units(bytes)).ok()
    }

    fn units(&self, bytes: u64) -> u32 {
        let units = bytes.min(self.limits().bytes_in_flight_max).div_ceil(UNIT_BYTES).max(1);
        u32::try_from(units).unwrap_or(u32::MAX)
    }

    /// Reads up to `end`. Answers why it broke, if it did.
    async fn read(
        &self,
        job: &Job,
        piece: &mut Piece,
        source: &mut Carried,
        end: u64,
    ) -> Option<String> {
        while piece.end() < end {
            let mut data = std::mem::take(&mut source.rest);
            if data.is_empty() {
                data = match source.answer.next().await {
                    Ok(Some(data)) => data,
                    Ok(None) => return Some(format!("the body ended at byte {}", source.position)),
                    Err(error) => return Some(error.to_string()),
                };
            }
            // A whole blob was sent where a part was asked for: pass over what is here already.
            let skip = (piece.end() - source.position).min(data.len() as u64);
            let _ = data.split_to(skip as usize);
            source.position += skip;
            let want = (end - piece.end()).min(data.len() as u64);
            let taken = data.split_to(want as usize);
            source.position += want;
            source.rest = data;
            if !taken.is_empty() {
                self.wires.counters.bytes_received.add(want);
                job.came(want);
                piece.chunks.push(taken);
            }
        }
        None
    }

    /// Asks for the part from `position` on.
    async fn open_at(
        self: &Arc<Self>,
        job: &Job,
        nth: usize,
        cut: Cut,
        position: u64,
    ) -> Result<Carried, FetchError> {
        let path = format!("/v2/{}/blobs/{}", job.repo, job.digest);
        let mut sending = Sending::get(path);
        // A whole small blob is asked for as every client does.
        let is_whole = cut.offset == 0 && cut.end.is_some() && cut.end == job.size;
        let is_part = !is_whole || position > 0;
        if is_part {
            let last = cut.end.unwrap_or(cut.offset + self.limits().range_bytes) - 1;
            let range = format!("bytes={position}-{last}");
            let range = HeaderValue::try_from(range).expect("digits and a dash");
            sending = sending.header(header::RANGE, range);
        }
        let mut ask = Ask::new(job.what(), Aim::Read(job.digest), Scope::pull(&job.repo), sending);
        ask.only = job.only.clone().map(|node| vec![node]);
        ask.distrusted = job.distrusted.clone();
        ask.turn = (nth > 0).then_some((nth, self.limits().replicas_per_blob));
        let answer = match self.perform(&ask).await {
            Ok(answer) => answer,
            // The empty blob has no first byte.
            Err(AskError::Request(RequestError::Refused(refused)))
                if refused.status == StatusCode::RANGE_NOT_SATISFIABLE && job.size.is_none() =>
            {
                ask.sending.headers.remove(header::RANGE);
                self.perform(&ask).await.map_err(request_error)?
            }
            Err(error) => return Err(request_error(error).into()),
        };
        self.begun(job, answer, position)
    }

    /// What an answer holds, and where it begins.
    fn begun(&self, job: &Job, answer: Answer, position: u64) -> Result<Carried, FetchError> {
        let (begins, total) = if answer.status == StatusCode::PARTIAL_CONTENT {
            let told = answer.header(&header::CONTENT_RANGE);
            let Some(range) = told.and_then(content_range) else {
                let received = format!("Content-Range `{}`", told.unwrap_or_default());
                let expected = format!("`bytes {position}-…/…`");
                return Err(strange(job, &answer, received, &expected));
            };
            range
        } else {
            let total = answer.content_length().or(job.size);
            let Some(total) = total else {
                return Err(strange(job, &answer, "no Content-Length".to_owned(), "the length"));
            };
            (0, total)
        };
        if begins > position {
            let expected = format!("bytes from {position} on");
            return Err(strange(job, &answer, format!("bytes from {begins} on"), &expected));
        }
        // Passing over much of a blob again and again costs more than fetching it in turn.
        if position - begins > self.limits().range_bytes {
            return Err(FetchError::NoRanges);
        }
        Ok(Carried { answer, position: begins, total, rest: Bytes::new() })
    }
}

/// First byte and total length of `bytes first-last/total`.
fn content_range(value: &str) -> Option<(u64, u64)> {
    let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
    let (first, _last) = range.split_once('-')?;
    Some((first.trim().parse().ok()?, total.trim().parse().ok()?))
}

fn strange(job: &Job, answer: &Answer, received: String, expected: &str) -> FetchError {
    Engine::strange(&job.what(), &answer.endpoint, received, expected).into()
}

fn gave_up(job: &Job, last: Vec<Attempt>) -> FetchError {
    let attempts = last.len() as u32;
    let unavailable =
        Unavailable { what: job.what(), waited: std::time::Duration::ZERO, attempts, last };
    RequestError::Unavailable(Box::new(unavailable)).into()
}

/// Nothing is read from here while pulling.
pub(crate) fn request_error(error: AskError) -> PullError {
    match error {
        AskError::Request(error) => PullError::Request(error),
        AskError::Source(cause) => PullError::Local(Box::new(crate::error::LocalFailure {
            doing: "sending a request".to_owned(),
            cause,
        })),
    }
}
