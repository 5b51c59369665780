"""Which programs the testbed builds, from which Go module, and how each learns its version."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

MODULES = Path(__file__).parent / "modules"
KUBERNETES = "k8s.io/kubernetes"
HELM = "helm.sh/helm/v3"
PROMETHEUS = "github.com/prometheus/prometheus"
KUBE_SCORE = "github.com/zegl/kube-score"


def required_version(go_mod: str, module: str) -> str:
    """Return the version of `module` that the text of a go.mod requires; raises KeyError."""
    found = re.search(rf"^(?:require)?\s+{re.escape(module)} (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise KeyError(module)
    return found[1]


def kubernetes_variables(go_mod: str) -> dict[str, str]:
    """Return what makes Kubernetes' programs say their version, else v0.0.0-master."""
    version = required_version(go_mod, KUBERNETES)
    major, minor = version.removeprefix("v").split(".")[:2]
    variables = {"gitVersion": version, "gitMajor": major, "gitMinor": minor}
    return {f"k8s.io/component-base/version.{name}": text for name, text in variables.items()}


def helm_variables(go_mod: str) -> dict[str, str]:
    """Return what makes helm say its version, and render for a Kubernetes that is not 1.20."""
    minor = required_version(go_mod, "k8s.io/client-go").split(".")[1]
    return {
        f"{HELM}/internal/version.version": required_version(go_mod, HELM),
        f"{HELM}/pkg/chartutil.k8sVersionMinor": minor,
        f"{HELM}/pkg/lint/rules.k8sVersionMinor": minor,
    }


def promtool_variables(go_mod: str) -> dict[str, str]:
    """Return what makes promtool say the version of its module: v0.316.0 is Prometheus 3.16.0."""
    return {"github.com/prometheus/common/version.Version": required_version(go_mod, PROMETHEUS)}


@dataclass(frozen=True, slots=True)
class Source:
    """Where one program comes from."""

    module: str
    """Folder below MODULES, with go.mod and go.sum."""
    package: str
    """The Go package that is its command."""
    variables: Callable[[str], Mapping[str, str]] = field(default=lambda _go_mod: {})
    """From the text of go.mod: Go string variables that the linker is to set."""
    tags: str = ""
    """Go build tags."""

    @property
    def directory(self) -> Path:
        """The folder with go.mod and go.sum."""
        return MODULES / self.module

    def build_command(self, target: Path) -> list[str]:
        """Return the command that builds the program as `target`, to be run in `directory`."""
        variables = self.variables((self.directory / "go.mod").read_text())
        linker = " ".join(("-s -w", *(f"-X {name}={text}" for name, text in variables.items())))
        return [
            *("go", "build", "-mod=readonly", "-trimpath", "-buildvcs=false"),
            *("-tags", self.tags, "-ldflags", linker, "-o", str(target), self.package),
        ]


def _kubernetes(name: str) -> Source:
    return Source("kubernetes", f"{KUBERNETES}/cmd/{name}", kubernetes_variables)


SOURCES: Mapping[str, Source] = {
    "etcd": Source("etcd", "go.etcd.io/etcd/server/v3"),
    "kube-apiserver": _kubernetes("kube-apiserver"),
    "kube-controller-manager": _kubernetes("kube-controller-manager"),
    "kube-scheduler": _kubernetes("kube-scheduler"),
    "kubelet": _kubernetes("kubelet"),
    "kube-proxy": _kubernetes("kube-proxy"),
    "kubectl": _kubernetes("kubectl"),
    "helm": Source("helm", f"{HELM}/cmd/helm", helm_variables),
    "promtool": Source(
        "promtool",
        f"{PROMETHEUS}/cmd/promtool",
        promtool_variables,
        tags="remove_all_sd",  # rules are all that it checks here; without the clients of clouds
    ),
    "kube-score": Source("kube-score", f"{KUBE_SCORE}/cmd/kube-score"),
}
"""Every program, by its name."""
