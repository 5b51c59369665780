"""Give Pods their part of a busy machine.

containerd puts the containers of all clusters into one control group, to which the kernel gives as
much CPU as to any single process outside of it: beside a few builds, Pods would stand still.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path

GROUP = "k8s.io"
SHARES = {"cpu.shares": 16 * 1024, "cpu.weight": 16 * 100}
"""For cgroup v1 and v2: what sixteen processes have."""


def weigh_pods(hierarchies: Iterable[Path]) -> None:
    """Let all containers together weigh as much as many processes, where the kernel lets us.

    `hierarchies` are the mount points of control groups. Containers weigh among each other as their
    Pods say.
    """
    for root in hierarchies:
        with contextlib.suppress(OSError):
            (root / GROUP).mkdir(exist_ok=True)
        for name, share in SHARES.items():
            if (root / GROUP / name).is_file():
                (root / GROUP / name).write_text(str(share))
