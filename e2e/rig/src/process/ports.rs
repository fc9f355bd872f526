//! Free loopback ports.

use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::RigError;

/// `N` different ports that were free a moment ago.
///
/// Another process may take one before the child binds it; whoever starts the child tries again with new ports then.
pub fn free<const N: usize>() -> Result<[u16; N], RigError> {
    let error = || RigError::io("binding a loopback port for", Path::new("127.0.0.1:0"));
    // All are held until the last one is known, so that they differ.
    let mut held = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(error())?;
        *port = listener.local_addr().map_err(error())?.port();
        held.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    #[test]
    fn ports_differ() {
        let ports: [u16; 16] = super::free().unwrap();
        let unique: std::collections::BTreeSet<u16> = ports.into_iter().collect();
        assert_eq!(unique.len(), 16);
    }
}
