"""Which actions are for the organization as a whole, however they are written."""

import pytest

from builders import parsed_binding
from caios_federation.api.binding import Access
from caios_federation.core.policy import actions_of, is_global, statements_of

CONTROL = ["cwobject:*", "CWObject:EnsureAccessPolicy"]
NAMES = ["s3:ListAllMyBuckets", "s3:listallmybuckets", "S3:LISTALLMYBUCKETS"]


@pytest.mark.parametrize("action", [*CONTROL, *NAMES])
def test_case_does_not_hide_that_an_action_is_global(action: str) -> None:
    assert is_global(action)
    grant = {"name": "data", "buckets": ["data"], "access": "Custom", "actions": [action]}
    (statement,) = statements_of(parsed_binding(grants=[grant]).spec.grants[0])
    assert statement.actions == {action}
    assert statement.resources == {"*"}


@pytest.mark.parametrize("action", ["s3:*", "s3:List*", "s3:ListBucket", "s3:ListAllMyBucketsX"])
def test_an_action_of_buckets_is_not_global(action: str) -> None:
    assert not is_global(action)


def test_a_level_has_all_actions_of_those_below_it() -> None:
    read, write = actions_of(Access.READ_ONLY), actions_of(Access.WRITE_ONLY)
    assert read | write < actions_of(Access.READ_WRITE)
    assert actions_of(Access.FULL_CONTROL) == {"s3:*"}
    assert actions_of(Access.CUSTOM) == frozenset()
