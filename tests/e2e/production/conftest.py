"""One cluster for all of this folder; each module installs the operator on it, and removes it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from caios_testbed.cluster.cluster import Cluster
from caios_testbed.cluster.images import ensure_sandbox_image
from caios_testbed.cluster.operator_image import ensure_operator_image
from caios_testbed.cluster.progress import Progress
from caios_testbed.coreweave.beside import EmulatorProcess
from caios_testbed.release import Release, Values
from e2e.production.site import Site

CLUSTER = os.environ.get("CAIOS_TESTBED_PRODUCTION_CLUSTER", "caios-production")
"""Another name where several run these tests on one machine."""


@pytest.fixture(scope="session")
def site() -> Iterator[Site]:
    """Yield a new cluster with the emulator; nothing of the operator is on it."""
    progress = Progress(print)
    operator, workload = ensure_operator_image(progress), ensure_sandbox_image(progress)
    cluster = Cluster(CLUSTER)
    emulator = EmulatorProcess(cluster)
    emulator.stop()
    cluster.down()
    try:
        cluster.up(progress)
        emulator.start()
        yield Site(cluster, emulator, operator, workload.reference)
    finally:
        emulator.stop()
        cluster.down()


@pytest.fixture(scope="module")
def values() -> Values:
    """Return values of the chart, beside those that every installation here has.

    A module that wants others has a fixture of this name.
    """
    return {}


@pytest.fixture(scope="module")
def release(site: Site, values: Values) -> Iterator[Release]:
    """Yield the operator, installed with `values` and ready; remove it in the end.

    For modules that do not install it themselves.
    """
    release = site.install(values)
    try:
        yield release
    finally:
        release.uninstall()
