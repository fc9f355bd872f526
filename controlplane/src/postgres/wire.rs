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

/// Takes the next message off `buffer`, or nothing while it is not whole.
pub(super) fn decode(buffer: &mut BytesMut) -> io::Result<Option<Answer>> {
    let Some(header) = backend::Header::parse(buffer)? else { return Ok(None) };
    let length = usize::try_from(header.len()).map_err(|_| malformed())? + 1;
    if buffer.len() < length {
        buffer.reserve(length - buffer.len());
        return Ok(None);
    }
    let body = |buffer: &mut BytesMut| {
        let mut message = buffer.split_to(length);
        message.advance(5);
        message.freeze()
    };
    Ok(Some(match header.tag() {
        backend::DATA_ROW_TAG => Answer::Row(body(buffer)),
        backend::ERROR_RESPONSE_TAG => Answer::Error(body(buffer)),
        tag => {
            let answer = match (tag, buffer.get(5..length).unwrap_or_default()) {
                (backend::PARSE_COMPLETE_TAG, _) => Answer::ParseComplete,
                (backend::COMMAND_COMPLETE_TAG, _) => Answer::Complete,
                (backend::READY_FOR_QUERY_TAG, b"I") => Answer::Ready(TransactionStatus::Idle),
                (backend::READY_FOR_QUERY_TAG, b"T") => Answer::Ready(TransactionStatus::Open),
                (backend::READY_FOR_QUERY_TAG, b"E") => Answer::Ready(TransactionStatus::Failed),
                (
                    backend::BIND_COMPLETE_TAG
                    | backend::CLOSE_COMPLETE_TAG
                    | backend::NOTICE_RESPONSE_TAG
                    | backend::PARAMETER_STATUS_TAG
                    | backend::NOTIFICATION_RESPONSE_TAG,
                    _,
                ) => Answer::Other,
                // Anything else means that the two sides are out of step, and then no row can be trusted.
                _ => return Err(malformed()),
            };
            buffer.advance(length);
            answer
        }
    }))
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
