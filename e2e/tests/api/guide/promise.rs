//! What an example promises, held against what it yields.

use serde_json::Value;

/// What an example promises.
#[derive(Debug)]
pub enum Promise {
    /// No request is refused.
    Success,
    /// This JSON.
    Json(Value),
    /// This answer, as `curl -i` shows it.
    Http { status: String, headers: Vec<(String, String)>, body: Option<Value> },
}

impl Promise {
    pub fn parse(kind: &str, text: &str) -> Result<Self, String> {
        let json = |text: &str| serde_json::from_str(text).map_err(|error| error.to_string());
        if kind == "json" {
            return Ok(Self::Json(json(text)?));
        }
        let (head, body) = text.trim_end().split_once("\n\n").unwrap_or((text.trim_end(), ""));
        let (status, headers) = read_head(head)?;
        let body = if body.is_empty() { None } else { Some(json(body)?) };
        Ok(Self::Http { status, headers, body })
    }

    /// What of the promise `found` does not keep.
    pub fn broken_by(&self, found: &str) -> Result<(), String> {
        let json =
            |text: &str| serde_json::from_str::<Value>(text).map_err(|error| format!("{error}: {text}"));
        match self {
            Self::Success => Ok(()),
            Self::Json(promised) => compare(promised, &json(found)?),
            Self::Http { status, headers, body } => {
                let (head, found_body) =
                    found.split_once("\r\n\r\n").ok_or_else(|| format!("no head: {found}"))?;
                let (found_status, found_headers) = read_head(head)?;
                if *status != found_status {
                    return Err(format!("promised {status}\nfound {found}"));
                }
                for (name, value) in headers {
                    let mut same = found_headers.iter().filter(|(found, _)| found == name);
                    if !same.any(|(_, found)| is_so(value, found)) {
                        return Err(format!("promised {name}: {value}\nfound {found}"));
                    }
                }
                body.as_ref().map_or(Ok(()), |body| compare(body, &json(found_body)?))
            }
        }
    }
}

fn read_head(head: &str) -> Result<(String, Vec<(String, String)>), String> {
    let mut lines = head.lines().map(str::trim_end);
    let status = lines.next().filter(|line| line.starts_with("HTTP/")).ok_or("no status line")?;
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").ok_or_else(|| format!("no header: {line}"))?;
        Ok((name.to_ascii_lowercase(), value.to_owned()))
    };
    Ok((status.trim().to_owned(), lines.map(header).collect::<Result<_, String>>()?))
}

fn compare(promised: &Value, found: &Value) -> Result<(), String> {
    if keeps(promised, found) { Ok(()) } else { Err(format!("promised {promised}\nfound {found}")) }
}

/// `...` at the end of a text stands for what comes there.
fn is_so(promised: &str, found: &str) -> bool {
    match promised.strip_suffix("...") {
        Some(beginning) => found.starts_with(beginning),
        None => promised == found,
    }
}

/// Whether `found` has all that `promised` has; objects may have more members.
fn keeps(promised: &Value, found: &Value) -> bool {
    match (promised, found) {
        (Value::Object(promised), Value::Object(found)) => {
            promised.iter().all(|(name, value)| found.get(name).is_some_and(|found| keeps(value, found)))
        }
        (Value::Array(promised), Value::Array(found)) => {
            promised.len() == found.len() && promised.iter().zip(found).all(|(a, b)| keeps(a, b))
        }
        (Value::String(promised), Value::String(found)) => is_so(promised, found),
        (promised, found) => promised == found,
    }
}

/// Whether `part` of a manifest is somewhere in `whole`: objects may have more members there, lists of objects more items.
pub fn is_part(part: &Value, whole: &Value) -> bool {
    let inside = match whole {
        Value::Array(items) => items.iter().any(|item| is_part(part, item)),
        Value::Object(members) => members.values().any(|member| is_part(part, member)),
        _ => false,
    };
    is_here(part, whole) || inside
}

fn is_here(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            part.iter().all(|(name, value)| whole.get(name).is_some_and(|whole| is_here(value, whole)))
        }
        (Value::Array(part), Value::Array(whole)) if part.iter().any(Value::is_object) => {
            part.iter().all(|item| whole.iter().any(|whole| is_here(item, whole)))
        }
        (part, whole) => part == whole,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_promise_can_be_broken() {
        let promise = Promise::parse("json", r#"{"a": [1, {"b": "x..."}]}"#).unwrap();
        assert!(promise.broken_by(r#"{"a": [1, {"b": "xyz", "c": 1}], "d": 2}"#).is_ok());
        for other in [r#"{"a": [1, {"b": "yx"}]}"#, r#"{"a": [1, {"b": "x"}, 2]}"#, "{}", "", "[]"] {
            assert!(promise.broken_by(other).is_err(), "{other}");
        }
        let promise = Promise::parse("http", "HTTP/1.1 201 Created\netag: \"1\"\n\n{\"a\": 1}").unwrap();
        let answer = |head: &str, body: &str| promise.broken_by(&format!("{head}\r\n\r\n{body}")).is_ok();
        assert!(answer("HTTP/1.1 201 Created\r\nx: y\r\nETag: \"1\"", "{\"a\": 1}"));
        assert!(!answer("HTTP/1.1 200 OK\r\nETag: \"1\"", "{\"a\": 1}"));
        assert!(!answer("HTTP/1.1 201 Created\r\nETag: \"2\"", "{\"a\": 1}"));
        assert!(!answer("HTTP/1.1 201 Created\r\nETag: \"1\"", "{\"a\": 2}"));
    }

    #[test]
    fn a_part_of_a_manifest_is_found_wherever_it_is() {
        let whole = json!({"spec": {"types": [{"name": "a", "allow": ["Read"]}, {"name": "b", "ttl": 1}]}});
        assert!(is_part(&json!({"types": [{"name": "b"}]}), &whole) && is_part(&json!({"ttl": 1}), &whole));
        assert!(!is_part(&json!({"name": "b", "ttl": 2}), &whole) && !is_part(&json!({"allow": []}), &whole));
    }
}
