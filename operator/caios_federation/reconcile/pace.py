"""Bounds on how often something is done that others may undo, and said that goes on being so."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pace:
    """Allows `burst` times at once, then one more every `period_seconds`."""

    burst: int
    period_seconds: float
    _whole_at: float = float("-inf")
    """When the burst is whole again."""

    def wait(self, now: float) -> float:
        """Return in how many seconds it may be done; 0 for at once."""
        return max(self._whole_at - now - (self.burst - 1) * self.period_seconds, 0)

    def rested(self, now: float) -> bool:
        """Tell whether the burst is whole."""
        return self._whole_at <= now

    def took(self, now: float) -> None:
        """Count that it is done."""
        self._whole_at = max(self._whole_at, now) + self.period_seconds


@dataclass(slots=True)
class Once:
    """Tells problems that are new from those that go on."""

    _open: dict[str, str] = field(default_factory=dict)

    def news(self, subject: str, problem: str) -> bool:
        """Note the `problem` of `subject`, empty for none; tell whether it is a new one."""
        before = self._open.get(subject, "")
        self._open[subject] = problem
        return problem not in ("", before)
