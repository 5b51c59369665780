"""Whether CoreWeave trusts this cluster: its OIDC configurations against the one that is needed.

The service compares issuer and audience of a token with a configuration to the letter, so almost
right is wrong. What is almost right is looked for all the same, because people want to know.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from caios_federation.api.conditions import Finding, Reason, Status
from caios_federation.api.federation import Federation, TrustManagement
from caios_federation.core.naming import trust_name
from caios_federation.core.principal import Issuer
from caios_federation.core.text import cut, shown

CONSOLE: Final = "https://console.coreweave.com/organization/iam/workload-federation/oidc"
"""Where people see and enter OIDC configurations (CoreWeave docs: CKS workload identity)."""
_NAME_SHOWN: Final = 80
_URL_SHOWN: Final = 160
"""Characters of what a configuration of somebody else says; enough for real issuers."""


@dataclass(frozen=True, slots=True)
class OIDCConfiguration:
    """An OIDC configuration of the organization: tokens of whom it takes, meant for whom."""

    uid: str
    """Given by the service; empty for one that does not exist yet."""
    name: str
    issuer_url: str
    audience: str
    """The field Client ID (Audience) of the Console."""
    active: bool


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """What is to be said, and what is to be done about it."""

    finding: Finding
    change: OIDCConfiguration | None = None
    """To be created where it has no uid, else to be updated to what it says; None for nothing."""


def wanted_trust(federation: Federation, issuer: Issuer) -> OIDCConfiguration:
    """Return the configuration that makes CoreWeave take this cluster's tokens."""
    audience = federation.spec.audience or issuer
    return OIDCConfiguration("", trust_name(issuer, audience), issuer, audience, active=True)


def judge_trust(
    wanted: OIDCConfiguration,
    registered: Sequence[OIDCConfiguration],
    management: TrustManagement,
) -> TrustVerdict:
    """Compare what is registered with what is needed.

    Only `Managed` changes anything, and only a configuration of our name: all others are somebody
    else's, and one who deactivated theirs will have had a reason.
    """
    managed = management is TrustManagement.MANAGED
    exact = sorted(
        (found for found in registered if _pair(found) == _pair(wanted)),
        key=lambda found: (not found.active, found.name != wanted.name, found.name, found.uid),
    )
    if not exact:
        change = _ours(wanted, registered) if managed else None
        return TrustVerdict(_not_registered(wanted, registered), change)
    best = exact[0]
    if best.active:
        return TrustVerdict(_registered(best))
    ours = best.name == wanted.name
    change = replace(best, active=True) if managed and ours else None
    return TrustVerdict(_inactive(best, left_alone=managed and not ours), change)


def to_enter(configuration: OIDCConfiguration) -> str:
    """Return the values of `configuration` under the labels of the Console's form."""
    return (
        f"name: {configuration.name}, Issuer URL: {configuration.issuer_url}, "
        f"Client ID (Audience): {configuration.audience}"
    )


def _ours(wanted: OIDCConfiguration, registered: Iterable[OIDCConfiguration]) -> OIDCConfiguration:
    """Return `wanted`, in the place of the one that has our name already."""
    uids = sorted(found.uid for found in registered if found.name == wanted.name)
    return replace(wanted, uid=uids[0]) if uids else wanted


def _registered(found: OIDCConfiguration) -> Finding:
    message = f"CoreWeave trusts the tokens of this cluster: {to_enter(_printable(found))}"
    return Finding(Status.TRUE, Reason.REGISTERED, message)


def _inactive(found: OIDCConfiguration, *, left_alone: bool) -> Finding:
    message = f"This OIDC configuration is deactivated: {to_enter(_printable(found))}; "
    if left_alone:
        message += "it does not have the name of ours, so it is left alone; "
    return Finding(Status.FALSE, Reason.INACTIVE, f"{message}activate it at {CONSOLE}")


def _not_registered(wanted: OIDCConfiguration, registered: Iterable[OIDCConfiguration]) -> Finding:
    message = f"This OIDC configuration is missing: {to_enter(wanted)}; create it at {CONSOLE}"
    hint = _nearest(wanted, registered)
    return Finding(Status.FALSE, Reason.NOT_REGISTERED, f"{message}; {hint}" if hint else message)


