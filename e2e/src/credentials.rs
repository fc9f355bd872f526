use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use tenantry_rig::{Endpoints, RigError};

/// The secrets that the programs of one stack share.
///
/// Derived from the stack's own generated password: everybody who attaches to a stack comes to the same values, so
/// programs that different processes start on it agree.
#[derive(Clone)]
pub struct Credentials {
    /// The password of the login `tenantry_operator`.
    pub operator_password: String,
    /// From which the provisioners' passwords derive.
    pub provisioner_key: String,
    /// From which the traffic logins' passwords derive.
    pub traffic_key: String,
    /// Signs and checks HS256 tokens.
    pub hs256_secret: String,
}

impl Credentials {
    /// The credentials of the stack at `endpoints`.
    pub fn of(endpoints: &Endpoints) -> Self {
        let derive = |purpose: &str| -> String {
            let mut digest = Sha256::new();
            digest.update(purpose);
            digest.update([0]);
            digest.update(&endpoints.meili_master_key);
            digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
        };
        Self {
            operator_password: derive("operator"),
            provisioner_key: derive("provisioner"),
            traffic_key: derive("traffic"),
            hs256_secret: derive("hs256"),
        }
    }

    /// A folder with the P-256 key that the control plane of the stack at `endpoints` signs tokens with.
    pub fn keys_folder(endpoints: &Endpoints) -> Result<PathBuf, RigError> {
        // PKCS#8 of a P-256 key without its public half: always this, then the 32 bytes.
        const HEAD: [u8; 35] = [
            0x30, 0x41, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01,
            0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x04, 0x27, 0x30, 0x25, 0x02, 0x01,
            0x01, 0x04, 0x20,
        ];
        let seed = Sha256::digest(format!("signing\0{}", endpoints.meili_master_key));
        let der = STANDARD.encode([HEAD.as_slice(), &seed].concat());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{der}\n-----END PRIVATE KEY-----\n");
        let folder = endpoints.kubeconfig.with_file_name("auth-keys");
        std::fs::create_dir_all(&folder).map_err(RigError::io("creating", &folder))?;
        // Renamed into place, because others may read it at this moment.
        let (file, scratch) =
            (folder.join("first.pem"), folder.join(format!("first.{}", uuid::Uuid::new_v4())));
        std::fs::write(&scratch, pem).map_err(RigError::io("writing", &scratch))?;
        std::fs::rename(&scratch, &file).map_err(RigError::io("moving into place", &file))?;
        Ok(folder)
    }
}

/// `postgres://USER:PASSWORD@HOST:PORT/DATABASE` with another login, or with none.
pub(super) fn with_login(url: &str, login: Option<(&str, &str)>) -> Result<String, RigError> {
    let (_, address) = url
        .split_once('@')
        .filter(|_| url.starts_with("postgres://"))
        .ok_or_else(|| RigError::Refused("the database URL has no login".to_owned()))?;
    Ok(match login {
        Some((user, password)) => format!("postgres://{user}:{password}@{address}"),
        None => format!("postgres://{address}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_login_of_a_url_is_replaced() {
        let url = "postgres://postgres:secret@127.0.0.1:5432/tenantry";
        assert_eq!(with_login(url, Some(("op", "pw"))).unwrap(), "postgres://op:pw@127.0.0.1:5432/tenantry");
        assert_eq!(with_login(url, None).unwrap(), "postgres://127.0.0.1:5432/tenantry");
        assert!(with_login("postgres://127.0.0.1/tenantry", None).is_err());
    }
}
