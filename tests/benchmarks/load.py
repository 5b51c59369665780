"""Load by wrk, and what a server's process used up meanwhile."""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from caios_testbed.watching import held

SCRIPT = Path(__file__).with_name("wrk.lua")
PACKAGES = {"wrk": "wrk"}
"""What is needed, and the Debian package that brings it."""
_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Run:
    """What one run of wrk came to."""

    cpu_us: float
    """CPU time of the server for each request."""
    rps: float
    p50_ms: float
    p99_ms: float
    max_ms: float
    rss_mib: float
    """Of the server, at the end."""


def run(url: str, body: Path, pid: int, *, connections: int, seconds: int) -> Run:
    """Post `body` to `url` on so many connections. Raises RuntimeError for any bad answer."""
    before = cpu_seconds(pid)
    done = subprocess.run(
        [
            *("wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s"),
            *("--timeout=5s", f"--script={SCRIPT}", url),
        ],
        env={**os.environ, "BODY": str(body)},
        capture_output=True,
        text=True,
        check=False,
    )
    used = cpu_seconds(pid) - before
    if done.returncode:
        raise RuntimeError(f"wrk {url}: {done.stdout}{done.stderr}")
    told = json.loads(done.stderr.strip().splitlines()[-1])
    if told["bad"] or not told["requests"]:
        raise RuntimeError(f"wrk {url}: {told['bad']} of {told['requests']} requests went wrong")
    return Run(
        cpu_us=used / told["requests"] * 1e6,
        rps=told["requests"] / told["seconds"],
        p50_ms=told["p50_ms"],
        p99_ms=told["p99_ms"],
        max_ms=told["max_ms"],
        rss_mib=rss_mib(pid),
    )


def cpu_seconds(pid: int) -> float:
    """Return the CPU time that a process has used, its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND  # utime, stime (proc(5))


def rss_mib(pid: int) -> float:
    """Return the resident memory of a process."""
    return held(pid)["rss"] / 2**20