def _pair(configuration: OIDCConfiguration) -> tuple[str, str]:
    return configuration.issuer_url, configuration.audience


def _printable(found: OIDCConfiguration) -> OIDCConfiguration:
    """Return `found`, one of those that match to the letter, with a name that can be shown."""
    return replace(found, name=cut(found.name, _NAME_SHOWN))


# What is almost right ---------------------------------------------------------------------------

Likeness = Callable[[OIDCConfiguration, OIDCConfiguration], str | None]


def _swapped(wanted: OIDCConfiguration, found: OIDCConfiguration) -> str | None:
    if _pair(found) != (wanted.audience, wanted.issuer_url):
        return None
    return "has Issuer URL and Client ID (Audience) the wrong way round"


def _other_spelling(wanted: OIDCConfiguration, found: OIDCConfiguration) -> str | None:
    values = (
        ("Issuer URL", wanted.issuer_url, found.issuer_url),
        ("Client ID (Audience)", wanted.audience, found.audience),
    )
    if not all(_alike(ours, theirs) for _, ours, theirs in values):
        return None
    differing = (
        f"its {label} {shown(theirs, _URL_SHOWN)} differs by {_difference(ours, theirs)}"
        for label, ours, theirs in values
        if ours != theirs
    )
    return f"is not it: {' and '.join(differing)}"


def _other_audience(wanted: OIDCConfiguration, found: OIDCConfiguration) -> str | None:
    if found.issuer_url != wanted.issuer_url:
        return None
    return (
        f"trusts this issuer with the Client ID (Audience) {shown(found.audience, _URL_SHOWN)}: "
        "to use that one, set spec.audience to it"
    )


def _issuer_alike(wanted: OIDCConfiguration, found: OIDCConfiguration) -> str | None:
    if not _alike(wanted.issuer_url, found.issuer_url):
        return None
    return (
        f"is not it: its Issuer URL {shown(found.issuer_url, _URL_SHOWN)} differs by "
        f"{_difference(wanted.issuer_url, found.issuer_url)}, "
        f"and its Client ID (Audience) is {shown(found.audience, _URL_SHOWN)}"
    )


def _our_name(wanted: OIDCConfiguration, found: OIDCConfiguration) -> str | None:
    if found.name != wanted.name:
        return None
    return (
        f"is not it: its Issuer URL is {shown(found.issuer_url, _URL_SHOWN)}, its Client ID "
        f"(Audience) {shown(found.audience, _URL_SHOWN)}"
    )


_LIKENESSES: Final[tuple[Likeness, ...]] = (
    _swapped,  # both values are right, in the wrong fields
    _other_spelling,  # both are meant
    _other_audience,  # the issuer is right: perhaps the federation's audience is not
    _issuer_alike,  # the issuer is meant
    _our_name,  # it was made for this cluster, and changed since
)


def _nearest(wanted: OIDCConfiguration, registered: Iterable[OIDCConfiguration]) -> str | None:
    """Say what is wrong with the configuration that is nearest to `wanted`, if one is near."""
    ordered = sorted(registered, key=lambda found: (found.name, _pair(found), found.uid))
    return next(
        (
            f"the OIDC configuration {shown(found.name, _NAME_SHOWN)} {what}"
            for likeness in _LIKENESSES
            for found in ordered
            if (what := likeness(wanted, found))
        ),
        None,
    )


def _alike(one: str, other: str) -> bool:
    return one.rstrip("/").casefold() == other.rstrip("/").casefold()


def _difference(ours: str, theirs: str) -> str:
    """Say how two texts that are alike differ; nothing where they do not."""
    left, right = ours.rstrip("/"), theirs.rstrip("/")
    ways = (
        ("a trailing slash", ours[len(left) :] != theirs[len(right) :]),
        ("upper and lower case", left != right),
    )
    return " and ".join(way for way, differs in ways if differs)
