"""Who is injected, and with which values: the first half of a decision about a Pod.

`resolve` looks at what Pod, binding, ServiceAccount and federation say and answers with the
values that won, or with the reason for leaving the Pod alone. What is then added to the Pod is
planned in `plan.py` and written in `patch.py`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from caios_federation.api import vocabulary as words
from caios_federation.api.binding import Binding, Containers, Injection
from caios_federation.api.federation import Federation
from caios_federation.api.vocabulary import SkipReason, WarningReason
from caios_federation.core.account import (
    NO_ANNOTATIONS,
    Annotations,
    Wish,
    audience_of,
    audience_problem,
    federation_problem,
    wish_of,
)
from caios_federation.core.aws_config import render_aws_config
from caios_federation.core.errors import ParseError
from caios_federation.core.pod import Pod
from caios_federation.core.principal import (
    Identity,
    Issuer,
    Principal,
    parse_issuer,
    render_principal,
)
from caios_federation.core.text import cut, shown
from caios_federation.core.warning import PodWarning

_OF_POD: Final = f"annotation {words.TOKEN_EXPIRATION} of the Pod"
_OF_ACCOUNT: Final = f"annotation {words.TOKEN_EXPIRATION} of the ServiceAccount"
_SECONDS: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


class Sources(NamedTuple):
    """Everything that has a say about the Pods of one ServiceAccount."""

    namespace: str
    service_account: str
    annotations: Annotations
    binding: Binding | None
    federation: Federation | None
    discovered_issuer: Issuer | None

    @property
    def account(self) -> str:
        """The ServiceAccount as messages name it."""
        return f"ServiceAccount {cut(self.namespace)}/{cut(self.service_account)}"


@dataclass(frozen=True, slots=True)
class Values:
    """The values that won."""

    issuer: Issuer
    principal: Principal
    audience: str
    region: str
    token_expiration_seconds: int
    credentials_uri: str
    containers: Containers
    aws_config: str | None
    """Content of the config file, or None where the binding asks for no client configuration."""
    warnings: tuple[PodWarning, ...] = ()


@dataclass(frozen=True, slots=True)
class Skip:
    """The Pod stays as it is."""

    reason: SkipReason
    warnings: tuple[PodWarning, ...] = ()
    """What the Pod's creator should know; nothing where a skip is what was asked for."""


def federation_name(annotations: Annotations, binding: Binding | None) -> str:
    """Return the name of the StorageFederation that binding or ServiceAccount name."""
    if binding:
        return binding.spec.federation_name
    return annotations.get(words.FEDERATION) or words.DEFAULT_FEDERATION


def opted_out(pod: Pod) -> SkipReason | None:
    """Return why `pod` itself asks to be left alone, if it does."""
    if pod.labels.get(words.INJECT) == words.FALSE:
        return SkipReason.POD_OPTED_OUT
    if words.MIRROR_POD in pod.annotations:
        return SkipReason.MIRROR_POD
    return None


def resolve(sources: Sources, pod_annotations: Mapping[str, Any] = NO_ANNOTATIONS) -> Values | Skip:
    """Decide whether Pods of the ServiceAccount are injected, and with which values."""
    return _unwanted(sources) or compute_values(sources, pod_annotations)


def compute_values(
    sources: Sources, pod_annotations: Mapping[str, Any] = NO_ANNOTATIONS
) -> Values | Skip:
    """Return the values for the ServiceAccount, whether or not its Pods are to be injected.

    For each value the first explicit source wins: Pod annotation, binding, ServiceAccount
    annotation, federation, built-in.
    """
    federation = sources.federation
    if federation is None:
        name = shown(federation_name(sources.annotations, sources.binding))
        missing = f"{sources.account}: StorageFederation {name} does not exist"
        return _skip(SkipReason.FEDERATION_NOT_FOUND, missing)
    issuer = effective_issuer(federation, sources.discovered_issuer)
    if issuer is None:
        unknown = f"{sources.account}: the cluster's issuer is not known yet"
        return _skip(SkipReason.ISSUER_UNKNOWN, unknown)
    try:
        principal = render_principal(Identity(issuer, sources.namespace, sources.service_account))
    except ParseError as error:
        return _skip(SkipReason.IDENTITY_INVALID, f"{sources.account}: {cut(str(error), 120)}")
    spec = sources.binding.spec if sources.binding else None
    seconds, warnings = _expiration(sources, pod_annotations)
    if problem := audience_problem(sources.annotations):
        warnings = (*warnings, PodWarning(WarningReason.AUDIENCE_INVALID, problem))
    return Values(
        issuer=issuer,
        principal=principal,
        audience=_audience(sources) or issuer,
        region=(spec and spec.region) or federation.spec.region,
        token_expiration_seconds=seconds,
        credentials_uri=credentials_uri(federation),
        containers=spec.containers if spec else Containers(),
        aws_config=(
            render_aws_config(spec.client, federation.spec.endpoints)
            if spec and spec.client
            else None
        ),
        warnings=warnings,
    )


def effective_issuer(federation: Federation, discovered: Issuer | None) -> Issuer | None:
    """Return the issuer of `federation`: what it states, else what the API server told."""
    if federation.spec.issuer_url is None:
        return discovered
    try:
        return parse_issuer(federation.spec.issuer_url)
    except ParseError:
        return None


