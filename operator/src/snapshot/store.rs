//! Where snapshots are: a folder, or an S3-compatible bucket.

use std::{fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use object_store::{
    ClientOptions, ObjectStore, ObjectStoreExt as _, RetryConfig, aws::AmazonS3Builder, buffered::BufWriter,
    local::LocalFileSystem, path::Path, prefix::PrefixStore,
};
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use tenantry_config::settings;
use tenantry_crds::reason::Reason;
use tokio::io::AsyncWriteExt as _;

use super::format::{File, MANIFEST, Reference};
use crate::{
    error::{Error, StoreFault},
    killpoint::killpoint,
};

/// A part of an upload, and what is held in memory of one: S3 takes at most 10,000 parts of a file, so 80 GiB.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Longer manifests are not read: about ten thousand tables.
const MANIFEST_MAX_BYTES: u64 = 64 * 1024 * 1024;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The job as a whole is tried again, so a request need not be for long.
const RETRY_TIMEOUT: Duration = Duration::from_secs(15);

/// Where snapshots are.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    url: String,
}

impl Store {
    /// Opens no connection yet.
    ///
    /// # Errors
    /// When `snapshots.url` is neither `file:///FOLDER` nor `s3://BUCKET[/PREFIX]`, or the folder cannot be made.
    pub fn new(settings: &settings::Snapshots) -> Result<Self, Error> {
        let url = settings.url.trim_end_matches('/').to_owned();
        let objects: Arc<dyn ObjectStore> = match url.split_once("://") {
            Some(("file", folder)) if folder.starts_with('/') => Arc::new(folder_store(folder)?),
            Some(("s3", rest)) if !rest.is_empty() => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                Arc::new(PrefixStore::new(bucket_store(settings, bucket)?, prefix))
            }
            _ => {
                let message =
                    format!("snapshots.url: {url} is neither file:///FOLDER nor s3://BUCKET/PREFIX");
                return Err(Error::Invalid(message));
            }
        };
        Ok(Self { objects, url })
    }

    /// Where a snapshot is, for people.
    pub fn location(&self, reference: &Reference) -> String {
        format!("{}/{reference}", self.url)
    }

    /// Begins a file.
    pub fn create(&self, reference: &Reference, path: &str) -> Writing {
        let target = object_path(reference, path);
        Writing {
            upload: BufWriter::with_capacity(self.objects.clone(), target, PART_BYTES)
                .with_max_concurrency(2),
            path: path.to_owned(),
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn put(&self, reference: &Reference, path: &str, content: Vec<u8>) -> Result<File, Error> {
        let mut writing = self.create(reference, path);
        writing.write(content.into()).await?;
        writing.finish().await
    }

    /// The manifest; nothing when there is no such snapshot.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn manifest(&self, reference: &Reference) -> Result<Option<Bytes>, Error> {
        let doing = "reading a snapshot's manifest";
        match self.objects.get(&object_path(reference, MANIFEST)).await {
            Ok(found) if found.meta.size > MANIFEST_MAX_BYTES => Err(Error::blocked(
                Reason::SnapshotFailed,
                format!("the manifest of snapshot {reference} is longer than any that Tenantry writes"),
            )),
            Ok(found) => found.bytes().await.map(Some).map_err(Error::store(doing)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(Error::store(doing)(error)),
        }
    }

    /// A file of a snapshot, checked as it is read: the stream ends with an error when the file is not what the manifest says.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read(
        &self,
        reference: &Reference,
        file: &File,
    ) -> Result<BoxStream<'static, Result<Bytes, Error>>, Error> {
        let doing = "reading a file of a snapshot";
        let found =
            self.objects.get(&object_path(reference, &file.path)).await.map_err(Error::store(doing))?;
        let parts = found.into_stream().map(move |part| part.map_err(Error::store(doing)));
        let checking = Checking {
            parts: parts.boxed(),
            digest: Sha256::new(),
            file: file.clone(),
            of: reference.to_string(),
        };
        Ok(futures::stream::try_unfold(checking, Checking::next).boxed())
    }

    /// Reads a whole file to see that it is what the manifest says.
    ///
    /// # Errors
    /// When it is not.
    pub async fn verify(&self, reference: &Reference, file: &File) -> Result<(), Error> {
        let mut parts = self.read(reference, file).await?;
        while let Some(part) = parts.next().await {
            part?;
        }
        Ok(())
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A file that is being written, in parts: no more than some of them are in memory.
pub struct Writing {
    upload: BufWriter,
    path: String,
    digest: Sha256,
    bytes: u64,
}

impl Writing {
    /// Adds to the file.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn write(&mut self, content: Bytes) -> Result<(), Error> {
        self.digest.update(&content);
        self.bytes += content.len() as u64;
        self.upload.put(content).await.map_err(Error::store("writing a file of a snapshot"))
    }

    /// Completes the file; only then is it there.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn finish(mut self) -> Result<File, Error> {
        let doing = "completing a file of a snapshot";
        let done = killpoint!("snapshot.file", self.upload.shutdown().await);
        done.map_err(|source| Error::Store { doing, source: StoreFault::Failed(source.kind().to_string()) })?;
        Ok(File { path: self.path, bytes: self.bytes, sha256: hexadecimal(self.digest) })
    }
}

