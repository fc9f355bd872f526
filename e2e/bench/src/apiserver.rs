//! What the API server itself counts.

use std::collections::BTreeMap;

use kube::Client;

use super::Outcome;

/// Writes that the API server has answered, by resource and verb.
#[derive(Debug, Clone, Default)]
pub struct Writes(BTreeMap<String, f64>);

impl Writes {
    /// Reads `apiserver_request_total`.
    pub async fn read(client: &Client) -> Outcome<Self> {
        let request = http_request("/metrics")?;
        let text = client.request_text(request).await?;
        Ok(Self::parse(&text))
    }

    /// What came since `before`, without resources whose names are in `except`.
    pub fn since(&self, before: &Self, except: &[&str]) -> f64 {
        let counted = self.0.iter().filter(|(key, _)| !except.iter().any(|name| key.starts_with(name)));
        counted.map(|(key, count)| count - before.0.get(key).copied().unwrap_or_default()).sum()
    }

    /// The same, by resource and verb, for the page.
    pub fn table(&self, before: &Self) -> String {
        let changed =
            self.0.iter().map(|(key, count)| (key, count - before.0.get(key).copied().unwrap_or_default()));
        changed.filter(|(_, n)| *n > 0.0).map(|(key, n)| format!("{key} {n}")).collect::<Vec<_>>().join(", ")
    }

    fn parse(text: &str) -> Self {
        let mut writes = BTreeMap::new();
        for line in text.lines() {
            let Some((labels, value)) =
                line.strip_prefix("apiserver_request_total{").and_then(|rest| rest.split_once("} "))
            else {
                continue;
            };
            let label = |name: &str| {
                labels
                    .split(',')
                    .find_map(|pair| pair.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
            };
            let (Some(verb), Some(resource)) = (label("verb"), label("resource")) else { continue };
            if matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE") {
                let subresource = label("subresource").filter(|name| !name.is_empty());
                let key = format!(
                    "{resource}{}{} {verb}",
                    if subresource.is_some() { "/" } else { "" },
                    subresource.unwrap_or("")
                );
                *writes.entry(key).or_default() += value.parse::<f64>().unwrap_or_default();
            }
        }
        Self(writes)
    }
}

fn http_request(path: &str) -> Outcome<http::Request<Vec<u8>>> {
    Ok(http::Request::get(path).body(Vec::new())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_writes_only() {
        let text = "apiserver_request_total{code=\"201\",resource=\"tenants\",subresource=\"\",verb=\"POST\"} 3\n\
                    apiserver_request_total{code=\"200\",resource=\"tenants\",subresource=\"status\",verb=\"APPLY\"} 2\n\
                    apiserver_request_total{code=\"200\",resource=\"tenants\",subresource=\"\",verb=\"LIST\"} 9\n";
        let writes = Writes::parse(text);
        assert_eq!(writes.since(&Writes::default(), &[]), 5.0);
        assert_eq!(writes.since(&Writes::default(), &["tenants/status"]), 3.0);
    }
}
