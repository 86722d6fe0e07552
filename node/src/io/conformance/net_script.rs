//! Random scripts for a connection, judged by a model of what TCP promises.
//!
//! The suite says what must hold; this looks for what nobody thought of saying. One step at a time at
//! either end, so the model knows what each may answer: bytes come in order and none is lost, made up
//! or early; a half close is seen behind the bytes; silence stays silence; a writer waits for its
//! reader. What is left open is what TCP leaves open: how many bytes a call moves.

use std::{collections::VecDeque, io, time::Duration};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::net::Connector;
use crate::io::{entropy::rng::SeededRng, net::Stream};

/// More than any side needs for a step that must come to an end.
const PATIENCE: Duration = Duration::from_secs(60);

/// Long enough to say that nothing comes.
const QUIET: Duration = Duration::from_millis(15);

/// Long enough to say that a writer waits.
const STANDSTILL: Duration = Duration::from_millis(200);

/// Bytes on their way that no side refuses to take.
const UNREAD_MAX: usize = 100_000;

/// Bytes by which any writer must have been held back.
const HELD_BACK_BYTES: usize = 64 << 20;

/// Plays `steps` random steps on a new connection and ends it.
///
/// # Panics
/// At the first answer that TCP would not give, with the seed and the steps so far.
pub async fn play(connector: Connector<'_>, seed: u64, steps: u32) {
    let (near, far) = connector().await;
    let mut play = Play { ends: [End::new(near), End::new(far)], rng: SeededRng::new(seed) };
    let mut story = Vec::new();
    for _ in 0..steps {
        let step = play.draw();
        story.push(format!("{step:?}"));
        if let Err(wrong) = play.take(step).await {
            panic!("seed {seed}: {wrong}, after {}", story.join(", "));
        }
    }
    if let Err(wrong) = play.drop_one().await {
        panic!("seed {seed}: {wrong}, after {} and a drop", story.join(", "));
    }
}

/// Which end.
type Side = usize;

#[derive(Clone, Copy, Debug)]
enum Step {
    /// One call with so many bytes.
    Write(Side, usize),
    /// So many bytes, all of them.
    WriteAll(Side, usize),
    /// One call for at most so many bytes.
    Read(Side, usize),
    /// Everything that is on its way.
    Drain(Side),
    /// Nothing may come of it.
    Flush(Side),
    /// No more bytes from here.
    Shutdown(Side),
    /// Bytes until the writer is held back, then all of them are read.
    Fill(Side),
}

struct End {
    stream: Stream,
    /// Bytes sent from here that the other end has not read.
    unread: VecDeque<u8>,
    is_shut: bool,
}

impl End {
    fn new(stream: Stream) -> End {
        End { stream, unread: VecDeque::new(), is_shut: false }
    }
}

struct Play {
    ends: [End; 2],
    rng: SeededRng,
}

impl Play {
    fn draw(&mut self) -> Step {
        let side = self.rng.below(2) as Side;
        let len = match self.rng.below(4) {
            0 => 1 + self.rng.below(8) as usize,
            1 => 1 + self.rng.below(500) as usize,
            _ => 1 + self.rng.below(20_000) as usize,
        };
        match self.rng.below(64) {
            0 => Step::Fill(side),
            1 | 2 => Step::Shutdown(side),
            3..=6 => Step::Flush(side),
            7..=12 => Step::Drain(side),
            13..=36 => Step::Read(side, len),
            37..=50 => Step::WriteAll(side, len),
            _ => Step::Write(side, len),
        }
    }

