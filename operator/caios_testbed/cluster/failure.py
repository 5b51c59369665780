"""The one error of the testbed's cluster: its message is for a person, with the next step."""

from __future__ import annotations

from pathlib import Path

TAIL_LINES = 15
"""How much of a component's log an error shows: enough for a reason, too little to scroll away."""


class ClusterError(Exception):
    """Something of the cluster could not be done; the message names it and what to do."""


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last `lines` lines of `log`, indented, or a note when there is nothing."""
    try:
        text = log.read_text(errors="replace")
    except OSError:
        text = ""
    last = text.splitlines()[-lines:]
    if not last:
        return f"  (nothing in {log})"
    return "\n".join([f"  last lines of {log}:", *(f"    {line}" for line in last)])
