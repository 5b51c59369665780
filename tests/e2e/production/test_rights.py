"""Rights as shipped: what was granted was used, and what was asked for was granted."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest

from caios_testbed.rights import ungranted, unused
from e2e.production.full_run import FULL, MANAGED, Run, put_token
from e2e.production.recording import Recording
from e2e.production.site import Site, merged

ROLES = ("webhook", "controller")
PARTS = (*ROLES, "crds", "test", "uninstall")
"""The operator's roles, and the hooks of its chart."""
pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def recordings(site: Site) -> Iterator[tuple[Recording, Recording]]:
    """Yield what was done by a full run, and what by one without verification and remediation."""
    namespace = f"rights-{uuid.uuid4().hex[:8]}"
    site.kubectl.run("create", "namespace", namespace)
    put_token(site)
    try:
        yield _full(site, namespace), _plain(site, namespace)
    finally:
        site.kubectl.run("delete", "namespace", namespace, site.release.namespace)


def _full(site: Site, namespace: str) -> Recording:
    """Have every right used, and both ways in which an uninstallation finds the Lease."""
    recording = Recording(site.release)
    run = Run(site, site.install(FULL), recording, namespace)
    recording.take_rights()
    run.read_an_account_live()
    run.restart_what_missed()
    run.retain_policies()
    run.follow_an_annotation()
    run.heal_the_webhook()
    run.renew_the_certificate()
    run.hand_the_lease_over()
    run.release.test()
    run.bring_a_crd_back(merged(site.values, FULL))
    run.leave_something_behind()
    recording.end(*ROLES)
    run.release.uninstall()
    return recording


def _plain(site: Site, namespace: str) -> Recording:
    off = {"verification": {"enabled": False}, "remediation": {"enabled": False}}
    recording = Recording(site.release)
    run = Run(site, site.install(merged(MANAGED, off)), recording, namespace)
    recording.take_rights()
    run.read_an_account_live()
    run.follow_an_annotation()
    run.lose_the_lease()
    recording.end(*ROLES)
    run.release.uninstall()
    return recording


@pytest.mark.parametrize("part", PARTS)
def test_nothing_was_asked_for_that_is_not_granted(
    recordings: tuple[Recording, Recording], part: str
) -> None:
    for recording in recordings:
        granted = recording.rights[part] | recording.everybodys
        assert ungranted(granted, recording.uses(part)) == []


@pytest.mark.parametrize("part", PARTS)
def test_nothing_is_granted_that_was_not_used(
    recordings: tuple[Recording, Recording], part: str
) -> None:
    full, plain = recordings
    # Only the second run's uninstallation finds no Lease.
    assert unused(full.rights[part], full.uses(part) | plain.uses(part)) == []


def test_without_verification_and_remediation_nobody_has_the_rights_for_them(
    recordings: tuple[Recording, Recording],
) -> None:
    full, plain = recordings
    more = {(right.group, right.resource) for right in full.rights["controller"]}
    less = {(right.group, right.resource) for right in plain.rights["controller"]}
    assert more - less == {
        ("", "pods/eviction"),
        ("", "serviceaccounts/token"),
        ("apps", "daemonsets"),
        ("apps", "deployments"),
        ("apps", "replicasets"),
        ("apps", "statefulsets"),
    }
