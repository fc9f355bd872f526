//! Requests to addresses that a tenant chose: webhooks and issuers.
//!
//! Only public addresses can be reached, and private networks that the settings name. The address is checked where the
//! connection is made, so a name that resolves to another one a moment later gains nothing. Redirects are not followed.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use reqwest::{
    Client, Url,
    dns::{Addrs, Name, Resolve, Resolving},
};
use tenantry_config::network::Network;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const TIMEOUT: Duration = Duration::from_secs(5);

/// A request that was not made, or came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum OutboundError {
    /// Not an address that requests may go to.
    #[error("the address is not one that requests may go to")]
    NotAllowed,
    /// The request failed.
    #[error("the request failed")]
    Failed(#[from] reqwest::Error),
    /// The answer is no success.
    #[error("the answer has the status {0}")]
    Status(u16),
    /// The answer is too large.
    #[error("the answer is larger than {0} bytes")]
    TooLarge(usize),
    /// The answer is not what was asked for.
    #[error("the answer cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

/// Makes such requests.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Over TLS, to public addresses and the private networks.
    secure: Client,
    /// In the clear, to the private networks only.
    plain: Client,
    public: Allowed,
    private: Allowed,
}

impl Outbound {
    /// May also reach `private_networks`.
    ///
    /// # Errors
    /// When no client can be made.
    pub fn new(private_networks: &[Network]) -> Result<Self, OutboundError> {
        let private = Allowed { networks: private_networks.into(), public: false };
        let public = Allowed { public: true, ..private.clone() };
        let client = |allowed: &Allowed| {
            Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(TIMEOUT)
                .dns_resolver(Arc::new(allowed.clone()))
                .user_agent("tenantry")
                .build()
        };
        Ok(Self { secure: client(&public)?, plain: client(&private)?, public, private })
    }

