"""What is said of a policy that CoreWeave does not take: reason, status, next step."""

from collections.abc import Callable
from functools import partial

import pytest

import builders
from builders import kinds_of
from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.clients import errors
from caios_federation.reconcile.failures import deletion_finding, policy_finding
from caios_federation.reconcile.organizations import TokenMissing, TokenUnreadable

FEDERATION = builders.parsed_federation()
API = "https://api.coreweave.com"
DETAIL = "CoreWeave API: EnsureAccessPolicy: 429 request-id 8f1c"
Kind = type[errors.ClientError]
LEAVING = [partial(deletion_finding, retains=retains) for retains in (False, True)]


@pytest.mark.parametrize(
    ("kind", "status", "reason", "next_step"),
    [
        (errors.RateLimited, Status.FALSE, Reason.RATE_LIMITED, "asked again by itself"),
        (errors.Unavailable, Status.UNKNOWN, Reason.API_UNAVAILABLE, "asked again by itself"),
        (errors.Malformed, Status.UNKNOWN, Reason.API_UNAVAILABLE, "asked again by itself"),
        (errors.WriteConflict, Status.UNKNOWN, Reason.API_UNAVAILABLE, "asked again by itself"),
        (errors.Expired, Status.UNKNOWN, Reason.API_UNAVAILABLE, "asked again by itself"),
        (TokenUnreadable, Status.UNKNOWN, Reason.PENDING, "it is read again by itself"),
        (TokenMissing, Status.FALSE, Reason.PERMISSION_DENIED, "condition APITokenValid says"),
        (errors.Unauthenticated, Status.FALSE, Reason.PERMISSION_DENIED, "APITokenValid says"),
        (errors.PermissionDenied, Status.FALSE, Reason.PERMISSION_DENIED, "give its user"),
        (errors.Rejected, Status.FALSE, Reason.REJECTED, DETAIL),
        (errors.BadRequest, Status.FALSE, Reason.REJECTED, DETAIL),
        (errors.BadEndpoint, Status.FALSE, Reason.SYNC_FAILED, f"may go to: {DETAIL}"),
        (errors.NotFound, Status.FALSE, Reason.SYNC_FAILED, DETAIL),
    ],
)
def test_each_error_has_its_reason_and_next_step(
    kind: Kind, status: Status, reason: Reason, next_step: str
) -> None:
    finding = policy_finding(kind(DETAIL), FEDERATION)
    assert (finding.status, finding.reason) == (status, reason)
    assert next_step in finding.message
    assert finding.message.endswith("; the policy is as it was before")


@pytest.mark.parametrize("kind", kinds_of(errors.ClientError))
def test_a_deletion_that_fails_says_why_the_binding_stays(kind: Kind) -> None:
    finding = deletion_finding(kind(DETAIL), FEDERATION, retains=False)
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.DELETE_FAILED)
    assert finding.message.endswith("; the binding stays until its policy is removed")


@pytest.mark.parametrize("kind", kinds_of(errors.ClientError))
def test_a_binding_that_retains_its_policy_stays_until_the_policy_says_what_it_says(
    kind: Kind,
) -> None:
    finding = deletion_finding(kind(DETAIL), FEDERATION, retains=True)
    assert (finding.status, finding.reason) == (Status.FALSE, Reason.DELETE_FAILED)
    assert finding.message.endswith(
        "; the binding stays until its policy says what its grants say: change grants that are "
        "refused, or set spec.deletionPolicy to Delete"
    )


@pytest.mark.parametrize("kind", kinds_of(errors.Retryable))
def test_what_is_tried_again_is_told_in_words_that_attempts_do_not_change(kind: Kind) -> None:
    judges: list[Callable[..., Finding]] = [policy_finding, *LEAVING]
    for finding_of in judges:
        first, second = finding_of(kind("one"), FEDERATION), finding_of(kind("two"), FEDERATION)
        assert first == second
        assert kind is TokenUnreadable or API in first.message


@pytest.mark.parametrize("kind", kinds_of(errors.ClientError))
def test_messages_name_the_federation_or_its_api_and_stay_bounded(kind: Kind) -> None:
    for finding in (
        policy_finding(kind("x" * 350), FEDERATION),
        *(leaving(kind("x" * 350), FEDERATION) for leaving in LEAVING),
    ):
        assert len(finding.message) <= 600
        assert API in finding.message or "'default'" in finding.message or "xxx" in finding.message
