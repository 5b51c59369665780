"""What a cluster remembers between two commands: its identity, its addresses, its processes."""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.process import Process

FORMAT = 1
"""Raised when an older file can no longer be understood."""


@dataclass(frozen=True, slots=True)
class Ports:
    """TCP ports of the control plane."""

    apiserver: int
    etcd: int
    etcd_peer: int
    controller_manager: int


@dataclass(frozen=True, slots=True)
class State:
    """The state file's content. Kept by `down`, but for ports, subnet and processes."""

    cluster_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    """Names the issuer, so it stays the same as long as the file is kept."""
    ports: Ports | None = None
    subnet: str | None = None
    """The veth pair's network; None when the cluster has no namespace."""
    processes: tuple[Process, ...] = ()

    @classmethod
    def read(cls, path: Path) -> State:
        """Return what `path` holds, or a new identity when there is no such file.

        Raises ClusterError when the file is not one of ours.
        """
        try:
            text = path.read_text()
        except FileNotFoundError:
            return cls()
        try:
            return cls.parse(text)
        except (ValueError, KeyError, TypeError) as error:
            raise ClusterError(
                f"{path}: not a state file of this testbed ({error}); "
                "end what runs there by hand, then delete the file"
            ) from error

    @classmethod
    def parse(cls, text: str) -> State:
        """Return the state that `text` describes; raises ValueError, KeyError or TypeError."""
        raw: dict[str, Any] = json.loads(text)
        if raw.pop("format") != FORMAT:
            raise ValueError("written by another version")
        ports = Ports(**raw.pop("ports")) if raw.get("ports") else None
        processes = tuple(
            Process(**{**process, "log": Path(process["log"])}) for process in raw["processes"]
        )
        return cls(str(uuid.UUID(raw["cluster_id"])), ports, raw["subnet"], processes)

    def render(self) -> str:
        """Return the text that `parse` understands."""
        raw = {"format": FORMAT, **asdict(self)}
        return json.dumps(raw, indent=2, default=str) + "\n"

    def write(self, path: Path) -> None:
        """Replace `path` in one step: a reader sees the old state or the new, never a half."""
        draft = path.with_suffix(".draft")
        draft.write_text(self.render())
        draft.replace(path)

    def with_process(self, process: Process) -> State:
        """Return a state that lists `process` in place of any other of its name."""
        others = tuple(p for p in self.processes if p.name != process.name)
        return replace(self, processes=(*others, process))

    def process(self, name: str) -> Process | None:
        """Return the process called `name`, dead or alive; None when there is none."""
        return next((p for p in self.processes if p.name == name), None)


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Hold `directory` for oneself: two commands on one cluster run one after the other."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
