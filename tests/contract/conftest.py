"""A real API server that serves the CRDs, once per session."""

from collections.abc import Iterator

import pytest
from kubernetes.config import new_client_from_config

from caios_testbed.cluster.controlplane import ControlPlane
from contract.examples import CRDS, Document, documents
from contract.server import Server, wait_until

API_PATH = "apis/caios.coreweave.com/v1alpha1"


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Yield the API server, with the CRDs established."""
    directory = tmp_path_factory.mktemp("plane")
    cache = tmp_path_factory.mktemp("cache")
    with ControlPlane.start(directory) as plane:
        client = new_client_from_config(  # type: ignore[no-untyped-call]
            config_file=str(plane.kubeconfig)
        )
        with client:
            server = Server.connect(client, plane.kubectl, plane.kubeconfig, cache)
            crds = [crd for path in CRDS for crd in documents(path)]
            for crd in crds:
                server.apply(crd)
            wait_until(lambda: _established(server, crds), "the CRDs to be established")
            wait_until(lambda: _described(server, crds), "the CRDs to be in the OpenAPI document")
            yield server


def _established(server: Server, crds: list[Document]) -> bool | None:
    held = [
        condition["status"] == "True"
        for crd in crds
        for condition in server.get(crd)["status"]["conditions"] or ()
        if condition["type"] == "Established"
    ]
    return True if len(held) == len(crds) and all(held) else None


def _described(server: Server, crds: list[Document]) -> bool | None:
    """Tell whether `kubectl explain` finds each kind: the API server publishes that later."""
    kinds = {crd["spec"]["names"]["kind"] for crd in crds}
    return True if kinds <= server.described_kinds(API_PATH) else None
