//! Whether an installed program will do, by what it prints about itself.

/// Which versions of an installed program will do.
#[derive(Debug, Clone, Copy)]
pub enum Fit {
    /// This major and minor version or a newer one.
    AtLeast(u32, u32),
    /// A release of this major version, at most one minor version away. `v1.36.3` is a release, and `v1.36.3-gke.1` is not:
    /// a vendor's wrapper may print and do something else.
    ReleaseNear(u32, u32),
}

impl Fit {
    /// Whether a program that prints this will do.
    pub fn takes(self, printed: &str) -> bool {
        match self {
            Self::AtLeast(major, minor) => version(printed).is_some_and(|found| found >= (major, minor)),
            Self::ReleaseNear(major, minor) => {
                release(printed).is_some_and(|found| found.0 == major && found.1.abs_diff(minor) <= 1)
            }
        }
    }
}

/// The first `N.M` in the text.
pub fn version(printed: &str) -> Option<(u32, u32)> {
    printed.split(|c: char| !(c.is_ascii_digit() || c == '.')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// Major and minor of the first word with a version in it, when that word is `vN.N.N` and nothing more.
fn release(printed: &str) -> Option<(u32, u32)> {
    let word = printed.split_whitespace().find(|word| version(word).is_some())?;
    let mut numbers = word.strip_prefix('v')?.split('.').map(|part| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if digits { part.parse::<u32>().ok() } else { None }
    });
    let (major, minor, _patch) = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some((major, minor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_programs_print() {
        let printed = [
            ("etcd Version: 3.6.7\nGit SHA: Not provided", (3, 6)),
            ("Kubernetes v1.36.3\n", (1, 36)),
            ("Client Version: v1.36.3\nKustomize Version: v5.7.1", (1, 36)),
            ("v4.3.1", (4, 3)),
            ("Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64", (7, 0)),
            ("meilisearch 1.21.0", (1, 21)),
            ("postgres (PostgreSQL) 18.4", (18, 4)),
            ("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)", (15, 14)),
        ];
        for (text, found) in printed {
            assert_eq!(version(text), Some(found), "{text}");
        }
        assert_eq!(version("no version"), None);
    }

    #[test]
    fn an_older_version_does_not_do() {
        let etcd = Fit::AtLeast(3, 6);
        assert!(etcd.takes("etcd Version: 3.6.7") && etcd.takes("etcd Version: 4.0.0"));
        assert!(!etcd.takes("etcd Version: 3.4.23") && !etcd.takes("command not found"));
    }

    #[test]
    fn only_a_plain_release_near_the_api_server_does() {
        let kubectl = Fit::ReleaseNear(1, 36);
        for version in ["v1.35.0", "v1.36.3", "v1.37.12"] {
            assert!(
                kubectl.takes(&format!("Client Version: {version}\nKustomize Version: v5.8.1\n")),
                "{version}"
            );
        }
        for version in [
            "v1.34.9",
            "v1.38.0",
            "v2.36.3",
            "v1.36.3-gke.1",
            "v1.36.0-rc.0",
            "v1.36.3+k3s1",
            "v1.32.4-dispatcher",
            "v1.36",
            "1.36.3",
            "v1.36.3.1",
            "v1.36.",
        ] {
            assert!(
                !kubectl.takes(&format!("Client Version: {version}\nKustomize Version: v5.8.1\n")),
                "{version}"
            );
        }
        assert!(!kubectl.takes(""));
    }
}