    async fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Write(side, len) | Step::WriteAll(side, len) if self.ends[side].is_shut => {
                let written = within(self.ends[side].stream.write(&vec![0; len])).await?;
                match written {
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                    other => Err(format!("a write after a shutdown gave {other:?}")),
                }
            }
            Step::Write(side, len) => self.write(side, len, false).await,
            Step::WriteAll(side, len) => self.write(side, len, true).await,
            Step::Read(side, len) => self.read(side, len).await,
            Step::Drain(side) => self.drain(side).await,
            Step::Flush(side) => told("flush", within(self.ends[side].stream.flush()).await?),
            Step::Shutdown(side) if self.ends[side].is_shut => Ok(()),
            Step::Shutdown(side) => {
                self.ends[side].is_shut = true;
                told("shutdown", within(self.ends[side].stream.shutdown()).await?)
            }
            Step::Fill(side) if self.ends[side].is_shut => Ok(()),
            Step::Fill(side) => self.fill(side).await,
        }
    }

    async fn write(&mut self, side: Side, len: usize, all: bool) -> Result<(), String> {
        let room = UNREAD_MAX.saturating_sub(self.ends[side].unread.len());
        let mut bytes = vec![0; len.min(room)];
        if bytes.is_empty() {
            return Ok(());
        }
        self.rng.fill(&mut bytes);
        let end = &mut self.ends[side];
        let written = match all {
            true => within(end.stream.write_all(&bytes)).await?.map(|()| bytes.len()),
            false => within(end.stream.write(&bytes)).await?,
        };
        match written {
            Ok(count) if (1..=bytes.len()).contains(&count) => {
                end.unread.extend(&bytes[..count]);
                Ok(())
            }
            other => Err(format!("a write of {} bytes gave {other:?}", bytes.len())),
        }
    }

    async fn read(&mut self, side: Side, len: usize) -> Result<(), String> {
        let [near, far] = self.facing(side);
        let mut buffer = vec![0; len];
        if far.unread.is_empty() && !far.is_shut {
            return match tokio::time::timeout(QUIET, near.stream.read(&mut buffer)).await {
                Err(_) => Ok(()),
                Ok(read) => Err(format!("a read of nothing gave {read:?}")),
            };
        }
        let read = within(near.stream.read(&mut buffer)).await?;
        let expected = if far.unread.is_empty() { 0..=0 } else { 1..=len.min(far.unread.len()) };
        match read {
            Ok(count) if expected.contains(&count) => {
                let is_same = far.unread.drain(..count).eq(buffer[..count].iter().copied());
                is_same.then_some(()).ok_or_else(|| "other bytes than were sent".to_owned())
            }
            other => Err(format!("a read of {expected:?} bytes gave {other:?}")),
        }
    }

    async fn drain(&mut self, side: Side) -> Result<(), String> {
        while !self.facing(side)[1].unread.is_empty() {
            self.read(side, 70_000).await?;
        }
        self.read(side, 1).await
    }

    async fn fill(&mut self, side: Side) -> Result<(), String> {
        let mut bytes = vec![0; 60_000];
        self.rng.fill(&mut bytes);
        loop {
            let end = &mut self.ends[side];
            match tokio::time::timeout(STANDSTILL, end.stream.write(&bytes)).await {
                Ok(Ok(count)) => end.unread.extend(&bytes[..count]),
                Ok(Err(error)) => return Err(format!("filling: {error}")),
                Err(_) => break,
            }
            if end.unread.len() > HELD_BACK_BYTES {
                return Err("the writer is never held back".to_owned());
            }
        }
        while self.ends[side].unread.len() > UNREAD_MAX / 2 {
            self.read(1 - side, 70_000).await?;
        }
        Ok(())
    }

    /// One end goes. The other reads what it was sent, then the end; a reset may come instead when the
    /// end that went had bytes to read. Its writes fail sooner or later.
    async fn drop_one(mut self) -> Result<(), String> {
        let goes = self.rng.below(2) as Side;
        let [mut stays, gone] = self.ends.map(Some);
        let (stays, gone) = match goes {
            0 => (gone, stays.take()),
            _ => (stays, gone),
        };
        let (Some(mut stays), Some(gone)) = (stays, gone) else { return Ok(()) };
        let is_clean = stays.unread.is_empty();
        let sent: Vec<u8> = gone.unread.iter().copied().collect();
        drop(gone);
        let mut heard = Vec::new();
        let end = within(stays.stream.read_to_end(&mut heard)).await?;
        let is_whole = end.is_ok() && heard == sent;
        let may_be_cut = !is_clean && sent.starts_with(&heard);
        if !is_whole && !may_be_cut {
            let (heard, sent) = (heard.len(), sent.len());
            return Err(format!("{heard} of {sent} bytes came, then {end:?}"));
        }
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !stays.is_shut && stays.stream.write_all(&[0; 1_000]).await.is_ok() {
            if tokio::time::Instant::now() > deadline {
                return Err("writes to nobody succeed for ever".to_owned());
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Ok(())
    }

    /// The end at `side`, and the other.
    fn facing(&mut self, side: Side) -> [&mut End; 2] {
        let [one, other] = &mut self.ends;
        if side == 0 { [one, other] } else { [other, one] }
    }
}

async fn within<T>(step: impl Future<Output = T>) -> Result<T, String> {
    tokio::time::timeout(PATIENCE, step).await.map_err(|_| "a step hangs".to_owned())
}

fn told(what: &str, outcome: io::Result<()>) -> Result<(), String> {
    outcome.map_err(|error| format!("{what}: {error}"))
}
