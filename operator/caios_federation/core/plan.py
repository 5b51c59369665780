"""What is added to a Pod: the second half of a decision, as plain data.

Nothing that a Pod has is changed or removed, and planning for a Pod that was injected already
plans nothing: API servers call webhooks again when a later one changed the Pod.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain, count
from types import MappingProxyType
from typing import Final, NamedTuple

from caios_federation.api import vocabulary as words
from caios_federation.api.vocabulary import WarningReason
from caios_federation.core.injection import Values
from caios_federation.core.pod import Container, Pod, Raw, normalise
from caios_federation.core.text import cut, shown
from caios_federation.core.warning import PodWarning

_READS_OWN_CONFIG: Final = words.ENV_ENDPOINTS | {words.ENV_CONFIG_FILE}
_NONE: Final[Mapping[str, str]] = MappingProxyType({})
_NAMES_SHOWN: Final = 3
_PATH_SHOWN: Final = len(words.MOUNT_PATH)
"""Characters of a path in a warning: the usual path is shown whole."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where in a Pod the token goes: the vendor's places unless set otherwise."""

    volume_name: str = words.VOLUME_NAME
    mount_path: str = words.MOUNT_PATH
    token_file: str = words.TOKEN_FILE


class TokenVolume(NamedTuple):
    """The projected volume that holds the token, and the AWS config file where asked for."""

    name: str
    audience: str
    expiration_seconds: int
    token_file: str
    with_config: bool


class Addition(NamedTuple):
    """What one container gets."""

    container: Container
    env: tuple[tuple[str, str], ...]
    mount: tuple[str, str] | None
    """(volume name, path) of a read-only mount, unless it is there already."""


class Plan(NamedTuple):
    """What a Pod gets."""

    volume: TokenVolume | None = None
    additions: tuple[Addition, ...] = ()
    labels: Mapping[str, str] = _NONE
    annotations: Mapping[str, str] = _NONE
    warnings: tuple[PodWarning, ...] = ()


def plan(pod: Pod, values: Values, place: Placement) -> Plan:
    """Return what `pod` needs in order to exchange its token for credentials."""
    warnings = list(values.warnings)
    selected = _selected(pod, values, warnings)
    with_config = values.aws_config is not None and any(map(_wants_config, selected))
    volume = _volume(pod, values, place, with_config=with_config)
    drafts = [_addition(container, values, place, volume, warnings) for container in selected]
    additions = tuple(draft for draft in drafts if draft.env or draft.mount)
    given = frozenset(name for addition in additions for name, _ in addition.env)
    path = normalise(place.mount_path)
    mounted = any(
        item.mount or item.container.mounts_whole(volume.name, path) for item in additions
    )
    return Plan(
        volume=volume if mounted and volume.name not in pod.volumes else None,
        additions=additions,
        labels=_missing(pod.labels, _labels(given), warnings, "label"),
        annotations=_missing(pod.annotations, _annotations(given, values), warnings, "annotation"),
        warnings=tuple(warnings),
    )


def _selected(pod: Pod, values: Values, warnings: list[PodWarning]) -> list[Container]:
    """Return the containers to serve, less those that Pod or binding leave out."""
    skip = _names(pod.annotations.get(words.SKIP_CONTAINERS))
    names = {container.name for container in pod.containers}
    if unknown := sorted(skip - names):
        listed = ", ".join(map(shown, unknown[:_NAMES_SHOWN]))
        more = ", …" if len(unknown) > _NAMES_SHOWN else ""
        text = f"annotation {words.SKIP_CONTAINERS} names no container of the Pod: {listed}{more}"
        warnings.append(PodWarning(WarningReason.CONTAINER_UNKNOWN, text))
    only, except_ = values.containers.only, values.containers.except_
    return [
        container
        for container in pod.containers
        if container.name not in skip
        and container.name not in except_
        and (not only or container.name in only)
    ]


def _names(text: Raw) -> frozenset[str]:
    names = text.split(",") if isinstance(text, str) else ()
    return frozenset(stripped for name in names if (stripped := name.strip()))


def _wants_credentials(container: Container) -> bool:
    return not any(name.startswith(words.ENV_CONTAINER_PREFIX) for name in container.env)


def _wants_config(container: Container) -> bool:
    return _READS_OWN_CONFIG.isdisjoint(container.env)


def _volume(pod: Pod, values: Values, place: Placement, *, with_config: bool) -> TokenVolume:
    """Return the volume to use: ours where the Pod has it, else one of the next free name."""
    candidates = chain((place.volume_name,), (f"{place.volume_name}-{n}" for n in count(2)))
    for name in candidates:
        volume = TokenVolume(
            name=name,
            audience=values.audience,
            expiration_seconds=values.token_expiration_seconds,
            token_file=place.token_file,
            with_config=with_config,
        )
        if name not in pod.volumes or _is(volume, pod.volumes[name]):
            return volume
    raise AssertionError("unreachable: names do not run out")


