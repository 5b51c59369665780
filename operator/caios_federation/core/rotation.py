"""When the operator's CA and serving pair are replaced, and in which order.

Level-triggered: the next step follows from what is there now, so a process may die after any step
and another one goes on. No step puts a pair in the place of one that still serves before API
servers have had time to learn of the CA that signed it.
"""

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

SKEW: Final = dt.timedelta(minutes=5)
"""How far apart clocks may be: certificates start that much before they are made, and what has
expired, or is not valid yet, by less than that may be in force by another clock."""
MOST_OTHERS: Final = 16
"""CAs that are trusted beside those that are wanted. A rotation leaves one or two; a Secret that
is spoilt again and again would otherwise fill the webhook configuration."""
_LATEST: Final = 2 / 3
_EARLIEST: Final = 0.6
"""Parts of its life between which a certificate is replaced."""
_JITTERS: Final = 997
"""A prime: serial numbers spread evenly over so many moments."""


@dataclass(frozen=True, slots=True)
class Dated:
    """What is known of a certificate that we made."""

    identity: str
    """The same for the same certificate, and for no other."""
    serial: int
    starts: dt.datetime
    expires: dt.datetime


@dataclass(frozen=True, slots=True)
class Held:
    """What there is to serve with."""

    authority: Dated | None
    """The CA whose key is there, so that it can sign."""
    pair: Dated | None
    """The serving certificate, where its key fits, it names the right hosts, and it was signed by
    a CA that is trusted or about to be."""
    signer: str = ""
    """Identity of the CA that signed the pair."""


class Step(Enum):
    """What is to be done next."""

    KEEP = auto()
    WAIT = auto()  # the CA is there, and API servers have not had time to learn of it
    SIGN = auto()  # a new pair, by the CA that is there
    NEW_AUTHORITY = auto()  # the pair serves on
    START_OVER = auto()  # a new CA and a pair


@dataclass(frozen=True, slots=True)
class Decision:
    """The next step, and why: a constant phrase."""

    step: Step
    reason: str = ""


def due(certificate: Dated) -> dt.datetime:
    """Return when `certificate` is to be replaced: at 60 to 67 % of its life.

    The moment depends on the serial number alone, so that restarts do not move it and many
    clusters that were set up at once do not act at once.
    """
    made = certificate.starts + SKEW
    early = (_LATEST - _EARLIEST) * (certificate.serial % _JITTERS) / _JITTERS
    return made + (certificate.expires - made) * (_LATEST - early)


def authority_due(authority: Dated, lifetime: dt.timedelta) -> dt.datetime:
    """Return when a CA is to be replaced: before a pair of `lifetime` would outlive it."""
    return min(due(authority), authority.expires - lifetime)


def over(certificate: Dated, now: dt.datetime) -> bool:
    """Tell whether `certificate` has expired by every clock that is not far off."""
    return certificate.expires + SKEW <= now


def next_step(
    now: dt.datetime, held: Held, settled: Collection[str], lifetime: dt.timedelta
) -> Decision:
    """Return what is to be done; `settled` are CAs that API servers have had time to learn of.

    `lifetime` is that of pairs to come.
    """
    problem = _authority_problem(now, held.authority, lifetime)
    if held.pair is None or not _serves(now, held.pair):
        # Nobody is served by it, so nobody can lose it.
        if held.authority is None or problem:
            return Decision(Step.START_OVER, problem)
        return Decision(Step.SIGN, "no pair that can serve")
    if held.authority is None or problem:
        return Decision(Step.NEW_AUTHORITY, problem)
    if held.signer != held.authority.identity:
        reason = "signed by an older CA"
    elif due(held.pair) <= now:
        reason = "pair due"
    else:
        return Decision(Step.KEEP)
    settled_now = held.authority.identity in settled
    return Decision(Step.SIGN if settled_now else Step.WAIT, reason)


def keep_trusted(now: dt.datetime, wanted: Iterable[Dated], others: Iterable[Dated]) -> list[Dated]:
    """Return what is to be trusted, in order: `wanted`, then the first of `others`.

    Each once, and none that is over; of the others not more than `MOST_OTHERS`.
    """
    first = {each.identity: each for each in wanted if not over(each, now)}
    rest = {
        each.identity: each for each in others if each.identity not in first and not over(each, now)
    }
    return [*first.values(), *list(rest.values())[:MOST_OTHERS]]


def _authority_problem(now: dt.datetime, authority: Dated | None, lifetime: dt.timedelta) -> str:
    """Return why `authority` is to be replaced; nothing where it is not."""
    if authority is None:
        return "no CA that can sign"
    if not _started(now, authority):
        return "CA not valid yet: compare the clocks"
    return "CA due" if authority_due(authority, lifetime) <= now else ""


def _serves(now: dt.datetime, pair: Dated) -> bool:
    return _started(now, pair) and now < pair.expires


def _started(now: dt.datetime, certificate: Dated) -> bool:
    return certificate.starts - SKEW <= now
