"""Showing a walk to a person: each command as one would type it, and what it really printed."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from caios_testbed.cluster.waiting import eventually
from caios_testbed.product import CommandError

LIMIT_SECONDS = 180
"""For one command, and for what is waited for: Pods start, on a machine that may be busy."""


@dataclass(frozen=True, slots=True)
class Terminal:
    """Runs commands and shows them with `write`.

    `short` says what to show instead of the long words of a command line: the path of kubectl,
    say.
    """

    write: Callable[[str], None]
    short: Mapping[str, str]

    def heading(self, text: str) -> None:
        """Begin a step."""
        self.write(f"\n=== {text}")

    def say(self, text: str) -> None:
        """Say something about what comes or came."""
        self.write(f"# {text}")

    def run(
        self, command: Sequence[str], *, stdin: str | None = None, shown: str | None = None
    ) -> str:
        """Run `command`, show it with what it prints, and return that.

        `shown` stands for a command that would be hard to read. Raises CommandError with the
        command's words when it fails.
        """
        line = shown or self._line(command)
        self.write(f"$ {line}")
        done = _run(command, stdin)
        if done.stdout:
            self.write(done.stdout.rstrip("\n"))
        if done.returncode:
            raise CommandError(f"{line}: exit code {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def run_refused(self, command: Sequence[str], says: str) -> None:
        """Repeat `command` until it fails and what it prints matches `says`; show the last time.

        Raises CommandError when it never does.
        """
        last: list[subprocess.CompletedProcess[str]] = []

        def refused() -> bool:
            last[:] = [_run(command, None)]
            return last[0].returncode != 0 and re.search(says, last[0].stdout) is not None

        found = eventually(refused, LIMIT_SECONDS)
        line = self._line(command)
        self.write(f"$ {line}")
        self.write(last[0].stdout.strip("\n"))
        if not found:
            raise CommandError(f"{line}: is not refused, but prints: {last[0].stdout.strip()}")

    def run_until(self, command: Sequence[str], says: str) -> str:
        """Repeat `command` until what it prints matches `says`; show and return the last time.

        Raises CommandError when it never does.
        """
        last = [""]

        def matches() -> bool:
            last[0] = _run(command, None).stdout
            return re.search(says, last[0]) is not None

        found = eventually(matches, LIMIT_SECONDS)
        line = self._line(command)
        self.write(f"$ {line}")
        self.write(last[0].strip("\n"))
        if not found:
            raise CommandError(f"{line}: does not print {says}, but: {last[0].strip()}")
        return last[0]

    def _line(self, command: Sequence[str]) -> str:
        words = (self.short.get(word, word) for word in command)
        return " ".join(shlex.quote(word) for word in words if word)


def _run(command: Sequence[str], stdin: str | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
