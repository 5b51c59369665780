"""The statements that grants are made into."""

from typing import Any

import pytest

from builders import PRINCIPAL, parsed_binding
from caios_federation.core.policy import Policy, compile_policy, digest, document, render_document
from caios_federation.core.principal import Principal

Statements = dict[str, tuple[list[str], list[str]]]
NAME = "cks-00000000-team-a-reader-00000000"


def grant(access: str = "ReadOnly", **fields: object) -> dict[str, object]:
    return {"name": "data", "buckets": ["data"], "access": access, **fields}


def compiled(*grants: dict[str, object]) -> Policy:
    return compile_policy(NAME, Principal(PRINCIPAL), parsed_binding(grants=grants).spec.grants)


def statements(*grants: dict[str, object]) -> Statements:
    """Return (actions, resources) by statement, as the document has them, less the mint."""
    rendered: list[dict[str, Any]] = document(compiled(*grants))["statements"]
    everything = {item["name"]: (item["actions"], item["resources"]) for item in rendered}
    assert len(everything) == len(rendered)
    del everything["mint"]
    return everything


def test_a_policy_without_grants_lets_credentials_be_issued_and_no_more() -> None:
    assert document(compiled()) == {
        "version": "v1alpha1",
        "name": NAME,
        "statements": [
            {
                "name": "mint",
                "effect": "Allow",
                "actions": ["cwobject:CreateAccessKeyOIDC"],
                "resources": ["*"],
                "principals": [PRINCIPAL],
            }
        ],
    }


def test_a_reader_of_a_bucket_lists_and_reads_it() -> None:
    assert statements(grant("ReadOnly")) == {
        "data-buckets": (["s3:GetBucketLocation", "s3:ListBucket"], ["data"]),
        "data-objects": (["s3:GetObject"], ["data/*"]),
    }


def test_a_reader_of_prefixes_reads_them_and_lists_nothing() -> None:
    assert statements(grant("ReadOnly", prefixes=["b/", "a/"])) == {
        "data-buckets": (["s3:GetBucketLocation"], ["data"]),
        "data-objects": (["s3:GetObject"], ["data/a/*", "data/b/*"]),
    }


def test_a_reader_of_prefixes_may_ask_to_list_the_whole_bucket() -> None:
    listed = statements(grant("ReadOnly", prefixes=["a/"], listing="WholeBucket"))
    assert listed["data-buckets"] == (["s3:GetBucketLocation", "s3:ListBucket"], ["data"])


def test_a_reader_may_ask_not_to_list() -> None:
    listed = statements(grant("ReadOnly", listing="None"))
    assert listed["data-buckets"] == (["s3:GetBucketLocation"], ["data"])


def test_a_writer_writes_and_neither_reads_deletes_nor_lists() -> None:
    assert statements(grant("WriteOnly")) == {
        "data-buckets": (["s3:GetBucketLocation"], ["data"]),
        "data-objects": (
            ["s3:AbortMultipartUpload", "s3:ListMultipartUploadParts", "s3:PutObject"],
            ["data/*"],
        ),
    }


def test_a_reader_and_writer_reads_writes_deletes_and_lists() -> None:
    assert statements(grant("ReadWrite")) == {
        "data-buckets": (
            ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"],
            ["data"],
        ),
        "data-objects": (
            [
                "s3:AbortMultipartUpload",
                "s3:DeleteObject",
                "s3:GetObject",
                "s3:ListMultipartUploadParts",
                "s3:PutObject",
            ],
            ["data/*"],
        ),
    }


def test_full_control_of_a_bucket_is_one_statement() -> None:
    assert statements(grant("FullControl")) == {"data-all": (["s3:*"], ["data", "data/*"])}


def test_full_control_of_prefixes_does_not_reach_the_bucket_itself() -> None:
    assert statements(grant("FullControl", prefixes=["a/"])) == {
        "data-buckets": (["s3:GetBucketLocation"], ["data"]),
        "data-objects": (["s3:*"], ["data/a/*"]),
    }


def test_full_control_of_prefixes_lists_all_there_is_once_it_may_list() -> None:
    listed = statements(grant("FullControl", prefixes=["a/"], listing="WholeBucket"))
    assert listed["data-buckets"] == (
        [
            "s3:GetBucketLocation",
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads",
            "s3:ListBucketVersions",
        ],
        ["data"],
    )


def test_full_control_without_listing_reaches_the_tags_of_versions() -> None:
    actions, resources = statements(grant("FullControl", listing="None"))["data-objects"]
    assert resources == ["data/*"]
    assert {f"s3:{verb}ObjectVersionTagging" for verb in ("Get", "Put", "Delete")} <= set(actions)


