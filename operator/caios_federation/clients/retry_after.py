"""How long another system wants to be left alone."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

_LONGEST: Final = 3600.0
"""Most seconds that are believed: a wrong date must not stop the work for days."""


def pause_of(header: str, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` (RFC 9110, section 10.2.3); None for none."""
    try:
        seconds = float(header) if header[:1].isdigit() else _until(header, now)
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), _LONGEST)


def _until(date: str, now: datetime) -> float:
    moment = parsedate_to_datetime(date)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now.timestamp()
