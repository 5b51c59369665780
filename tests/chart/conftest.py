"""helm, once per session."""

import pytest

from caios_testbed.cluster.binaries import ensure_binaries
from caios_testbed.cluster.progress import Progress
from chart.rendering import Helm


@pytest.fixture(scope="session")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    """Return the helm of the testbed, with a home of its own."""
    program = ensure_binaries(["helm"], Progress.quiet())["helm"]
    return Helm(program, tmp_path_factory.mktemp("helm"))
