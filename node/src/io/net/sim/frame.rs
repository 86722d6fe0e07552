//! The frames of a simulated connection: one byte of kind, four bytes of number, then data.

use bytes::{Buf, BufMut, BytesMut};

/// Kind and number.
const HEADER_BYTES: usize = 5;

/// A frame to send.
pub(super) enum Frame<'a> {
    /// Bytes of the stream; the number is their count.
    Data(&'a [u8]),
    /// The peer may send this many bytes more.
    Grant(usize),
    /// No more data follows.
    Fin,
    /// The sender dropped the connection and had read everything.
    Close,
    /// The sender dropped the connection with bytes left unread.
    Reset,
}

/// A frame that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    Data(BytesMut),
    Grant(usize),
    Fin,
    Close,
    Reset,
}

impl Frame<'_> {
    pub(super) fn encode(&self) -> BytesMut {
        let (kind, number, data): (u8, usize, &[u8]) = match self {
            Frame::Data(bytes) => (0, bytes.len(), bytes),
            Frame::Grant(bytes) => (1, *bytes, &[]),
            Frame::Fin => (2, 0, &[]),
            Frame::Close => (3, 0, &[]),
            Frame::Reset => (4, 0, &[]),
        };
        let mut message = BytesMut::with_capacity(HEADER_BYTES + data.len());
        message.put_u8(kind);
        // Both numbers are bounded by the window.
        message.put_u32(number as u32);
        message.put_slice(data);
        message
    }
}

/// Takes the first whole frame off `raw`.
pub(super) fn decode(raw: &mut BytesMut) -> Option<Received> {
    if raw.len() < HEADER_BYTES {
        return None;
    }
    let number = u32::from_be_bytes([raw[1], raw[2], raw[3], raw[4]]) as usize;
    let kind = raw[0];
    if kind == 0 && raw.len() < HEADER_BYTES + number {
        return None;
    }
    raw.advance(HEADER_BYTES);
    Some(match kind {
        0 => Received::Data(raw.split_to(number)),
        1 => Received::Grant(number),
        2 => Received::Fin,
        3 => Received::Close,
        // Only this module writes frames, so whatever else is left is a reset.
        _ => Received::Reset,
    })
}
