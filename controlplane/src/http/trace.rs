//! Which trace a request belongs to: `traceparent`, as W3C Trace Context has it.

use axum::http::HeaderMap;

const TRACEPARENT: &str = "traceparent";

/// The caller's `traceparent`, if it is one.
pub(super) fn parent(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(TRACEPARENT).iter();
    let parent = given.next()?.to_str().ok().filter(|text| is_valid(text))?;
    // Two of them say nothing.
    given.next().is_none().then_some(parent)
}

/// `00-` and the ids of the trace and the span, in hex, neither of them all zeros, and the flags.
fn is_valid(text: &str) -> bool {
    let hex = |part: &str, length: usize| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let id = |part: &str, length| hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let mut parts = text.split('-');
    matches!((parts.next(), parts.next(), parts.next(), parts.next(), parts.next()),
        (Some("00"), Some(trace), Some(span), Some(flags), None) if id(trace, 32) && id(span, 16) && hex(flags, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_traceparent_is_passed_on() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        let of_lines = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TRACEPARENT, line.parse().unwrap());
            }
            parent(&headers).map(str::to_owned)
        };
        assert_eq!(of_lines(&[good]).as_deref(), Some(good));
        assert_eq!(of_lines(&[]), None);
        assert_eq!(of_lines(&[good, good]), None);
        for bad in [
            "",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        ] {
            assert_eq!(of_lines(&[bad]), None, "{bad}");
        }
    }
}
