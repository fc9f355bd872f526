//! The few messages that pipelines speak.

use std::{
    fmt::{Display, Write},
    io,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use postgres_protocol::message::{backend, frontend};

use super::statement::Params;

/// What the server sent, as far as a pipeline cares.
#[derive(Debug)]
pub(super) enum Answer {
    ParseComplete,
    Row(Bytes),
    /// A row that is larger than a whole answer may be, and was not kept.
    RowTooLarge,
    /// A statement ran to its end.
    Complete,
    Error(Bytes),
    Ready(TransactionStatus),
    /// BindComplete, CloseComplete, notices and settings: nothing follows from them.
    Other,
}

/// Where the connection stands after a Sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TransactionStatus {
    Idle,
    Open,
    Failed,
}

/// Bytes of one row. A larger one is not kept.
const MAX_ROW: usize = super::kept::MAX_REPLY_BYTES;
/// Bytes of an error that are kept: its fields begin with the code.
const MAX_ERROR: usize = 16 * 1024;
/// Bytes of a header: the type and the length.
const HEADER: usize = 5;

/// Takes messages off what the server sends. It holds no message that a pipeline does not need, and none that is larger than it
/// may be: what a session sends is the tenant's when the tenant has code in it.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    /// Bytes that are still to come of a message that is not kept.
    skip: usize,
}

