"""What must survive injection (peers checklist 4.6). The law about it is in tests/properties."""

from typing import Any

import pytest

from builders import container, inject, pod

FIELDS: dict[str, Any] = {
    "livenessProbe": {"grpc": {"port": 8080, "service": None}},
    "startupProbe": {"httpGet": {"port": "http", "path": "/"}, "failureThreshold": 30},
    "readinessProbe": {"exec": {"command": ["true"]}},
    "securityContext": {
        "seccompProfile": {"type": "RuntimeDefault"},
        "capabilities": {"drop": ["ALL"]},
        "runAsUser": 0,
    },
    "restartPolicy": "Always",
    "restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}],
    "resources": {"limits": {"cpu": 0.1, "memory": "1Gi", "nvidia.com/gpu": 8}},
    "lifecycle": {"stopSignal": "SIGUSR1", "preStop": {"sleep": {"seconds": 5}}},
    "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
    "terminationMessagePolicy": None,
    "aFieldOfTomorrow": {"nested": [{"deeply": [None, 1.5, 10**20, "\u00e4\U0001f680", ""]}]},
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("init", [False, True])
def test_a_field_of_a_container_survives(field: str, init: bool) -> None:
    item = container("it", **{field: FIELDS[field]})
    raw = pod(container("other"), init=[item]) if init else pod(item)
    assert inject(raw).container("it")[field] == FIELDS[field]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("restartPolicy", "OnFailure"),
        ("securityContext", {"fsGroup": 1000, "seccompProfile": {"type": "Unconfined"}}),
        ("automountServiceAccountToken", False),
        ("schedulingGates", [{"name": "gate"}]),
        ("resourceClaims", [{"name": "gpu", "resourceClaimTemplateName": "gpu"}]),
        ("hostUsers", False),
        ("aFieldOfTomorrow", {"at": [{"any": {"depth": None}}]}),
    ],
)
def test_a_field_of_the_pod_survives(field: str, value: object) -> None:
    raw = pod()
    raw["spec"][field] = value
    assert inject(raw).spec[field] == value


def test_numbers_and_unicode_stay_as_they_are() -> None:
    odd = {"zero": -0.0, "big": 2**63, "small": 1e-300, "text": "\u2028\u0000\ud83d\ude80~1/"}
    assert inject(pod(x=odd)).spec["x"] == odd


def test_a_very_large_pod_gets_a_small_patch() -> None:
    large = pod(*[container(f"c{n}", args=["x" * 1000] * 10) for n in range(100)])
    operations = inject(large).operations
    assert len(operations) == 2 * 100 + 3  # env and mounts of each; label, annotation, volume
    assert not any("x" * 1000 in str(operation) for operation in operations)
