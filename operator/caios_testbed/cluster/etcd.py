"""Talk to a cluster's etcd, over its HTTP gateway: `python -m caios_testbed.cluster.etcd PORT`.

A program, because etcd listens on loopback inside of the cluster's network namespace.
"""

from __future__ import annotations

import base64
import http.client
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from caios_testbed.cluster.failure import ClusterError

TIMEOUT_SECONDS = 30
KEY = base64.b64encode(b"caios-testbed/compaction").decode()
"""Outside of what Kubernetes stores: writing it moves the revision on and changes nothing."""


def compact(port: int, prefix: Sequence[str]) -> None:
    """Move etcd's revision on, and have it forget all that came before.

    `prefix` is what enters the network in which etcd listens on loopback. Raises ClusterError.
    """
    done = subprocess.run(
        [*prefix, sys.executable, "-m", __name__, str(port)],
        capture_output=True,
        text=True,
        check=False,
        timeout=2 * TIMEOUT_SECONDS,
    )
    if done.returncode:
        raise ClusterError(f"etcd: cannot be compacted: {done.stderr.strip()}")


def _call(port: int, path: str, body: Mapping[str, object]) -> dict[str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_SECONDS)
    try:
        connection.request("POST", path, json.dumps(body))
        response = connection.getresponse()
        text = response.read()
    finally:
        connection.close()
    if response.status != HTTPStatus.OK:
        sys.exit(f"{path}: {response.status} {text[:256].decode(errors='replace')}")
    answer: dict[str, Any] = json.loads(text)
    return answer


def main(port: int) -> None:
    """Write a key of our own, and compact up to that write."""
    written = _call(port, "/v3/kv/put", {"key": KEY, "value": ""})
    revision = written["header"]["revision"]
    _call(port, "/v3/kv/compaction", {"revision": revision, "physical": True})


if __name__ == "__main__":
    main(int(sys.argv[1]))