def _is(volume: TokenVolume, raw: Mapping[str, Raw]) -> bool:
    """Tell whether `raw` projects what `volume` does, whatever defaults were filled in.

    Never judged by its name alone: a volume of our name may be anything.
    """
    projected = raw.get("projected")
    sources = projected.get("sources") if isinstance(projected, dict) else None
    if not isinstance(sources, list) or not all(isinstance(source, dict) for source in sources):
        return False
    tokens = [
        source["serviceAccountToken"] for source in sources if "serviceAccountToken" in source
    ]
    config = any(_shows_config(source.get("downwardAPI")) for source in sources)
    token = {
        "audience": volume.audience,
        "expirationSeconds": volume.expiration_seconds,
        "path": volume.token_file,
    }
    return tokens == [token] and len(sources) == 1 + config and (config or not volume.with_config)


def _shows_config(downward: Raw) -> bool:
    items = downward.get("items") if isinstance(downward, dict) else None
    match items:
        case [{"path": words.AWS_CONFIG_FILE, "fieldRef": {"fieldPath": str(path)}}]:
            return path == config_field_path()
    return False


def config_field_path() -> str:
    """Return the field that the downward API shows as the AWS config file."""
    return f"metadata.annotations['{words.AWS_CONFIG}']"


def _addition(
    container: Container,
    values: Values,
    place: Placement,
    volume: TokenVolume,
    warnings: list[PodWarning],
) -> Addition:
    """Return what `container` gets: credentials, region and config file, each only if absent."""
    env: list[tuple[str, str]] = []
    credentials = _wants_credentials(container)
    config = values.aws_config is not None and _wants_config(container)
    mount = None
    if credentials or config:
        path = normalise(place.mount_path)
        if not container.mounts_whole(volume.name, path):
            if conflict := _conflict(container, path):
                text = f"container {shown(container.name)} left out: {conflict}"
                warnings.append(PodWarning(WarningReason.MOUNT_TAKEN, text))
                return Addition(container, (), None)
            mount = volume.name, place.mount_path
    if credentials:
        env.append((words.ENV_CREDENTIALS_URI, values.credentials_uri))
        env.append((words.ENV_TOKEN_FILE, f"{place.mount_path}/{place.token_file}"))
        warnings.extend(_outranked(container))
    elif container.env.get(words.ENV_CREDENTIALS_URI) != values.credentials_uri:
        text = (
            f"container {shown(container.name)} has {words.ENV_CONTAINER_PREFIX}* variables of "
            "its own; its credentials are left alone"
        )
        warnings.append(PodWarning(WarningReason.CREDENTIALS_PRESENT, text))
    if words.ENV_REGION not in container.env and words.ENV_DEFAULT_REGION not in container.env:
        env.append((words.ENV_REGION, values.region))
        env.append((words.ENV_DEFAULT_REGION, values.region))
    if config:
        env.append((words.ENV_CONFIG_FILE, f"{place.mount_path}/{words.AWS_CONFIG_FILE}"))
    return Addition(container, tuple(env), mount)


def _conflict(container: Container, path: str) -> str | None:
    """Say what keeps us from mounting at `path`: a mount there, below it, or read-only above it.

    Ours is read-only too: the container runtime cannot make an inner mount's directory in a
    read-only outer one, and the container would not start.
    """
    for mount in container.mounts:
        inner, outer = f"{path}/", f"{mount.path.rstrip('/')}/"
        if outer.startswith(inner) or (mount.read_only and inner.startswith(outer)):
            return (
                f"its volume {shown(mount.volume)} is mounted at {cut(mount.path, _PATH_SHOWN)}, "
                f"where the token goes ({cut(path, _PATH_SHOWN)})"
            )
    return None


def _outranked(container: Container) -> list[PodWarning]:
    found = words.ENV_OUTRANKING.intersection(container.env)
    if not found:
        return []
    text = (
        f"container {shown(container.name, 30)} sets {', '.join(sorted(found))}: "
        "SDKs prefer that to the injected credentials; remove it"
    )  # 30: all the names fit in, too
    return [PodWarning(WarningReason.CREDENTIALS_OUTRANKED, text)]


def _labels(given: frozenset[str]) -> Mapping[str, str]:
    return {words.FEDERATED: words.TRUE} if words.ENV_CREDENTIALS_URI in given else {}


def _annotations(given: frozenset[str], values: Values) -> Mapping[str, str]:
    marks: dict[str, str] = {}
    if words.ENV_CREDENTIALS_URI in given:
        marks[words.PRINCIPAL] = values.principal
    if words.ENV_CONFIG_FILE in given and values.aws_config is not None:
        marks[words.AWS_CONFIG] = values.aws_config
    return marks


def _missing(
    present: Mapping[str, Raw], marks: Mapping[str, str], warnings: list[PodWarning], what: str
) -> Mapping[str, str]:
    """Return the `marks` that are not `present`, with a warning for those of another value."""
    missing: dict[str, str] = {}
    for key, text in marks.items():
        if key not in present:
            missing[key] = text
        elif present[key] != text:
            kept = f"{what} {key} of the Pod is kept as it is"
            warnings.append(PodWarning(WarningReason.MARK_KEPT, kept))
    return missing
