"""Texts of other systems without the secrets that they may repeat.

The bodies of errors may echo what was sent: an API token, a ServiceAccount's token (facts of
CoreWeave's API: secrets in errors). Whatever looks like one is taken out, known or not.
"""

import re
from typing import Final

_SHOWN: Final = 256
"""Characters of a foreign message that are passed on."""
_LEAST_PART: Final = 8
"""Characters from which on a part of a token counts as secret by itself."""
_GONE: Final = "[redacted]"
_SECRETS: Final = re.compile(
    r"""
    (?i:bearer|basic)[ ]+\S{8,}                                # an Authorization header
    | CW-SECRET-[^\s"'<>]*                                      # an API token
    | cwo[A-Za-z0-9]{40}                                        # a secret key
    | CW[A-Z0-9]{14}                                            # an access key id
    | eyJ[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*)*                 # a JWT, whole or cut off
    | (?<![A-Za-z0-9_-])[A-Za-z0-9_-]{12,}(?:\.[A-Za-z0-9_-]{12,}){2}  # one of another header
    """,
    re.VERBOSE,
)
_PARTS: Final = re.compile(r"\.|CW-SECRET-")


def redacted(text: str, sent: str = "") -> str:
    """Return `text` on one line, without secrets and short; `sent` is the token of the request.

    >>> redacted("cannot verify Bearer CW-SECRET-a1b2c3")
    'cannot verify [redacted]'
    """
    # Before anything is looked for: a line end in a token would hide it.
    plain = "".join(filter(str.isprintable, text))
    parts = {part for part in _PARTS.split(sent) if len(part) >= _LEAST_PART}
    for secret in sorted({sent, *parts} - {""}, key=len, reverse=True):
        plain = plain.replace(secret, _GONE)
    plain = _SECRETS.sub(_GONE, plain).strip()
    return plain if len(plain) <= _SHOWN else f"{plain[: _SHOWN - 1]}…"
