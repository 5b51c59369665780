"""Write a kubeconfig that stands alone: certificates are inside, not beside."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

from caios_testbed.cluster.pki import Pki


def write_kubeconfig(path: Path, *, context: str, url: str, pki: Pki, client: str) -> None:
    """Write to `path` how `client`, one of the PKI's names, reaches the API server at `url`."""

    def data(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [
            {
                "name": context,
                "cluster": {"server": url, "certificate-authority-data": data(pki.ca)},
            }
        ],
        "contexts": [{"name": context, "context": {"cluster": context, "user": client}}],
        "users": [
            {
                "name": client,
                "user": {
                    "client-certificate-data": data(pki.certificate(client)),
                    "client-key-data": data(pki.key(client)),
                },
            }
        ],
    }
    path.touch(mode=0o600)
    path.write_text(yaml.safe_dump(content, sort_keys=False))
