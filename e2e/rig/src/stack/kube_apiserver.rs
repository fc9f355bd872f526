use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use p256::SecretKey;
use p256::elliptic_curve::rand_core::OsRng;
use p256::pkcs8::{EncodePrivateKey, EncodePublicKey, LineEnding};

use super::kubeconfig::Kubeconfig;
use super::{answers_ok, secret};
use crate::RigError;
use crate::endpoints::install_crypto;
use crate::process::{Launch, Plan, Probe, Sandbox, Server, Signal, ports};

/// Starts kube-apiserver with real RBAC; yields the kubeconfig file of an administrator.
pub async fn start(
    sandbox: &Arc<Sandbox>,
    program: &Path,
    etcd_url: &str,
) -> Result<(Server, PathBuf), RigError> {
    install_crypto();
    let files = sandbox.subfolder("kubernetes", None)?;
    let token = secret();
    let tokens = files.join("tokens.csv");
    std::fs::write(&tokens, format!("{token},admin,admin,system:masters\n"))
        .map_err(RigError::io("writing", &tokens))?;
    let key = SigningKey::create(&files)?;

    let (server, kubeconfig) = Server::launch(sandbox, || {
        let [port] = ports::free()?;
        // The server makes its own authority and certificate here when it starts.
        let certificates = files.join(format!("certificates-{port}"));
        let certificate = certificates.join("apiserver.crt");
        let with = |flag: &str, path: &Path| {
            let mut argument = std::ffi::OsString::from(flag);
            argument.push(path);
            argument
        };
        let launch = Launch::new("kube-apiserver", program)
            .args([format!("--etcd-servers={etcd_url}"), format!("--secure-port={port}")])
            .args([
                "--bind-address=127.0.0.1",
                "--authorization-mode=RBAC",
                "--service-cluster-ip-range=10.0.0.0/24",
            ])
            .args(["--service-account-issuer=https://localhost", "--allow-privileged=true"])
            // Without a controller manager no namespace gets its default account, so no pod could be admitted.
            .args(["--disable-admission-plugins=ServiceAccount"])
            .args([
                with("--cert-dir=", &certificates),
                with("--service-account-key-file=", &key.public),
                with("--service-account-signing-key-file=", &key.private),
                with("--token-auth-file=", &tokens),
            ]);
        let kubeconfig =
            Kubeconfig { url: format!("https://127.0.0.1:{port}"), certificate, token: token.clone() };
        let probe = probe(kubeconfig.clone());
        Ok((Plan { launch, graceful: Signal::TERM, probe }, kubeconfig))
    })
    .await?;
    let path = files.join("admin.kubeconfig");
    kubeconfig.write(&path)?;
    Ok((server, path))
}

/// Ready when `/readyz` says so, over TLS that is verified with the server's own authority.
fn probe(kubeconfig: Kubeconfig) -> Probe {
    Box::new(move || {
        let kubeconfig = kubeconfig.clone();
        Box::pin(async move {
            let pem = std::fs::read(&kubeconfig.certificate)
                .map_err(|error| format!("no certificate yet: {error}"))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem)
                .map_err(|error| format!("half a certificate: {error}"))?;
            let client = reqwest::Client::builder()
                .timeout(Duration::from_secs(5))
                .tls_certs_only(authorities)
                .build()
                .map_err(|error| error.to_string())?;
            let request = client.get(format!("{}/readyz", kubeconfig.url)).bearer_auth(&kubeconfig.token);
            answers_ok(Some(request)).await
        })
    })
}

/// The key pair that service account tokens are signed and checked with.
struct SigningKey {
    private: PathBuf,
    public: PathBuf,
}

impl SigningKey {
    fn create(folder: &Path) -> Result<Self, RigError> {
        let refused =
            |error: &dyn std::fmt::Display| RigError::Refused(format!("encoding the signing key: {error}"));
        let key = SecretKey::random(&mut OsRng);
        let private = key.to_pkcs8_pem(LineEnding::LF).map_err(|error| refused(&error))?;
        let public = key.public_key().to_public_key_pem(LineEnding::LF).map_err(|error| refused(&error))?;
        let files =
            Self { private: folder.join("service-account.key"), public: folder.join("service-account.pub") };
        std::fs::write(&files.private, private.as_bytes())
            .map_err(RigError::io("writing", &files.private))?;
        std::fs::write(&files.public, public).map_err(RigError::io("writing", &files.public))?;
        Ok(files)
    }
}
