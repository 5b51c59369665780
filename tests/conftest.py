"""What every tier shares: how Hypothesis searches, and that no test leaves a task behind."""

import asyncio
import inspect
import os
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, settings

# `ci` looks at the same examples each time, so that a red run is red again when it is looked into.
# HYPOTHESIS_PROFILE=search looks at many others, for some minutes: run it after changing the core.
_COMMON = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("ci", _COMMON, derandomize=True, max_examples=50)
settings.register_profile("search", _COMMON, max_examples=1500)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Watch over the tasks of each async test; those without a loop need no watching."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.fixturenames.insert(0, "leaked_tasks")


@pytest.fixture
async def leaked_tasks() -> AsyncIterator[None]:
    """Fail a test after which tasks are still running. Set up first, so it looks last."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)  # what was cancelled may need this to end
    leaked = asyncio.all_tasks() - before - {asyncio.current_task()}
    assert sorted(str(task.get_coro()) for task in leaked) == []
