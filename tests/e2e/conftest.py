"""The demo's stage on a cluster of its own, walked once; what comes after looks around on it."""

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from caios_testbed.cluster.progress import Progress
from caios_testbed.cluster.waiting import eventually
from caios_testbed.demo.stage import Stage
from caios_testbed.demo.terminal import Terminal
from caios_testbed.demo.walk import FEDERATION, Walk

CLUSTER = "caios-e2e"
DEADLINE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Walked:
    """The stage after the tutorial was walked, and what the terminal showed."""

    stage: Stage
    walk: Walk
    lines: list[str]

    def apply(self, *objects: dict[str, Any]) -> str:
        """Apply objects in one call; return what kubectl says, warnings included."""
        return self.stage.kubectl.run("apply", "-f", "-", manifest=yaml.safe_dump_all(objects))

    def run(self, pod: dict[str, Any]) -> str:
        """Create a Pod, wait until it has ended, and return its log."""
        self.apply(pod)
        name, namespace = pod["metadata"]["name"], pod["metadata"]["namespace"]
        where = f"--namespace={namespace}"

        def phase() -> str:
            return self.stage.kubectl.run("get", "pod", name, where, "-o=jsonpath={.status.phase}")

        ended = eventually(lambda: phase() in {"Succeeded", "Failed"}, DEADLINE_SECONDS)
        log = self.stage.kubectl.run("logs", name, where, "--all-containers")
        assert ended, f"{phase()}\n{self.stage.kubectl.run('describe', 'pod', name, where)}\n{log}"
        return log

    def wait_ready(self, namespace: str, binding: str) -> dict[str, Any]:
        """Wait until a binding is Ready; return it."""
        where = f"--namespace={namespace}"

        def read() -> dict[str, Any]:
            text = self.stage.kubectl.run(
                "get", "fsb", binding, where, "--ignore-not-found", "-o=json"
            )
            return json.loads(text) if text.strip() else {}

        def ready() -> bool:
            conditions = read().get("status", {}).get("conditions", [])
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        assert eventually(ready, DEADLINE_SECONDS), read()
        return read()


@pytest.fixture(scope="session")
def walked() -> Iterator[Walked]:
    """Yield the stage with tutorial and short way walked; strike it in the end.

    The operator is there with the tutorial's values, whose trust the short way has renewed.
    """
    stage, lines = Stage(CLUSTER), list[str]()
    stage.strike()
    try:
        walk = Walk(stage, Terminal(lines.append, {}), stage.set_up(Progress(print)))
        walk.tutorial()
        walk.short_way()
        stage.release.rollback()  # to the values of the tutorial
        walk.wait_ready(FEDERATION, kind="sfed")
        yield Walked(stage, walk, lines)
    finally:
        print("\n".join(lines))
        stage.strike()


@pytest.fixture
def namespace(walked: Walked) -> str:
    """Return a namespace of the test's own."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    walked.stage.kubectl.run("create", "namespace", name)
    return name
