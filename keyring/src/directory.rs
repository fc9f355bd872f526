//! Keys as files of a directory, as Kubernetes mounts a Secret: the name of a file is the name of its key.

use std::{fs, io, path::Path};

use zeroize::Zeroizing;

use crate::{Keyring, error::KeyringError};

/// More keys are a mistake: a ring holds the one that seals, and those that it replaces.
const MAX_KEYS: usize = 64;
/// A longer file holds no key.
const MAX_BYTES: u64 = 1024;

impl Keyring {
    /// The ring of the keys in `directory`. Files whose names begin with a dot are no keys: a mounted Secret has some.
    ///
    /// # Errors
    /// When a file cannot be read, is no key, or the primary is not among them.
    pub fn read(directory: &Path, primary: &str) -> Result<Self, KeyringError> {
        let mut keys: Vec<(String, Zeroizing<Vec<u8>>)> = Vec::new();
        for entry in fs::read_dir(directory).map_err(unreadable(directory))? {
            let entry = entry.map_err(unreadable(directory))?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            // What a link points to: the keys of a mounted Secret are links.
            let about = fs::metadata(&path).map_err(unreadable(&path))?;
            if keys.len() == MAX_KEYS || !about.is_file() || about.len() > MAX_BYTES {
                let source =
                    io::Error::other("a keyring is a folder of up to 64 short files, one for each key");
                return Err(KeyringError::Unreadable { path, source });
            }
            let text = fs::read(&path).map_err(unreadable(&path))?;
            keys.push((name, Zeroizing::new(text)));
        }
        keys.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self::new(primary, keys.iter().map(|(name, text)| (name.as_str(), text.as_slice())))
    }
}

fn unreadable(path: &Path) -> impl FnOnce(io::Error) -> KeyringError {
    let path = path.to_owned();
    move |source| KeyringError::Unreadable { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyId;

    struct Folder(std::path::PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("keyring-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn with(self, name: &str, text: &str) -> Self {
            fs::write(self.0.join(name), text).unwrap();
            self
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const A: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n";
    const B: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

    #[test]
    fn each_file_is_a_key_by_its_name() {
        let folder =
            Folder::new("names").with("2026-11", A).with("2026-05", B).with("..data", "a link of a Secret");
        let ring = Keyring::read(&folder.0, "2026-11").unwrap();
        assert_eq!(ring.ids().map(KeyId::as_str).collect::<Vec<_>>(), ["2026-11", "2026-05"]);
        assert!(matches!(Keyring::read(&folder.0, "2027-01"), Err(KeyringError::NoPrimary(_))));
    }

    #[test]
    fn what_is_no_key_is_told_by_its_name() {
        let told = |folder: &Folder| Keyring::read(&folder.0, "a").unwrap_err().to_string();
        assert!(told(&Folder::new("bad").with("a", A).with("b", "nonsense")).contains("key b"));
        assert!(told(&Folder::new("name").with("a", A).with("README.md", "")).contains("README.md"));
        assert!(told(&Folder::new("long").with("a", &A.repeat(100))).contains("cannot be read"));
        let missing = Keyring::read(Path::new("/nonexistent/keys"), "a").unwrap_err();
        assert!(missing.to_string().contains("/nonexistent/keys"), "{missing}");
    }
}
