"""The status subresource: apart from the spec, applied by several writers."""

from collections.abc import Iterator

import pytest

from contract.examples import Document
from contract.server import Rejected, Server

NOW = "2026-11-24T12:00:00Z"
NAMES: Document = {
    "apiVersion": "caios.coreweave.com/v1alpha1",
    "kind": "FederatedStorageBinding",
    "metadata": {"name": "status", "namespace": "default"},
}


def condition(kind: str, status: str, reason: str = "Tried") -> Document:
    return {
        "type": kind,
        "status": status,
        "observedGeneration": 1,
        "lastTransitionTime": NOW,
        "reason": reason,
        "message": "a message",
    }


@pytest.fixture(autouse=True)
def _binding(server: Server) -> Iterator[None]:
    server.apply({**NAMES, "spec": {"serviceAccountName": "trainer"}})
    yield
    server.delete(NAMES)


def test_a_write_of_the_spec_does_not_touch_the_status(server: Server) -> None:
    apply_status(server, principal="role/x")
    changed = server.apply(
        {
            **NAMES,
            "spec": {"serviceAccountName": "trainer", "region": "RNO2A"},
            "status": {"principal": "role/forged"},
        }
    )
    assert changed["status"] == {"principal": "role/x"}
    assert changed["metadata"]["generation"] == 2


def test_a_write_of_the_status_does_not_touch_the_spec(server: Server) -> None:
    changed = server.apply(
        {
            **NAMES,
            "spec": {"serviceAccountName": "trainer", "region": "RNO2A"},
            "status": {"principal": "role/x"},
        },
        subresource="/status",
    )
    assert "region" not in changed["spec"]
    assert changed["metadata"]["generation"] == 1


def test_an_object_is_created_without_a_status(server: Server) -> None:
    forged = {**NAMES, "metadata": {"name": "forged", "namespace": "default"}}
    document = {
        **forged,
        "spec": {"serviceAccountName": "trainer"},
        "status": {"principal": "role/forged"},
    }
    assert "status" not in server.apply(document, dry_run=True)


def test_a_whole_status_is_kept_as_it_is_written(server: Server) -> None:
    status = {
        "observedGeneration": 1,
        "issuer": "https://oidc.cks.coreweave.com/id/1",
        "audience": "https://coreweave.com/iam",
        "principal": "role/https://oidc.cks.coreweave.com/id/1:system:serviceaccount:default:x",
        "principalARN": "arn:aws:iam::cw1234:role/https://oidc.cks.coreweave.com/id/1:"
        "system:serviceaccount:default:x",
        "credentialsURI": "https://api.coreweave.com/v1/cwobject/temporary-credentials/oidc/cw1234",
        "policy": {"name": "cks-01234567-default-x", "digest": "sha256:0", "document": "{}"},
        "newPods": {"injection": "Enabled", "principal": "role/x", "since": NOW},
        "pods": {"total": 3, "federated": 2, "missed": ["x-1"]},
        "lastVerifiedTime": NOW,
        "conditions": [condition("Ready", "False", reason="PodsMissed")],
    }
    assert apply_status(server, **status)["status"] == status


def test_conditions_of_two_writers_merge_by_type(server: Server) -> None:
    apply_status(server, "one", conditions=[condition("Accepted", "True")])
    changed = apply_status(server, "two", conditions=[condition("Ready", "False")])
    assert states(changed) == {"Accepted": "True", "Ready": "False"}


def test_a_writer_that_leaves_its_condition_out_removes_it(server: Server) -> None:
    apply_status(server, "one", conditions=[condition("Accepted", "True")])
    apply_status(server, "two", conditions=[condition("Ready", "False")])
    changed = apply_status(server, "two", conditions=[])
    assert states(changed) == {"Accepted": "True"}


def test_a_writer_changes_its_own_condition_in_place(server: Server) -> None:
    for state in ("Unknown", "True"):
        changed = apply_status(server, conditions=[condition("Ready", state)])
        assert states(changed) == {"Ready": state}


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"conditions": [condition("Ready", "Maybe")]}, 'Unsupported value: "Maybe"'),
        ({"conditions": [condition("Ready", "True", "")]}, "conditions[0].reason: Invalid value"),
        ({"conditions": [condition("", "True")]}, "conditions[0].type: Invalid value"),
        ({"conditions": [{"type": "Ready"}]}, "conditions[0].lastTransitionTime: Required value"),
        ({"pods": {"missed": [f"x-{n}" for n in range(21)]}}, "status.pods.missed: Too many: 21"),
        ({"pods": {"total": -1}}, "status.pods.total: Invalid value: -1"),
        ({"newPods": {"injection": "Perhaps"}}, "status.newPods.injection: Unsupported value"),
        ({"lastVerifiedTime": "yesterday"}, "status.lastVerifiedTime: Invalid value"),
    ],
)
def test_a_status_outside_its_bounds_is_refused(
    server: Server, status: Document, message: str
) -> None:
    with pytest.raises(Rejected) as caught:
        apply_status(server, "contract", **status)
    assert message in str(caught.value)


def apply_status(server: Server, manager: str = "contract", /, **status: object) -> Document:
    return server.apply({**NAMES, "status": status}, manager=manager, subresource="/status")


def states(document: Document) -> dict[str, str]:
    return {c["type"]: c["status"] for c in document["status"]["conditions"]}
