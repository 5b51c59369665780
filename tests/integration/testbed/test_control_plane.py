"""The control plane without a node: what the contract and integration tests stand on."""

from __future__ import annotations

import json
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from caios_testbed.cluster.controlplane import ControlPlane


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with ControlPlane.start(tmp_path_factory.mktemp("plane")) as plane:
        yield plane


def kubectl(plane: ControlPlane, *argv: str) -> str:
    done = subprocess.run(
        [plane.kubectl, "--kubeconfig", plane.kubeconfig, *argv],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout


def anonymous(plane: ControlPlane, path: str) -> dict[str, Any]:
    context = ssl.create_default_context(cafile=plane.ca_file)
    url = plane.url + path
    with urllib.request.urlopen(url, context=context, timeout=10) as response:  # noqa: S310  # ours
        content: dict[str, Any] = json.load(response)
    return content


def test_issuer_is_that_of_a_cks_cluster_and_anyone_may_discover_it(plane: ControlPlane) -> None:
    document = anonymous(plane, "/.well-known/openid-configuration")

    assert document["issuer"] == plane.issuer
    assert plane.issuer.startswith("https://oidc.cks.coreweave.com/id/")
    assert document["jwks_uri"] == f"{plane.url}/openid/v1/jwks"


def test_anyone_may_read_the_keys_that_sign_tokens(plane: ControlPlane) -> None:
    (key,) = anonymous(plane, "/openid/v1/jwks")["keys"]

    assert (key["kty"], key["alg"]) == ("RSA", "RS256")


def test_nothing_else_is_open_to_anyone(plane: ControlPlane) -> None:
    with pytest.raises(urllib.error.HTTPError) as refused:
        anonymous(plane, "/api/v1/namespaces")

    refused.value.close()
    assert refused.value.code == 403


def test_server_is_the_version_that_go_mod_names(plane: ControlPlane) -> None:
    versions = json.loads(kubectl(plane, "version", "-o", "json"))

    assert versions["serverVersion"]["gitVersion"] == "v1.37.2"
    assert versions["clientVersion"]["gitVersion"] == "v1.37.2"


def test_controllers_work_as_soon_as_it_has_started(plane: ControlPlane) -> None:
    assert kubectl(plane, "get", "serviceaccount", "default", "-o", "name")
    assert kubectl(plane, "get", "configmap", "kube-root-ca.crt", "-o", "name")


def test_audit_log_holds_writes_and_no_reads(plane: ControlPlane) -> None:
    kubectl(plane, "create", "configmap", "audited")
    kubectl(plane, "get", "configmap", "audited")

    events = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
    audited = [e for e in events if e["objectRef"].get("name") == "audited"]
    assert [(e["verb"], e["stage"], e["user"]["username"]) for e in audited] == [
        ("create", "ResponseComplete", "kubernetes-admin")
    ]


def test_api_server_can_go_away_and_come_back_with_what_it_stored(plane: ControlPlane) -> None:
    kubectl(plane, "create", "namespace", "kept")
    url = plane.url

    plane.stop_apiserver()
    with pytest.raises(urllib.error.URLError):
        anonymous(plane, "/readyz")
    assert plane.status() == {
        "etcd": True,
        "kube-apiserver": False,
        "kube-controller-manager": True,
    }

    plane.start_apiserver()
    assert plane.url == url
    assert kubectl(plane, "get", "namespace", "kept", "-o", "name") == "namespace/kept\n"


def test_one_left_behind_is_ended_by_the_next_start(tmp_path: Path) -> None:
    left = ControlPlane.start(tmp_path)
    issuer, kubeconfig = left.issuer, left.kubeconfig.read_text()

    with ControlPlane.start(tmp_path) as plane:
        assert plane.healthy
        assert plane.issuer == issuer
        assert plane.kubeconfig.read_text() != kubeconfig
    assert not any(plane.status().values())
