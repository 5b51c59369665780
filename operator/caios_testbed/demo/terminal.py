"""Showing a walk to a person: each command as one would type it, and what it really printed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from caios_testbed.product import CommandError

LIMIT_SECONDS = 120


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
        done = subprocess.run(
            command,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT_SECONDS,
            check=False,
        )
        if done.stdout:
            self.write(done.stdout.rstrip("\n"))
        if done.returncode:
            raise CommandError(f"{line}: exit code {done.returncode}: {done.stdout.strip()}")
        return done.stdout

    def _line(self, command: Sequence[str]) -> str:
        words = (self.short.get(word, word) for word in command)
        return " ".join(shlex.quote(word) if word else "" for word in words if word)
