"""Which forms of buckets keep namespaces apart, as docs/guides/tenancy.md has it."""

from itertools import product

import pytest

from caios_federation.api.binding import Grant
from caios_federation.api.federation import GrantRule
from caios_federation.core.grants import refusal

NAMESPACES = [
    name
    for size in range(1, 5)
    for name in map("".join, product("ab-", repeat=size))
    if not name.startswith("-") and not name.endswith("-") and "--" not in name
]


def shared(form: str, bucket: str) -> list[str]:
    """Return the namespaces that may all be granted `bucket`, by a rule of that form."""
    rule = GrantRule.model_validate(
        {"name": "own", "namespaceSelector": {}, "buckets": [form], "access": ["ReadOnly"]}
    )
    grant = Grant.model_validate({"name": "g", "buckets": [bucket], "access": "ReadOnly"})
    return [name for name in NAMESPACES if refusal([grant], [rule], name, {}, "default") is None]


@pytest.mark.parametrize(
    "form", ["{namespace}", "{namespace}-a", "b-{namespace}", "{namespace}--*"]
)
def test_a_safe_form_gives_no_bucket_to_two_namespaces(form: str) -> None:
    for name in NAMESPACES:
        bucket = form.replace("{namespace}", name).replace("*", "a")
        if len(bucket) >= 3:
            assert shared(form, bucket) == [name]


@pytest.mark.parametrize("form", ["{namespace}-*", "{namespace}*", "*-{namespace}"])
def test_a_star_beside_a_hyphen_gives_one_bucket_to_several_namespaces(form: str) -> None:
    assert len(shared(form, "a-b-a-b")) > 1


def test_two_hyphens_keep_apart_only_what_has_none() -> None:
    rule = {"name": "own", "namespaceSelector": {}, "buckets": ["{namespace}--*"]}
    grant = Grant.model_validate({"name": "g", "buckets": ["a--b--a"], "access": "ReadOnly"})
    allowed = GrantRule.model_validate({**rule, "access": ["ReadOnly"]})
    assert (
        refusal([grant], [allowed], "a", {}, "default")
        is refusal([grant], [allowed], "a--b", {}, "default")
        is None
    )
