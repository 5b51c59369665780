"""One emulator per test: on loopback, with free ports."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caios_testbed.coreweave.app import Options
from component.coreweave.world import World, organization


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """Give an organization that trusts its cluster's issuer and has no policy."""
    with organization(tmp_path, Options(proxy=("127.0.0.1", 0))) as world:
        world.trust()
        yield world
