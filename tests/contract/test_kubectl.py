"""What a person sees: columns, and the words of `kubectl explain`."""

import re
from collections.abc import Iterator

import pytest

from contract.examples import Document
from contract.server import Server

PRINCIPAL = "role/https://issuer.example/id/1:system:serviceaccount:default:trainer"
API_VERSION = "caios.coreweave.com/v1alpha1"


def ready(reason: str, message: str) -> Document:
    return {
        "type": "Ready",
        "status": "False",
        "observedGeneration": 1,
        "lastTransitionTime": "2026-11-24T12:00:00Z",
        "reason": reason,
        "message": message,
    }


BINDING: Document = {
    "apiVersion": API_VERSION,
    "kind": "FederatedStorageBinding",
    "metadata": {"name": "seen", "namespace": "default"},
}
FEDERATION: Document = {
    "apiVersion": API_VERSION,
    "kind": "StorageFederation",
    "metadata": {"name": "seen"},
}


@pytest.fixture(scope="module", autouse=True)
def _objects(server: Server) -> Iterator[None]:
    server.apply({**BINDING, "spec": {"serviceAccountName": "trainer"}})
    server.apply(
        {
            **BINDING,
            "status": {
                "principal": PRINCIPAL,
                "audience": "x",
                "pods": {"total": 3, "federated": 2, "missed": ["x-1"]},
                "conditions": [ready("PodsMissed", "restart x-1")],
            },
        },
        subresource="/status",
    )
    server.apply({**FEDERATION, "spec": {"organizationID": "cw1234", "region": "RNO2A"}})
    server.apply(
        {
            **FEDERATION,
            "status": {
                "issuer": "https://issuer.example/id/1",
                "bindings": {"total": 5, "ready": 4},
                "conditions": [ready("SecretNotFound", "create it")],
            },
        },
        subresource="/status",
    )
    yield
    server.delete(BINDING)
    server.delete(FEDERATION)


def test_bindings_show_account_readiness_reason_principal_and_age(server: Server) -> None:
    assert table(server.kubectl("get", "fsb", "seen")) == {
        "NAME": "seen",
        "SERVICEACCOUNT": "trainer",
        "READY": "False",
        "REASON": "PodsMissed",
        "PRINCIPAL": PRINCIPAL,
        "AGE": "*",
    }


def test_wide_bindings_show_federation_audience_pods_and_message_too(server: Server) -> None:
    assert table(server.kubectl("get", "fsb", "seen", "-o", "wide")) == {
        "NAME": "seen",
        "SERVICEACCOUNT": "trainer",
        "READY": "False",
        "REASON": "PodsMissed",
        "PRINCIPAL": PRINCIPAL,
        "FEDERATION": "default",
        "AUDIENCE": "x",
        "PODS": "2",
        "MESSAGE": "restart x-1",
        "AGE": "*",
    }


def test_federations_show_organization_region_readiness_and_bindings(server: Server) -> None:
    assert table(server.kubectl("get", "sfed", "seen")) == {
        "NAME": "seen",
        "ORGANIZATION": "cw1234",
        "REGION": "RNO2A",
        "READY": "False",
        "REASON": "SecretNotFound",
        "BINDINGS": "4",
        "AGE": "*",
    }


def test_wide_federations_show_issuer_and_message_too(server: Server) -> None:
    assert table(server.kubectl("get", "sfed", "seen", "-o", "wide")) == {
        "NAME": "seen",
        "ORGANIZATION": "cw1234",
        "REGION": "RNO2A",
        "READY": "False",
        "REASON": "SecretNotFound",
        "BINDINGS": "4",
        "ISSUER": "https://issuer.example/id/1",
        "MESSAGE": "create it",
        "AGE": "*",
    }


def test_an_object_that_nobody_has_looked_at_shows_no_readiness(server: Server) -> None:
    document = {**BINDING, "metadata": {"name": "new", "namespace": "default"}}
    server.apply({**document, "spec": {"serviceAccountName": "trainer"}})
    try:
        shown = table(server.kubectl("get", "fsb", "new"))
    finally:
        server.delete(document)
    assert (shown["READY"], shown["REASON"], shown["PRINCIPAL"]) == ("", "", "")


def test_the_category_shows_both_kinds(server: Server) -> None:
    names = server.kubectl("get", "caios", "-A", "-o", "name").split()
    assert names == [
        "federatedstoragebinding.caios.coreweave.com/seen",
        "storagefederation.caios.coreweave.com/seen",
    ]
    printed = server.kubectl("get", "caios", "-A")
    assert "SERVICEACCOUNT" in printed
    assert "ORGANIZATION" in printed


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ("fsb", "gives the Pods of one ServiceAccount an identity"),
        ("fsb.spec.grants", "What the identity may do."),
        ("fsb.spec.grants.buckets", "Names of the buckets"),
        ("fsb.spec.tokenExpirationSeconds", "Lifetime of the Pods' tokens in seconds"),
        ("fsb.status.policy.document", "to be pasted in the Console"),
        ("sfed.spec.policyManagement", "ENUM:"),
        ("sfed.spec.grantRules.namespaceSelector", "Labels of the namespaces"),
    ],
)
def test_a_field_is_explained(server: Server, field: str, said: str) -> None:
    assert said in " ".join(server.kubectl("explain", field).split())


def table(printed: str) -> dict[str, str]:
    """Return the only row by column; the age, which differs from run to run, as `*`."""
    header, row = printed.splitlines()
    starts = [found.start() for found in re.finditer(r"\S+", header)]
    ends = [*starts[1:], None]
    cells = {
        header[start:end].strip(): row[start:end].strip()
        for start, end in zip(starts, ends, strict=True)
    }
    assert cells["AGE"].endswith(("s", "m"))
    return {**cells, "AGE": "*"}
