"""Foreign text in messages: short and printable, whatever somebody wrote.

Messages go to terminals, statuses and logs. An annotation may hold 256 kB and any character.
"""

from typing import Final

_SHOWN: Final = 40
"""Characters of a foreign text; with a few of them a warning stays within the 256 characters that
an API server passes on (k8s.io/api/admission/v1, AdmissionResponse.warnings)."""


def shown(text: str, limit: int = _SHOWN) -> str:
    """Return `text` in quotes, escaped as Python does, cut to `limit` characters.

    >>> print(shown("ture"), shown("x" * 99, 8))
    'ture' 'xxxxxxx…'
    """
    quoted = repr(text[: limit + 1])
    if len(quoted) <= limit + 2 and len(text) <= limit:
        return quoted
    return f"{quoted[:limit]}…{quoted[0]}"


def cut(text: str, limit: int = _SHOWN) -> str:
    """Return `text` as `shown` does, without the quotes.

    >>> cut("/var/run/secrets", 8)
    '/var/ru…'
    """
    return shown(text, limit)[1:-1]
