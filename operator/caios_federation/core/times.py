"""Times of the API: RFC 3339, UTC, whole seconds."""

import datetime as dt


def parse_time(text: object) -> dt.datetime | None:
    """Read a time; None where it is none."""
    try:
        moment = dt.datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def render_time(moment: dt.datetime) -> str:
    """Return a time as the API has it.

    >>> render_time(dt.datetime(2026, 11, 24, 12, tzinfo=dt.UTC))
    '2026-11-24T12:00:00Z'
    """
    return moment.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
