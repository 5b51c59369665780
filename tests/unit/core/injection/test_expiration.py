"""The token's lifetime (peers checklist 4.5): limits and nonsense, on each source."""

import pytest

from builders import (
    annotated,
    bound,
    inject,
    parsed_federation,
    pod,
    resolved,
    sources,
    words,
)
from caios_federation.core.injection import Values
from caios_federation.core.text import shown

LIMITS = [
    (-900, 600),  # negative
    (0, 600),
    (1, 600),
    (599, 600),  # just below the lower limit
    (600, 600),  # at it
    (601, 601),  # just above it
    (86399, 86399),
    (86400, 86400),
    (86401, 86400),
    (10**15, 86400),
]
NONSENSE = [
    "soon",
    "1h",
    "3600s",
    "3600.0",
    "1e3",
    "0x384",
    "3_600",
    "9 00",
    "--900",
    "٩٠٠",  # digits that int() would take
    "９００",  # noqa: RUF001
    "²",
    "nan",
    "9" * 19,
    "9" * 5000,  # int() itself refuses to read this
]
PLACES = {
    "pod": "annotation caios.coreweave.com/token-expiration of the Pod",
    "binding": "tokenExpirationSeconds of the binding",
    "account": "annotation caios.coreweave.com/token-expiration of the ServiceAccount",
    "federation": "tokenExpirationSeconds of the StorageFederation",
}


def saying(source: str, seconds: object) -> Values:
    """Return what wins when `source` alone says something."""
    match source:
        case "pod":
            says = words(token_expiration=str(seconds))
            return resolved(annotated(inject="true"), says)
        case "binding":
            return resolved(bound(tokenExpirationSeconds=seconds))
        case "account":
            return resolved(annotated(inject="true", token_expiration=str(seconds)))
        case _:
            federated = parsed_federation(tokenExpirationSeconds=seconds)
            return resolved(sources(account=words(inject="true"), federated=federated))


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize(("seconds", "expected"), LIMITS)
def test_an_expiration_is_kept_within_the_limits(source: str, seconds: int, expected: int) -> None:
    assert saying(source, seconds).token_expiration_seconds == expected


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize(("seconds", "expected"), LIMITS)
def test_an_expiration_that_was_clamped_gives_a_warning_and_no_other_does(
    source: str, seconds: int, expected: int
) -> None:
    warning = f"{PLACES[source]} is {seconds}, outside 600..86400 seconds; {expected} is used"
    assert saying(source, seconds).warnings == (() if seconds == expected else (warning,))


@pytest.mark.parametrize("source", ["pod", "account"])
@pytest.mark.parametrize("text", NONSENSE)
def test_an_unparsable_expiration_is_ignored_with_a_warning(source: str, text: str) -> None:
    values = saying(source, text)
    assert values.token_expiration_seconds == 3600
    assert values.warnings == (
        f"{PLACES[source]} is {shown(text)}, not a number of seconds; ignored",
    )


def test_an_unparsable_expiration_of_the_pod_gives_way_to_the_next_source() -> None:
    values = resolved(bound(tokenExpirationSeconds=900), words(token_expiration="soon"))
    assert values.token_expiration_seconds == 900


def test_an_unparsable_expiration_of_the_service_account_gives_way_to_the_federation() -> None:
    federated = parsed_federation(tokenExpirationSeconds=900)
    account = words(inject="true", token_expiration="soon")
    values = resolved(sources(account=account, federated=federated))
    assert values.token_expiration_seconds == 900


@pytest.mark.parametrize("source", ["pod", "account"])
@pytest.mark.parametrize("blank", ["", " ", "\n"])
def test_an_empty_expiration_counts_as_absent(source: str, blank: str) -> None:
    values = saying(source, blank)
    assert values.token_expiration_seconds == 3600
    assert values.warnings == ()


@pytest.mark.parametrize("text", [" 900", "900 ", "\t900\n", "+900", "0900"])
def test_an_expiration_is_read_as_people_write_it(text: str) -> None:
    values = saying("pod", text)
    assert values.token_expiration_seconds == 900
    assert values.warnings == ()


def test_a_clamped_expiration_of_the_pod_does_not_give_way_to_a_lower_source() -> None:
    values = resolved(bound(tokenExpirationSeconds=7200), words(token_expiration="1"))
    assert values.token_expiration_seconds == 600


def test_an_explicit_expiration_is_never_jittered() -> None:
    seen = {saying("pod", 86400).token_expiration_seconds for _ in range(50)}
    assert seen == {86400}


def test_a_bad_expiration_never_keeps_a_pod_from_its_credentials() -> None:
    injected = inject(pod(annotations=words(token_expiration="soon")))
    assert injected.operations
    assert injected.warnings


@pytest.mark.parametrize("value", [True, None, 1.5, ["900"], {"seconds": 900}])
def test_an_annotation_that_is_no_text_raises_nothing(value: object) -> None:
    values = resolved(annotated(inject="true"), {"caios.coreweave.com/token-expiration": value})
    assert values.token_expiration_seconds == 3600
