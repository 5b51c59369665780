"""What is said about what is removed and what is left."""

from typing import Any

import pytest

import builders
from caios_federation.api.objects import parse_meta
from caios_federation.core.uninstall import (
    Policy,
    Report,
    finalizer_by_hand,
    policy_of,
    remaining_finalizers,
    render_report,
)

FINALIZER = "caios.coreweave.com/policy"


def bound(*finalizers: str, **status: Any) -> builders.Json:  # noqa: ANN401  # any JSON
    body = builders.binding()
    body["metadata"]["finalizers"] = list(finalizers)
    body["status"] = {"policy": {"name": "cks-1-team-a-reader"}, **status}
    return body


def said(report: Report) -> str:
    return "\n".join(render_report(report))


@pytest.mark.parametrize(
    ("finalizers", "rest"),
    [
        ((), None),
        (("example.com/theirs",), None),
        ((FINALIZER,), []),
        (("example.com/a", FINALIZER, "example.com/b"), ["example.com/a", "example.com/b"]),
    ],
)
def test_only_our_finalizer_is_removed(finalizers: tuple[str, ...], rest: list[str] | None) -> None:
    assert remaining_finalizers(parse_meta(bound(*finalizers))) == rest


def test_the_command_by_hand_leaves_the_finalizers_of_others() -> None:
    command = finalizer_by_hand(parse_meta(bound(FINALIZER)), ["example.com/theirs"])
    assert command == (
        "kubectl patch fsb -n team-a reader --type=merge "
        """-p '{"metadata": {"finalizers": ["example.com/theirs"]}}'"""
    )


def test_a_policy_is_named_with_its_federation_and_organization() -> None:
    assert policy_of(bound(FINALIZER), {"default": "cw1234"}) == Policy(
        "cks-1-team-a-reader", "team-a/reader", "default", "cw1234", applied=True
    )


def test_the_organization_of_a_federation_that_is_gone_is_told_by_the_arn() -> None:
    arn = f"arn:aws:iam::cw77:{builders.PRINCIPAL}"
    policy = policy_of(bound(FINALIZER, principalARN=arn), {})
    assert policy is not None
    assert policy.organization == "cw77"


@pytest.mark.parametrize(
    ("finalizers", "conditions", "applied"),
    [
        ((), [], False),
        ((), [{"type": "Ready", "status": "True"}], False),
        ((FINALIZER,), [], True),
        # A second call: the first one took the finalizer away.
        ((), [{"type": "PolicySynced", "status": "True"}], True),
    ],
)
def test_a_policy_was_applied_if_there_is_a_finalizer_or_was_one(
    finalizers: tuple[str, ...], conditions: list[builders.Json], applied: bool
) -> None:
    policy = policy_of(bound(*finalizers, conditions=conditions), {})
    assert policy is not None
    assert policy.applied is applied


@pytest.mark.parametrize("status", [None, {}, {"policy": None}, {"policy": {"name": ""}}, "odd"])
def test_a_binding_without_a_policy_has_none_to_leave(status: object) -> None:
    assert policy_of({**builders.binding(), "status": status}, {}) is None


def test_an_empty_cluster_leaves_nothing_but_pods() -> None:
    assert said(Report("caios")) == (
        "Removed: nothing; there was nothing left.\n\n"
        "Left on purpose:\n"
        "  Pods that run: their credentials work for as long as policies and trust exist."
    )


def test_what_is_left_is_named_with_the_way_to_remove_it() -> None:
    report = Report(
        "caios",
        removed=["Lease caios/leader"],
        bindings=2,
        policies=[
            Policy("cks-1-b", "team-b/b", "default", "cw1234", applied=True),
            Policy("cks-1-a", "team-a/a", "default", "cw1234", applied=True),
            Policy("cks-1-c", "team-c/c", "other", "", applied=False),
        ],
        retained={"cks-1-gone": "team-a/gone"},
        federations=["default"],
        token_secrets=["coreweave-api-token"],
        definitions=["a.example", "b.example"],
    )
    lines = said(report).splitlines()
    assert lines[:2] == ["Removed:", "  Lease caios/leader"]
    assert "    kubectl delete crd a.example b.example" in lines
    at = lines.index("    organization cw1234, StorageFederation default:")
    assert lines[at + 1 : at + 3] == ["      cks-1-a of team-a/a", "      cks-1-b of team-b/b"]
    assert "    organization not known any more, StorageFederation other:" in lines
    assert "    cks-1-gone of team-a/gone" in lines
    text = "\n".join(lines)
    assert "kubectl delete secret -n caios coreweave-api-token" in text
    assert "ConfigMap caios/caios-federation-retained-policies" in text
    assert "NOT removed" not in text


def test_what_could_not_be_removed_comes_last_with_the_command() -> None:
    report = Report("caios")
    report.failed("Secret caios/tls", "403 no", "kubectl delete secret -n caios tls")
    assert said(report).splitlines()[-3:] == [
        "NOT removed; by hand:",
        "  Secret caios/tls: 403 no",
        "    kubectl delete secret -n caios tls",
    ]


def test_what_could_not_be_read_is_told() -> None:
    report = Report("caios", unknown=["StorageFederations: 403"])
    assert said(report).endswith(
        "Not known, since it could not be read:\n  StorageFederations: 403"
    )
