"""A warning to whoever creates a Pod."""

from typing import Self

from caios_federation.api.vocabulary import WarningReason


class PodWarning(str):
    """The text that is shown, and the kind of problem that it is counted as.

    A text, so that what passes it on (an answer, a terminal, an event) need not know more.
    """

    __slots__ = ("reason",)
    reason: WarningReason

    def __new__(cls, reason: WarningReason, text: str) -> Self:
        """Return `text` as a warning of `reason`."""
        warning = super().__new__(cls, text)
        warning.reason = reason
        return warning