def credentials_uri(federation: Federation) -> str:
    """Return where Pods exchange their token (CoreWeave docs: Credential exchange)."""
    api = federation.spec.endpoints.api.rstrip("/")
    return f"{api}/v1/cwobject/temporary-credentials/oidc/{federation.spec.organization_id}"


def _unwanted(sources: Sources) -> Skip | None:
    binding = sources.binding
    match wish_of(sources.annotations):
        case Wish.NO_INJECTION:
            return Skip(SkipReason.ACCOUNT_OPTED_OUT)
        case Wish.UNINTELLIGIBLE:
            warning = PodWarning(WarningReason.ANNOTATION_INVALID, unintelligible(sources))
            return Skip(SkipReason.ANNOTATION_INVALID, (warning,))
        case Wish.NOTHING if binding is None:
            return Skip(SkipReason.NOT_FEDERATED)
        case Wish.NOTHING | Wish.INJECTION:
            if binding and binding.spec.injection is Injection.DISABLED:
                return Skip(SkipReason.INJECTION_DISABLED)
    if problem := unusable_federation(sources):
        # Not the federation of a binding that we made of an older annotation: nobody asked for it.
        return _skip(SkipReason.FEDERATION_NOT_FOUND, problem)
    return None


def _skip(reason: SkipReason, problem: str) -> Skip:
    """Return the skip of a Pod that should have been injected; its warning is of the same name."""
    warning = PodWarning(WarningReason(reason.value), f"{problem}; no credentials injected")
    return Skip(reason, (warning,))


def _audience(sources: Sources) -> str | None:
    """Return the first audience that somebody stated; one of blanks is none, wherever it is."""
    binding, federation = sources.binding, sources.federation
    stated = (
        binding and binding.spec.audience,
        audience_of(sources.annotations),
        federation and federation.spec.audience,
    )
    return next((text for text in stated if text and text.strip()), None)


def unintelligible(sources: Sources) -> str:
    """Say what is wrong with an `inject` annotation that is neither "true" nor "false"."""
    return (
        f"{sources.account}: annotation {words.INJECT} is "
        f'{shown(sources.annotations[words.INJECT])}; it must be "true" or "false"; not injected'
    )


def unusable_federation(sources: Sources) -> str | None:
    """Say what is wrong with the `federation` annotation, where it is what decides.

    It does not where a user's binding has the ServiceAccount.
    """
    if sources.binding and not sources.binding.ours:
        return None
    problem = federation_problem(sources.annotations)
    return f"{sources.account}: {problem}" if problem else None


def annotation_problems(sources: Sources) -> list[str]:
    """Say what is wrong with the annotations of a ServiceAccount, one sentence each."""
    problems = [problem] if (problem := audience_problem(sources.annotations)) else []
    if wish_of(sources.annotations) is Wish.UNINTELLIGIBLE:
        problems.append(unintelligible(sources))
    if problem := unusable_federation(sources):
        problems.append(problem)
    seconds = sources.annotations.get(words.TOKEN_EXPIRATION)
    _, problem = parse_expiration(_OF_ACCOUNT, seconds)
    return [*problems, problem] if problem else problems


def parse_expiration(place: str, value: object) -> tuple[int | None, PodWarning | None]:
    """Return what `value` says, clamped to what is allowed, and what is wrong with it.

    None where it says nothing: then the next source is asked.
    """
    if value is None or not (text := str(value).strip()):
        return None, None
    if not _SECONDS.fullmatch(text):
        return None, PodWarning(
            WarningReason.EXPIRATION_INVALID,
            f"{place} is {shown(text)}, not a number of seconds; ignored",
        )
    seconds = int(text)
    clamped = min(max(seconds, words.MIN_TOKEN_EXPIRATION), words.MAX_TOKEN_EXPIRATION)
    if clamped != seconds:
        return clamped, PodWarning(
            WarningReason.EXPIRATION_CLAMPED,
            f"{place} is {seconds}, outside 600..86400 seconds; {clamped} is used",
        )
    return clamped, None


def _expiration(
    sources: Sources, pod_annotations: Mapping[str, Any]
) -> tuple[int, tuple[PodWarning, ...]]:
    """Return the token's lifetime in seconds and what there is to say about bad inputs."""
    binding, federation = sources.binding, sources.federation
    warnings: list[PodWarning] = []
    pod = pod_annotations.get(words.TOKEN_EXPIRATION)
    account = sources.annotations.get(words.TOKEN_EXPIRATION)
    stated: tuple[tuple[str, object], ...] = (
        (_OF_POD, pod),
        (
            "tokenExpirationSeconds of the binding",
            binding and binding.spec.token_expiration_seconds,
        ),
        (_OF_ACCOUNT, account),
        (
            "tokenExpirationSeconds of the StorageFederation",
            federation and federation.spec.token_expiration_seconds,
        ),
    )
    for place, value in stated:
        seconds, problem = parse_expiration(place, value)
        warnings += [problem] if problem else []
        if seconds is not None:
            return seconds, tuple(warnings)
    return words.DEFAULT_TOKEN_EXPIRATION, tuple(warnings)
