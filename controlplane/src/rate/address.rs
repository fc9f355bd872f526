//! Which address a request came from.

use std::net::IpAddr;

use axum::http::HeaderMap;
use tenantry_config::network::Network;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The address of the client: that of the connection, unless it is a proxy that is trusted to tell. Of what a proxy tells, the
/// part counts that trusted proxies added: the rightmost address that is not one of theirs. The client can write all before it.
pub fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let peer = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(peer) {
        return peer;
    }
    let mut told = peer;
    for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        for entry in line.to_str().unwrap_or_default().rsplit(',') {
            // What is no address cannot be gone behind.
            let Ok(address) = entry.trim().parse::<IpAddr>() else { return told };
            told = address.to_canonical();
            if !is_trusted(told) {
                return told;
            }
        }
    }
    told
}

/// What limits count: of IPv6 the network of 64 bits, which one client has for itself.
pub fn counted(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 64 << 64).into()),
    }
}

/// The network around an address, of 24 bits or for IPv6 of 48: what somebody with more than one address usually has of them.
pub fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => IpAddr::V4((v4.to_bits() >> 8 << 8).into()),
        IpAddr::V6(v6) => IpAddr::V6((v6.to_bits() >> 80 << 80).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(peer: &str, forwarded: &[&str], trusted: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        let trusted: Vec<Network> = trusted.iter().map(|network| network.parse().unwrap()).collect();
        client(peer.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn nobody_can_choose_an_address() {
        assert_eq!(from("9.9.9.9", &["1.1.1.1"], &[]), "9.9.9.9");
        assert_eq!(from("9.9.9.9", &["1.1.1.1"], &["10.0.0.0/8"]), "9.9.9.9", "not a trusted proxy");
        assert_eq!(
            from("10.0.0.1", &["1.1.1.1, 2.2.2.2"], &["10.0.0.0/8"]),
            "2.2.2.2",
            "1.1.1.1 is what the client wrote"
        );
        assert_eq!(from("10.0.0.1", &["1.1.1.1", "2.2.2.2, 10.0.0.9"], &["10.0.0.0/8"]), "2.2.2.2");
        assert_eq!(from("10.0.0.1", &["2.2.2.2, nonsense"], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(from("10.0.0.1", &[], &["10.0.0.0/8"]), "10.0.0.1");
        assert_eq!(from("::ffff:10.0.0.1", &["2.2.2.2"], &["10.0.0.0/8"]), "2.2.2.2");
    }

    #[test]
    fn an_ipv6_client_is_its_network() {
        let of = |text: &str| counted(text.parse().unwrap()).to_string();
        assert_eq!(of("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(of("1.2.3.4"), "1.2.3.4");
    }
}
