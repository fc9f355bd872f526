//! Answers that hold their memory until they have been sent.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::{
    body::{Body, Bytes, HttpBody},
    response::{IntoResponse, Response},
};
use hyper::body::{Frame, SizeHint};

use super::{SMALL_BYTES, refused, shares::Share, untold};

/// Has `response` hold as much of `memory` as its body has bytes.
pub(super) fn held(response: Response, mut memory: Share, repeatable: bool) -> Response {
    let bytes = response.body().size_hint().exact().unwrap_or_default();
    if let Some(more) = bytes.checked_sub(memory.amount()).filter(|more| *more > 0) {
        match memory.grow(more) {
            Ok(()) => {}
            Err(full) if repeatable && response.status().is_success() => {
                return refused(full).into_response();
            }
            Err(_) if bytes > SMALL_BYTES && response.status().is_success() => {
                return untold().into_response();
            }
            // The caller has to know what became of the request. A tenant that holds too much does not get as far as this.
            Err(_) => memory.add(more),
        }
    }
    memory.shrink_to(bytes);
    if bytes == 0 { response } else { response.map(|body| Body::new(Held { body, memory })) }
}

/// A body with the memory that it takes.
struct Held {
    body: Body,
    memory: Share,
}

/// The bytes that are left to send, with the same. The server hands a body on long before it has been sent, and keeps its bytes.
struct Unsent {
    bytes: Bytes,
    _memory: Share,
}

impl AsRef<[u8]> for Unsent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame) };
        Poll::Ready(Some(Ok(frame.map_data(|bytes| {
            // Each part of a body in parts takes what is left, so the last one holds it for all.
            Bytes::from_owner(Unsent { bytes, _memory: self.memory.take() })
        }))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use futures::StreamExt;

    use super::*;
    use crate::load::{Capacity, Load};

    fn load(capacity: &Capacity) -> Load {
        let load = capacity.places().begin().unwrap();
        load.of_tenant(uuid::Uuid::from_u128(1)).unwrap();
        load
    }

    #[tokio::test]
    async fn memory_is_held_until_the_last_byte_is_gone() {
        let capacity = Capacity::new(1000, 100);
        let request = load(&capacity);
        request.hold(400).unwrap();
        let response = request.answered(Response::new(Body::from(vec![b'x'; 100])), true);
        drop(request);
        assert_eq!(capacity.memory.held(), 100, "what is not of the answer is free");
        let mut parts = response.into_body().into_data_stream();
        let mut bytes = parts.next().await.unwrap().unwrap();
        assert!(parts.next().await.is_none());
        drop(parts);
        let first = bytes.split_to(60);
        drop(first);
        assert_eq!((bytes.len(), capacity.memory.held()), (40, 100));
        drop(bytes);
        assert_eq!(capacity.memory.held(), 0);
    }

    #[tokio::test]
    async fn an_answer_without_memory_is_refused_and_a_change_is_told_all_the_same() {
        let capacity = Capacity::new(200_000, 100);
        let answer = || Response::new(Body::from(vec![b'x'; 90_000]));
        let first = load(&capacity).answered(answer(), true);
        assert_eq!(first.status(), StatusCode::OK);
        let second = load(&capacity).answered(answer(), true);
        assert_eq!(second.status(), StatusCode::SERVICE_UNAVAILABLE);
        let changed = load(&capacity).answered(answer(), false).into_body();
        let told = axum::body::to_bytes(changed, 4096).await.unwrap();
        assert!(String::from_utf8_lossy(&told).contains("outcome_unknown"));
        drop((first, told));
        assert_eq!((capacity.memory.held(), capacity.memory.refused()), (0, 2));
    }
}
