"""CRDs of other projects, of whose kinds our chart renders objects: their own, from Go modules.

`go.sum` pins each module by checksum. Nothing of them is built or run here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from caios_testbed import directories
from caios_testbed.cluster.binaries import module_key
from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.sources import MODULES

MODULE = MODULES / "definitions"
PROMETHEUS_OPERATOR = "github.com/prometheus-operator/prometheus-operator"
CERT_MANAGER = "github.com/cert-manager/cert-manager"
FILES: Mapping[str, tuple[str, ...]] = {
    PROMETHEUS_OPERATOR: (
        "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
    ),
    CERT_MANAGER: (
        "deploy/crds/cert-manager.io_certificates.yaml",
        "deploy/crds/cert-manager.io_issuers.yaml",
    ),
}
"""Where each module has them."""
DOWNLOAD_SECONDS = 300


def ensure_other_definitions(progress: Progress) -> tuple[Path, ...]:
    """Return files with the CRDs of ServiceMonitor, PrometheusRule, Certificate and Issuer.

    Raises ClusterError when they have to be fetched and cannot be.
    """
    cache = directories.cache("definitions", module_key(MODULE))
    kept = tuple(cache / Path(name).name for names in FILES.values() for name in names)
    if not all(path.exists() for path in kept):
        with progress.step("CRDs of other projects fetched"):
            for module, names in FILES.items():
                root = _download(module)
                for name in names:
                    draft = cache / f"{Path(name).name}.{os.getpid()}"
                    shutil.copyfile(root / name, draft)
                    draft.rename(cache / Path(name).name)
    return kept


def _download(module: str) -> Path:
    """Return the unpacked module, which Go checks against go.sum."""
    try:
        done = subprocess.run(
            ["go", "mod", "download", "-json", module],
            cwd=MODULE,
            env={**os.environ, "GOWORK": "off"},
            check=True,
            capture_output=True,
            text=True,
            timeout=DOWNLOAD_SECONDS,
        )
    except subprocess.SubprocessError as error:
        said = getattr(error, "stdout", "") or error
        raise ClusterError(f"{module}: go mod download failed: {said}") from error
    return Path(json.loads(done.stdout)["Dir"])
