use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::filter::client;
use super::{Fault, Filter, Mode, Wire};
use crate::{Endpoints, RigError, Stack};

/// A proxy in front of each server of a stack that this process started.
#[derive(Debug)]
pub struct Proxies {
    /// The API server, in plain text: the proxy speaks TLS to it.
    pub kubernetes: Wire,
    /// Its requests.
    pub kubernetes_requests: Filter,
    /// PostgreSQL.
    pub postgres: Wire,
    /// Redis.
    pub redis: Wire,
    /// Meilisearch.
    pub search: Wire,
    /// Its requests.
    pub search_requests: Filter,
    endpoints: Endpoints,
    kubeconfig: PathBuf,
}

impl Proxies {
    /// Starts them, all passing everything on.
    pub async fn start(stack: &Stack) -> Result<Self, RigError> {
        let direct = stack.endpoints();
        let refused = |what: &str| RigError::Refused(format!("{what} has no address to put a proxy before"));
        let text = std::fs::read_to_string(&direct.kubeconfig)
            .map_err(RigError::io("reading", &direct.kubeconfig))?;
        let mut config: Value = serde_json::from_str(&text).map_err(|source| RigError::Kubernetes {
            what: "reading the kubeconfig",
            source: source.into(),
        })?;
        let cluster = &mut config["clusters"][0]["cluster"];
        let server = cluster["server"].as_str().ok_or_else(|| refused("the API server"))?.to_owned();
        let authority = cluster["certificate-authority"].as_str().unwrap_or_default();
        let pem = std::fs::read(authority).map_err(RigError::io("reading", authority.as_ref()))?;
        let trusted = reqwest::Certificate::from_pem_bundle(&pem)?;

        let kubernetes_requests =
            Filter::to(server, client(reqwest::Client::builder().tls_certs_only(trusted))?).await?;
        let kubernetes = Wire::to(kubernetes_requests.address())?;
        let search_requests =
            Filter::to(direct.meili_url.clone(), client(reqwest::Client::builder())?).await?;
        let search = Wire::to(search_requests.address())?;
        let behind = |url: &str, what: &str| {
            let wire = Wire::to(address(url).ok_or_else(|| refused(what))?)?;
            let url = moved(url, wire.address()).ok_or_else(|| refused(what))?;
            Ok::<_, RigError>((wire, url))
        };
        let (postgres, database_url) = behind(&direct.database_url, "PostgreSQL")?;
        let (redis, redis_url) = behind(&direct.redis_url, "Redis")?;

        cluster["server"] = format!("http://{}", kubernetes.address()).into();
        cluster["certificate-authority"].take();
        let kubeconfig = stack.folder()?.join("proxied.kubeconfig");
        std::fs::write(&kubeconfig, config.to_string()).map_err(RigError::io("writing", &kubeconfig))?;
        let endpoints = Endpoints {
            database_url,
            redis_url,
            meili_url: format!("http://{}", search.address()),
            ..direct.clone()
        };
        Ok(Self {
            kubernetes,
            kubernetes_requests,
            postgres,
            redis,
            search,
            search_requests,
            endpoints,
            kubeconfig,
        })
    }

    /// For a program that goes through the proxies, together with [`Self::kubeconfig`]. The kubeconfig in it goes past them,
    /// for whoever watches the program.
    pub fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }

    /// The API server behind its proxy.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Passes everything on again.
    pub fn heal(&self) {
        for wire in [&self.kubernetes, &self.postgres, &self.redis, &self.search] {
            wire.set(Mode::Pass);
        }
        for filter in [&self.kubernetes_requests, &self.search_requests] {
            filter.set(None::<Fault>);
        }
    }
}

/// The address in `scheme://LOGIN@127.0.0.1:PORT/PATH`.
fn address(url: &str) -> Option<SocketAddr> {
    let authority = url.split("//").nth(1)?.split('/').next()?;
    let (host, port) = authority.rsplit('@').next()?.rsplit_once(':')?;
    let host: IpAddr = if host == "localhost" { Ipv4Addr::LOCALHOST.into() } else { host.parse().ok()? };
    Some(SocketAddr::new(host, port.parse().ok()?))
}

/// The URL with another address.
fn moved(url: &str, to: SocketAddr) -> Option<String> {
    let from = address(url)?;
    Some(url.replacen(&format!("{}:{}", from.ip(), from.port()), &to.to_string(), 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_url_is_moved() {
        let to: SocketAddr = "127.0.0.1:9".parse().unwrap();
        let moved = |url| moved(url, to).unwrap();
        assert_eq!(moved("postgres://u:p@127.0.0.1:5432/tenantry"), "postgres://u:p@127.0.0.1:9/tenantry");
        assert_eq!(moved("redis://:p@127.0.0.1:6379/0"), "redis://:p@127.0.0.1:9/0");
    }
}