def test_full_control_without_listing_lists_nothing() -> None:
    actions, resources = statements(grant("FullControl", listing="None"))["data-buckets"]
    assert resources == ["data"]
    assert "s3:PutBucketPolicy" in actions
    assert [action for action in actions if "List" in action or "*" in action] == []


def test_actions_on_objects_and_buckets_are_kept_apart() -> None:
    actions = ["s3:GetObject", "s3:ListBucket", "s3:PutBucketPolicy"]
    assert statements(grant("Custom", actions=actions)) == {
        "data-buckets": (["s3:ListBucket", "s3:PutBucketPolicy"], ["data"]),
        "data-objects": (["s3:GetObject"], ["data/*"]),
    }


def test_an_action_of_which_the_level_is_not_known_is_on_both() -> None:
    assert statements(grant("Custom", actions=["s3:Get*"])) == {
        "data-all": (["s3:Get*"], ["data", "data/*"])
    }


def test_unknown_actions_join_the_known_ones() -> None:
    assert statements(grant("Custom", actions=["s3:Get*", "s3:PutObject"])) == {
        "data-buckets": (["s3:Get*"], ["data"]),
        "data-objects": (["s3:Get*", "s3:PutObject"], ["data/*"]),
    }


def test_a_pattern_of_actions_does_not_reach_past_the_prefixes() -> None:
    """On the resource `*`, which stands for every bucket, it would reach every object."""
    limited = grant("Custom", buckets=["*"], prefixes=["a/"], actions=["s3:Get*", "s3:ListBucket"])
    assert statements(limited) == {
        "data-buckets": (["s3:ListBucket"], ["*"]),
        "data-objects": (["s3:Get*"], ["*/a/*"]),
    }


@pytest.mark.parametrize("action", ["s3:ListAllMyBuckets", "cwobject:ListBucketInfo", "cwobject:*"])
def test_an_action_that_is_global_stands_alone_on_everything(action: str) -> None:
    assert statements(grant("Custom", actions=[action, "s3:GetObject"])) == {
        "data-global": ([action], ["*"]),
        "data-objects": (["s3:GetObject"], ["data/*"]),
    }


def test_every_bucket_is_written_as_the_service_wants_it() -> None:
    assert statements(grant("ReadOnly", buckets=["*"])) == {
        "data-buckets": (["s3:GetBucketLocation", "s3:ListBucket"], ["*"]),
        "data-objects": (["s3:GetObject"], ["*"]),
    }


def test_patterns_and_several_buckets_are_kept_in_order() -> None:
    listed = statements(grant("ReadOnly", buckets=["logs-*", "data"]))
    assert listed["data-buckets"][1] == ["data", "logs-*"]
    assert listed["data-objects"][1] == ["data/*", "logs-*/*"]


def test_prefixes_are_taken_in_each_bucket() -> None:
    listed = statements(grant("ReadOnly", buckets=["b", "a"], prefixes=["y", "x"]))
    assert listed["data-objects"][1] == ["a/x*", "a/y*", "b/x*", "b/y*"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("mint", "x"), ("data", "data-buckets"), ("data", "data-objects"), ("data", "data-global")],
)
@pytest.mark.parametrize("access", ["ReadOnly", "FullControl"])
def test_no_two_statements_share_a_name(one: str, other: str, access: str) -> None:
    custom = ["s3:ListAllMyBuckets", "s3:GetObject", "s3:ListBucket"]
    first = grant("Custom", actions=custom) | {"name": one}
    rendered = document(compiled(first, grant(access) | {"name": other}))["statements"]
    names = [item["name"] for item in rendered]
    assert sorted(names) == sorted(set(names))


def test_grants_are_ordered_by_name() -> None:
    one, other = grant("FullControl") | {"name": "a"}, grant("FullControl") | {"name": "b"}
    assert render_document(compiled(one, other)) == render_document(compiled(other, one))
    assert list(statements(other, one)) == ["a-all", "b-all"]


def test_the_digest_names_its_algorithm_and_never_changes() -> None:
    """It is compared with what a status says: another digest would mean a needless write."""
    digits = "5c6355d4a95cf8b864c5ac1ad38daa0bb2682a649e021d68a09a07f6fd3c2d5e"
    assert digest(compiled()) == f"sha256:{digits}"


def test_the_document_is_made_to_be_pasted() -> None:
    text = render_document(compiled())
    assert text.startswith('{\n  "version": "v1alpha1",\n  "name": "cks-')
    assert text.isascii()
