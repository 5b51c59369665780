"""The processes of one cluster: start one, wait for it, end some, and write down which run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from caios_testbed.cluster import process
from caios_testbed.cluster.failure import ClusterError, tail
from caios_testbed.cluster.process import Process
from caios_testbed.cluster.state import State
from caios_testbed.cluster.waiting import eventually


@dataclass(frozen=True, slots=True)
class Roster:
    """Reads and writes `directory`/state.json; logs go to `directory`/logs."""

    directory: Path
    prefix: tuple[str, ...] = ()
    """What is put before each command, such as nsenter."""

    @property
    def path(self) -> Path:
        """The state file."""
        return self.directory / "state.json"

    @property
    def state(self) -> State:
        """What the state file says now."""
        return State.read(self.path)

    def update(self, **changes: object) -> State:
        """Change fields of the state, and return it."""
        state = replace(self.state, **changes)  # type: ignore[arg-type]  # checked by State
        state.write(self.path)
        return state

    def start(self, name: str, argv: Sequence[str]) -> Process:
        """Start a component and write it down before anything else can fail."""
        logs = self.directory / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        started = process.start(name, [*self.prefix, *argv], logs / f"{name}.log")
        self.state.with_process(started).write(self.path)
        return started

    def alive(self, name: str) -> bool:
        """Whether the component called `name` runs."""
        found = self.state.process(name)
        return found is not None and found.alive

    def wait(self, name: str, ready: Callable[[], bool], seconds: float) -> None:
        """Return when `ready` holds.

        Raises ClusterError, with the end of the component's log, when the component dies or
        when `seconds` have passed.
        """
        component = self.state.process(name)
        if component is None:
            raise ClusterError(f"{name}: was never started")
        dead = False

        def over() -> bool:
            nonlocal dead
            dead = not component.alive
            return dead or ready()

        if not eventually(over, seconds):
            raise ClusterError(f"{name}: not ready within {seconds:.0f} s\n{tail(component.log)}")
        if dead:
            raise ClusterError(f"{name}: ended on its own\n{tail(component.log)}")

    def stop(self, *names: str, grace: float = 5) -> None:
        """End the components called so, together, and forget them; unknown names are fine."""
        state = self.state
        process.stop([p for p in state.processes if p.name in names], grace)
        left = tuple(p for p in state.processes if p.name not in names)
        replace(state, processes=left).write(self.path)

    def stop_all(self, grace: float = 5) -> None:
        """End everything that the state file lists."""
        self.stop(*(p.name for p in self.state.processes), grace=grace)