impl Decoder {
    /// Takes the next message off `buffer`, or nothing while it is not whole.
    pub fn next(&mut self, buffer: &mut BytesMut) -> io::Result<Option<Answer>> {
        if self.skip > 0 {
            let here = self.skip.min(buffer.len());
            buffer.advance(here);
            self.skip -= here;
            if self.skip > 0 {
                return Ok(None);
            }
        }
        let Some(header) = backend::Header::parse(buffer)? else { return Ok(None) };
        let length = usize::try_from(header.len()).map_err(|_| malformed())? + 1;
        let kept = match header.tag() {
            backend::DATA_ROW_TAG if length > MAX_ROW => {
                self.skip = length;
                return Ok(Some(Answer::RowTooLarge));
            }
            backend::ERROR_RESPONSE_TAG => length.min(MAX_ERROR),
            backend::NOTICE_RESPONSE_TAG
            | backend::PARAMETER_STATUS_TAG
            | backend::NOTIFICATION_RESPONSE_TAG => {
                self.skip = length;
                return Ok(Some(Answer::Other));
            }
            backend::DATA_ROW_TAG => length,
            // All the others are short. A completion names a command.
            _ if length > MAX_ERROR => return Err(malformed()),
            _ => length,
        };
        if buffer.len() < kept {
            buffer.reserve(kept - buffer.len());
            return Ok(None);
        }
        let body = |buffer: &mut BytesMut| {
            let mut message = buffer.split_to(kept);
            message.advance(HEADER);
            message.freeze()
        };
        Ok(Some(match header.tag() {
            backend::DATA_ROW_TAG => Answer::Row(body(buffer)),
            backend::ERROR_RESPONSE_TAG => {
                self.skip = length - kept;
                Answer::Error(body(buffer))
            }
            tag => {
                let answer = match (tag, buffer.get(HEADER..length).unwrap_or_default()) {
                    (backend::PARSE_COMPLETE_TAG, _) => Answer::ParseComplete,
                    (backend::COMMAND_COMPLETE_TAG, _) => Answer::Complete,
                    (backend::READY_FOR_QUERY_TAG, b"I") => Answer::Ready(TransactionStatus::Idle),
                    (backend::READY_FOR_QUERY_TAG, b"T") => Answer::Ready(TransactionStatus::Open),
                    (backend::READY_FOR_QUERY_TAG, b"E") => Answer::Ready(TransactionStatus::Failed),
                    (backend::BIND_COMPLETE_TAG | backend::CLOSE_COMPLETE_TAG, _) => Answer::Other,
                    // Anything else means that the two sides are out of step, and then no row can be trusted.
                    _ => return Err(malformed()),
                };
                buffer.advance(length);
                answer
            }
        }))
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the server sent a message that does not belong here")
}

/// Parse: a named statement, the types of its parameters left to the server.
pub(super) fn parse(out: &mut BytesMut, name: &str, sql: &str) -> io::Result<()> {
    frontend::parse(name, sql, [], out)
}

/// Bind to the unnamed portal, everything in text form, and Execute it to its end.
pub(super) fn bind_and_execute(out: &mut BytesMut, name: impl Display, params: &Params) {
    out.put_u8(b'B');
    let start = out.len();
    out.put_i32(0);
    out.put_u8(0);
    // A buffer that grows takes whatever is written to it.
    let _written = write!(out, "{name}");
    out.put_u8(0);
    out.put_i16(0);
    out.put_u16(params.count());
    out.put_slice(params.wire());
    out.put_i16(0);
    // Parameters come from a body, which is far below 2 GiB.
    let length = i32::try_from(out.len() - start).unwrap_or(i32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
    out.put_slice(b"E\0\0\0\x09\0\0\0\0\0");
}

/// Close of a named statement.
pub(super) fn close(out: &mut BytesMut, name: &str) -> io::Result<()> {
    frontend::close(b'S', name, out)
}

/// Sync.
pub(super) fn sync(out: &mut BytesMut) {
    frontend::sync(out);
}

/// Terminate.
pub(super) fn terminate(out: &mut BytesMut) {
    frontend::terminate(out);
}

/// Asks the server to end what the session with this key works on. It is sent in a connection of its own.
pub(super) fn cancel(process: i32, secret: i32) -> BytesMut {
    let mut out = BytesMut::new();
    frontend::cancel_request(process, secret, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(tag: u8, body: &[u8]) -> BytesMut {
        let mut out = BytesMut::new();
        out.put_u8(tag);
        out.put_u32(u32::try_from(body.len() + 4).unwrap());
        out.put_slice(body);
        out
    }

    /// Hands the bytes over in pieces, as they come from a socket; yields what they are and the most that was held.
    fn decoded(bytes: &[u8]) -> io::Result<(Vec<String>, usize)> {
        let (mut decoder, mut buffer, mut answers, mut held) =
            (Decoder::default(), BytesMut::new(), Vec::new(), 0);
        for piece in bytes.chunks(8 * 1024) {
            buffer.extend_from_slice(piece);
            while let Some(answer) = decoder.next(&mut buffer)? {
                let name = format!("{answer:?}");
                answers.push(name.split('(').next().unwrap().to_owned());
            }
            held = held.max(buffer.len());
        }
        Ok((answers, held))
    }

    #[test]
    fn notices_and_rows_of_any_size_take_no_memory() {
        let large = vec![b'x'; MAX_ROW + 1];
        let mut bytes = BytesMut::new();
        for tag in [b'N', b'A', b'S', b'D'] {
            bytes.unsplit(message(tag, &large));
        }
        bytes.unsplit(message(b'Z', b"I"));
        let (answers, held) = decoded(&bytes).unwrap();
        assert_eq!(answers, ["Other", "Other", "Other", "RowTooLarge", "Ready"]);
        assert!(held <= 16 * 1024, "{held}");
    }

    #[test]
    fn an_error_is_cut_and_keeps_its_code() {
        let mut body = b"VERROR\0C57014\0M".to_vec();
        body.resize(MAX_ERROR * 10, b'x');
        let mut bytes = message(b'E', &body);
        bytes.unsplit(message(b'Z', b"I"));
        let (answers, held) = decoded(&bytes).unwrap();
        assert_eq!(answers, ["Error", "Ready"]);
        assert!(held <= 2 * MAX_ERROR, "{held}");
    }

    #[test]
    fn what_does_not_belong_here_ends_the_connection() {
        assert!(decoded(&message(b'G', b"\0\0\0")).is_err(), "a copy");
        assert!(decoded(&message(b'C', &vec![b'x'; MAX_ERROR])).is_err(), "a completion of any size");
    }
}