    /// The JSON at `url`, of at most `limit` bytes.
    ///
    /// # Errors
    /// When it cannot be had.
    pub async fn get_json(&self, url: &str, limit: usize) -> Result<serde_json::Value, OutboundError> {
        let (client, url) = self.reach(url)?;
        let mut response = client.get(url).header("accept", "application/json").send().await?;
        if !response.status().is_success() {
            return Err(OutboundError::Status(response.status().as_u16()));
        }
        let mut body = Vec::new();
        while let Some(bytes) = response.chunk().await? {
            body.extend_from_slice(&bytes);
            if body.len() > limit {
                return Err(OutboundError::TooLarge(limit));
            }
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// Posts JSON with `headers` to `url`. What is answered beside the status is not read.
    ///
    /// # Errors
    /// When the answer is no success, or none.
    pub async fn post(
        &self,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Result<(), OutboundError> {
        let (client, url) = self.reach(url)?;
        let request = client.post(url).header("content-type", "application/json").body(body);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let status = request.send().await?.status();
        if status.is_success() { Ok(()) } else { Err(OutboundError::Status(status.as_u16())) }
    }

    fn reach(&self, url: &str) -> Result<(&Client, Url), OutboundError> {
        let url = Url::parse(url).map_err(|_| OutboundError::NotAllowed)?;
        let (client, allowed) = match url.scheme() {
            "https" => (&self.secure, &self.public),
            "http" => (&self.plain, &self.private),
            _ => return Err(OutboundError::NotAllowed),
        };
        let host = url.host_str().ok_or(OutboundError::NotAllowed)?;
        // An address in the URL is not resolved, so nobody else would check it.
        let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        if address.is_some_and(|address| !allowed.admits(address)) || !url.username().is_empty() {
            return Err(OutboundError::NotAllowed);
        }
        Ok((client, url))
    }
}

/// Addresses that may be reached.
#[derive(Debug, Clone)]
struct Allowed {
    networks: Arc<[Network]>,
    public: bool,
}

impl Allowed {
    fn admits(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        (self.public && is_public(address)) || self.networks.iter().any(|network| network.contains(address))
    }
}

impl Resolve for Allowed {
    fn resolve(&self, name: Name) -> Resolving {
        let allowed = self.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted: Vec<SocketAddr> = found.filter(|address| allowed.admits(address.ip())).collect();
            if admitted.is_empty() {
                return Err(OutboundError::NotAllowed.into());
            }
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

/// Whether an address is one of the public Internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            !(v4.is_private()
                || v4.is_loopback()
                || v4.is_link_local()
                || v4.is_broadcast()
                || v4.is_documentation()
                || v4.is_multicast()
                || a == 0
                || a >= 240
                || (a == 100 && (64..128).contains(&b))
                || (a == 192 && b == 0 && c == 0)
                || (a == 198 && (18..20).contains(&b)))
        }
        IpAddr::V6(v6) => {
            let [first, second, ..] = v6.segments();
            // Global unicast, without documentation, benchmarks, Teredo and what embeds an IPv4 address.
            (0x2000..0x4000).contains(&first)
                && !(first == 0x2001 && (second == 0xdb8 || second < 0x200))
                && first != 0x2002
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outbound(private: &[&str]) -> Outbound {
        let _installed_before = rustls::crypto::ring::default_provider().install_default();
        Outbound::new(&private.iter().map(|network| network.parse().unwrap()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn addresses_inside_are_out_of_reach() {
        let outbound = outbound(&[]);
        for url in [
            "https://127.0.0.1/",
            "https://2130706433/",
            "https://0x7f000001/",
            "https://0177.0.0.1/",
            "https://0.0.0.0/",
            "https://169.254.169.254/latest/meta-data",
            "https://10.1.2.3/",
            "https://172.16.0.1/",
            "https://192.168.1.1/",
            "https://100.64.0.1/",
            "https://224.0.0.1/",
            "https://255.255.255.255/",
            "https://[::1]/",
            "https://[::]/",
            "https://[fc00::1]/",
            "https://[fe80::1]/",
            "https://[::ffff:127.0.0.1]/",
            "https://[64:ff9b::7f00:1]/",
            "https://[2002:7f00:1::]/",
            "https://user@example.com/",
            "http://93.184.216.34/",
            "ftp://93.184.216.34/",
            "file:///etc/passwd",
            "nonsense",
        ] {
            assert!(matches!(outbound.reach(url), Err(OutboundError::NotAllowed)), "{url}");
        }
        for url in ["https://93.184.216.34/", "https://[2606:2800:220:1::1]/", "https://example.com/"] {
            assert!(outbound.reach(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_private_network_that_is_named_can_be_reached() {
        let outbound = outbound(&["127.0.0.0/8", "10.1.0.0/16"]);
        for url in
            ["http://127.0.0.1:1/", "https://127.0.0.1/", "http://10.1.2.3/", "http://[::ffff:10.1.2.3]/"]
        {
            assert!(outbound.reach(url).is_ok(), "{url}");
        }
        for url in ["http://10.2.0.1/", "http://93.184.216.34/", "https://[::1]/"] {
            assert!(outbound.reach(url).is_err(), "{url}");
        }
    }

    #[tokio::test]
    #[allow(clippy::disallowed_methods, reason = "only the test asks here")]
    async fn nobody_is_led_elsewhere_by_an_answer() {
        let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
        let paths = Arc::clone(&asked);
        let router = axum::Router::new().fallback(async move |uri: axum::http::Uri| {
            paths.lock().unwrap().push(uri.path().to_owned());
            axum::response::Redirect::temporary("/inside")
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move { axum::serve(listener, router).await });
        let outbound = outbound(&["127.0.0.0/8"]);
        let url = format!("http://{address}/door");
        let answers =
            [outbound.get_json(&url, 10).await.map(drop), outbound.post(&url, &[], Vec::new()).await];
        for answer in answers {
            assert!(matches!(answer, Err(OutboundError::Status(307))), "{answer:?}");
        }
        assert_eq!(*asked.lock().unwrap(), ["/door", "/door"]);
        server.abort();
    }

    #[tokio::test]
    async fn a_name_that_resolves_inside_is_out_of_reach() {
        let failed = outbound(&[]).get_json("https://localhost:1/", 10).await.unwrap_err();
        let OutboundError::Failed(error) = failed else { panic!("{failed:?}") };
        assert!(format!("{error:?}").contains("NotAllowed"), "{error:?}");
    }
}
