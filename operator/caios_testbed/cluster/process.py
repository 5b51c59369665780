"""Start and end processes that outlive the command which started them.

A process is known by pid, start time and boot, so that a pid which the kernel gave to another
program in the meantime is never taken for ours. Nothing here looks for a process by its name.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from caios_testbed.cluster.failure import ClusterError
from caios_testbed.cluster.waiting import eventually

PROC = Path("/proc")
KILL_SECONDS = 10
"""How long the kernel may take to end a process of some hundred MiB on a busy machine."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process that was started here; leader of its own session and process group."""

    name: str
    pid: int
    started: int
    """Clock ticks since boot at which it started, from /proc/PID/stat."""
    boot: str
    """The kernel's boot id: pids and ticks of an earlier boot mean nothing."""
    log: Path

    @property
    def alive(self) -> bool:
        """Whether exactly this process still runs. A dead child of ours is reaped on the way."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        return self.boot == boot_id() and start_time(self.pid) == self.started


def start(
    name: str, argv: Sequence[str], log: Path, environment: Mapping[str, str] | None = None
) -> Process:
    """Start `argv` in a session of its own, its output appended to `log`.

    Raises ClusterError when the program cannot be executed.
    """
    # posix_spawn and not subprocess: these processes are meant to outlive this one, and a Popen
    # object complains when it is collected before its process ends.
    try:
        pid = os.posix_spawnp(
            argv[0],
            list(argv),
            dict(os.environ if environment is None else environment),
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
                (os.POSIX_SPAWN_DUP2, 1, 2),
            ],
            setsid=True,
        )
    except OSError as error:
        raise ClusterError(f"{name}: {argv[0]} cannot be started: {error.strerror}") from error
    # Read at once: a child of ours stays visible, at least as a zombie, until we reap it.
    stat = _stat(pid)
    return Process(name, pid, int(stat[19]) if stat else 0, boot_id(), log)


def stop(processes: Iterable[Process], grace: float = 5) -> None:
    """End all of them together: SIGTERM, after `grace` seconds SIGKILL, to each process group."""
    left = [process for process in processes if process.alive]
    if grace > 0:
        left = _signal(left, signal.SIGTERM, grace)
    left = _signal(left, signal.SIGKILL, KILL_SECONDS)
    if not left:
        return
    names = ", ".join(f"{process.name} ({process.pid})" for process in left)
    raise ClusterError(f"{names}: still there after SIGKILL; is its disk or mount hanging?")


def _signal(processes: Sequence[Process], number: signal.Signals, seconds: float) -> list[Process]:
    """Signal each process group, and return the processes that are still there after a while."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
    eventually(lambda: not any(process.alive for process in processes), seconds)
    return [process for process in processes if process.alive]


def start_time(pid: int) -> int | None:
    """Return when `pid` started, in ticks since boot; None for one that is gone or a zombie.

    A killed process is a zombie before its last thread has let go of what it listened on: with
    threads left it is not gone.
    """
    stat = _stat(pid)
    if not stat or (stat[0] in {"Z", "X"} and int(stat[17]) <= 1):
        return None
    return int(stat[19])


def boot_id() -> str:
    """Return what tells this boot of the machine from every other."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def listening(pid: int, port: int) -> bool:
    """Whether something in the network namespace of `pid` listens on TCP `port`.

    Read from /proc, so that it works from outside of that namespace.
    """
    wanted = f":{port:04X}"
    for table in ("tcp", "tcp6"):
        try:
            lines = (PROC / str(pid) / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        columns = (line.split() for line in lines)
        if any(c[1].endswith(wanted) and c[3] == "0A" for c in columns):
            return True
    return False


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat from the state on: the name before may hold spaces."""
    try:
        return (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
