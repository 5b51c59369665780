"""Each access level allows what docs/reference/access-levels.md says, and nothing else.

Every cell is one call of boto3 that would succeed if no policy were in its way.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from builders import parsed_binding
from caios_federation.api.binding import Access, Listing
from caios_federation.core.policy import compile_policy, digest
from caios_federation.core.principal import Principal
from caios_testbed.coreweave.app import Options
from caios_testbed.coreweave.operations import COPIES, TABLE
from component.coreweave.world import organization, token
from component.matrix import page
from component.matrix.page import (
    EVERY_BUCKET,
    LIST_BUCKETS,
    PREFIX,
    WHOLE,
    Example,
    documented,
    grant,
    only,
)
from component.matrix.trial import Trials, administrator

LEVELS = [level for level in Access if level is not Access.CUSTOM]
EXTENTS = page.extents()
NEEDS = page.needs()
HERE = ("models", "models/logs/1")
ACTIONS = sorted(frozenset[str]().union(*NEEDS.values()))


@dataclass(frozen=True)
class Variant:
    """A grant of one level."""

    level: Access
    extent: str
    listing: Listing

    def __str__(self) -> str:
        return f"{self.level}, {self.extent}, listing: {self.listing}"

    @property
    def lists(self) -> bool:
        return self.listing is Listing.WHOLE_BUCKET

    @property
    def prefixes(self) -> bool:
        return "prefixes" in page.fields_of(self.extent)


VARIANTS = [
    *(
        Variant(level, extent, listing)
        for level in LEVELS
        for extent in EXTENTS
        for listing in (Listing if extent in {WHOLE, PREFIX} else [Listing.WHOLE_BUCKET])
    ),
    Variant(Access.FULL_CONTROL, EVERY_BUCKET, Listing.NONE),
]


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trials]:
    """Give an organization that trusts the issuer, with an administrator of S3."""
    with organization(tmp_path_factory.mktemp("matrix"), Options()) as world:
        world.trust()
        yield Trials(world, administrator(world))


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_a_level_allows_what_its_column_says(trials: Trials, variant: Variant) -> None:
    trial = trials.begin()
    client = trial.principal(grant(variant.level, variant.extent, listing=variant.listing))
    assert trial.everywhere(client) == documented(
        page.inside(variant.level, prefixes=variant.prefixes, lists=variant.lists),
        EXTENTS[variant.extent],
        list_buckets=variant.lists
        and (variant.level, variant.extent) == (Access.FULL_CONTROL, EVERY_BUCKET),
    )


@pytest.mark.parametrize("extent", [WHOLE, PREFIX])
@pytest.mark.parametrize("level", LEVELS)
def test_a_listing_that_is_not_said_is_the_default_of_its_table(level: Access, extent: str) -> None:
    default = page.defaults()[level, extent == PREFIX]
    unsaid, said = (
        parsed_binding(grants=[grant(level, extent, **listing)]).spec.grants
        for listing in ({}, {"listing": default})
    )
    compiled = [compile_policy("p", Principal("role/x"), grants) for grants in (unsaid, said)]
    assert digest(compiled[0]) == digest(compiled[1])


@pytest.mark.parametrize("action", ACTIONS)
def test_a_custom_action_allows_the_operations_that_need_nothing_else(
    trials: Trials, action: str
) -> None:
    trial = trials.begin()
    client = trial.principal(grant("Custom", WHOLE, actions=[action]))
    allowed = [operation for operation, needed in NEEDS.items() if needed == {action}]
    assert trial.at(client, *HERE) == documented(
        only(*allowed), dict.fromkeys(HERE, True), list_buckets=LIST_BUCKETS in allowed
    )


@pytest.mark.parametrize("example", page.examples(), ids=str)
def test_a_custom_grant_allows_what_its_row_says(trials: Trials, example: Example) -> None:
    trial = trials.begin()
    extent = PREFIX if example.prefixes else WHOLE
    client = trial.principal(grant("Custom", extent, actions=sorted(example.actions)))
    assert trial.everywhere(client) == documented(
        only(*example.operations),
        EXTENTS[extent],
        list_buckets=LIST_BUCKETS in example.operations,
    )


def test_grants_add_up(trials: Trials) -> None:
    trial = trials.begin()
    client = trial.principal(
        {"name": "in", "buckets": ["models"], "access": "ReadOnly"},
        {"name": "out", "buckets": ["other"], "access": "WriteOnly"},
    )
    found = trial.at(client, "other/logs/1")
    assert found["other/logs/1: CopyObject, to here"]
    assert not found["other/logs/1: CopyObject, from here"]
    assert not found["other/logs/1: DeleteObject"]


def test_the_mint_alone_opens_nothing(trials: Trials) -> None:
    trial = trials.begin()
    assert trial.everywhere(trial.principal()) == documented(only(), EXTENTS[WHOLE])


@pytest.mark.parametrize("account", ["reader2", "read", "default"])
def test_another_account_has_nothing_of_a_grant(trials: Trials, account: str) -> None:
    trial = trials.begin()
    trial.principal(grant("FullControl", WHOLE))
    other = trial.principal(account=account)
    assert trial.at(other, *HERE) == documented(only(), dict.fromkeys(HERE, True))


def test_an_account_without_a_binding_gets_no_credentials(trials: Trials) -> None:
    trial = trials.begin()
    trial.principal(grant("FullControl", WHOLE))
    for subject in (f"{trial.namespace}:reader2", f"{trial.namespace}2:reader"):
        answer = trials.world.exchange(token(sub=f"system:serviceaccount:{subject}"))
        assert (answer.status, answer.json["message"]) == (403, "permission denied")


def test_the_page_has_every_operation_of_the_emulator() -> None:
    known = {name for name, _ in TABLE.values()} | set(COPIES.values())
    assert {operation.partition(" ")[0] for operation in NEEDS} == known


@pytest.mark.parametrize("level", LEVELS)
def test_every_operation_is_in_the_tables_of_the_levels(level: Access) -> None:
    operations = page.inside(level, prefixes=False, lists=True)
    assert {*operations, LIST_BUCKETS} == NEEDS.keys()