struct Checking {
    parts: BoxStream<'static, Result<Bytes, Error>>,
    digest: Sha256,
    file: File,
    of: String,
}

impl Checking {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, Error> {
        if let Some(part) = self.parts.next().await {
            let part = part?;
            self.digest.update(&part);
            return Ok(Some((part, self)));
        }
        if hexadecimal(self.digest) == self.file.sha256 {
            return Ok(None);
        }
        Err(Error::blocked(
            Reason::SnapshotFailed,
            format!(
                "{} of snapshot {} is not what its manifest says: it was changed or cut",
                self.file.path, self.of
            ),
        ))
    }
}

fn folder_store(folder: &str) -> Result<LocalFileSystem, Error> {
    let unusable = |source: std::io::Error| {
        Error::Invalid(format!("snapshots.url: folder {folder} cannot be used: {}", source.kind()))
    };
    std::fs::create_dir_all(folder).map_err(unusable)?;
    let doing = "opening the folder of the snapshots";
    // What is dropped afterwards must not be in a cache only.
    LocalFileSystem::new_with_prefix(folder).map(|store| store.with_fsync(true)).map_err(Error::store(doing))
}

fn bucket_store(settings: &settings::Snapshots, bucket: &str) -> Result<object_store::aws::AmazonS3, Error> {
    // What is not set comes from where such programs get it: AWS_* variables, the Pod's web identity, the machine.
    let mut client = ClientOptions::new()
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_read_timeout(READ_TIMEOUT)
        // A whole table may take longer than any fixed time; what stands still meets the read timeout.
        .with_timeout_disabled();
    let retry = RetryConfig { max_retries: 5, retry_timeout: RETRY_TIMEOUT, ..RetryConfig::default() };
    let mut builder = AmazonS3Builder::from_env().with_bucket_name(bucket).with_retry(retry);
    if let Some(region) = &settings.region {
        builder = builder.with_region(region);
    }
    if let Some(endpoint) = &settings.endpoint {
        client = client.with_allow_http(endpoint.starts_with("http://"));
        builder = builder.with_endpoint(endpoint);
    }
    if let (Some(id), Some(secret)) = (&settings.access_key_id, &settings.secret_access_key) {
        builder =
            builder.with_access_key_id(id.expose_secret()).with_secret_access_key(secret.expose_secret());
    }
    builder
        .with_client_options(client)
        .build()
        .map_err(Error::store("reading the settings of the snapshots' bucket"))
}

fn object_path(reference: &Reference, path: &str) -> Path {
    Path::from(format!("{reference}/{path}"))
}

/// In lower-case digits.
pub fn hexadecimal(digest: Sha256) -> String {
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(url: &str) -> settings::Snapshots {
        serde_json::from_value(serde_json::json!({"url": url})).unwrap()
    }

    fn reference() -> Reference {
        Reference::parse("acme/00000000-0000-0000-0000-000000000007").unwrap()
    }

    #[test]
    fn only_a_folder_or_a_bucket_will_do() {
        for wrong in ["/var/snapshots", "file://relative", "http://x/y", "s3://"] {
            assert!(matches!(Store::new(&settings(wrong)), Err(Error::Invalid(_))), "{wrong}");
        }
    }

    #[tokio::test]
    async fn a_file_reads_back_and_a_changed_one_is_refused() {
        let folder = std::env::temp_dir().join(format!("tenantry-store-{}", uuid::Uuid::new_v4()));
        let store = Store::new(&settings(&format!("file://{}", folder.display()))).unwrap();
        assert_eq!(store.manifest(&reference()).await.unwrap(), None);
        let file = store.put(&reference(), "tables/a.ndjson", b"{}\n".to_vec()).await.unwrap();
        assert_eq!(file.bytes, 3);
        store.verify(&reference(), &file).await.unwrap();
        let other = File { sha256: "0".repeat(64), ..file.clone() };
        let refusal = store.verify(&reference(), &other).await.unwrap_err();
        assert_eq!(refusal.reason(), Reason::SnapshotFailed);
        let missing = File { path: "tables/b.ndjson".into(), ..file };
        assert!(matches!(store.verify(&reference(), &missing).await, Err(Error::Store { .. })));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
