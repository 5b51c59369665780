"""Law 11: applied to what is there, the changes make what is declared; and what policies mean."""

import itertools
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import strategies
from caios_federation.core.policy import Policy, compile_policy, document
from caios_federation.core.principal import Principal
from caios_federation.core.sync import UNREADABLE, Changes, changes, meaning_of

PREFIX = "cks-489943f9-"
MEANINGS = st.sampled_from([UNREADABLE, "one", "two"])
OWN = st.sampled_from([f"{PREFIX}{letter}" for letter in "abc"])
FOREIGN = st.sampled_from(["reader", "cks-00000000-a", f"x{PREFIX}a", PREFIX[:-1], ""])
REMOTE = st.dictionaries(OWN | FOREIGN, MEANINGS)
DECLARED = st.dictionaries(OWN, st.sampled_from(["one", "two"]))

EFFECTS = st.sampled_from(["Allow", "Deny"])
ACTIONS = st.sampled_from(["s3:GetObject", "s3:PutObject", "s3:*", "*"])
RESOURCES = st.sampled_from(["*", "data", "data/*", "data/a*"])
PRINCIPALS = st.sampled_from(["*", "role/i:system:serviceaccount:a:b", "role/i:*"])


def owned(name: str) -> bool:
    return name.startswith(PREFIX)


def applied(needed: Changes, desired: dict[str, str], current: dict[str, str]) -> dict[str, str]:
    after = {name: text for name, text in current.items() if name not in needed.delete}
    return after | {name: desired[name] for name in needed.ensure}


@given(DECLARED, REMOTE)
def test_changes_make_what_is_declared_and_leave_alone_what_is_not_ours(
    desired: dict[str, str], current: dict[str, str]
) -> None:
    after = applied(changes(desired, current, owned=owned), desired, current)
    assert {name: text for name, text in after.items() if owned(name)} == desired
    assert {name: text for name, text in after.items() if not owned(name)} == {
        name: text for name, text in current.items() if not owned(name)
    }


@given(st.dictionaries(OWN | FOREIGN, MEANINGS), REMOTE)
def test_what_is_not_ours_is_never_changed_even_if_it_is_declared(
    desired: dict[str, str], current: dict[str, str]
) -> None:
    needed = changes(desired, current, owned=owned)
    assert all(owned(name) for name in needed.ensure | needed.delete)


@given(REMOTE)
def test_what_is_as_declared_needs_no_change(current: dict[str, str]) -> None:
    ours = {name: text for name, text in current.items() if owned(name)}
    assert changes(ours, current, owned=owned) == Changes()


@given(DECLARED, REMOTE)
def test_nothing_is_both_written_and_removed(
    desired: dict[str, str], current: dict[str, str]
) -> None:
    needed = changes(desired, current, owned=owned)
    assert needed.ensure & needed.delete == frozenset()
    assert needed.delete <= current.keys()


def statement(draw: Any, name: str) -> dict[str, Any]:  # noqa: ANN401  # Hypothesis' draw
    return {
        "name": name,
        "effect": draw(EFFECTS),
        "actions": draw(st.lists(ACTIONS, min_size=1, max_size=3)),
        "resources": draw(st.lists(RESOURCES, min_size=1, max_size=3)),
        "principals": draw(st.lists(PRINCIPALS, min_size=1, max_size=2)),
    }


@st.composite
def policies(draw: Any, most: int = 3) -> dict[str, Any]:  # noqa: ANN401  # Hypothesis' draw
    count = draw(st.integers(1, most))
    statements = [statement(draw, f"s{index}") for index in range(count)]
    return {"version": "v1alpha1", "name": f"{PREFIX}a", "statements": statements}


@st.composite
def written_otherwise(draw: Any, policy: dict[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """Return `policy` in other words: order, repetitions, names and fields nobody knows."""
    statements = draw(st.permutations(policy["statements"]))
    statements += draw(st.lists(st.sampled_from(policy["statements"]), max_size=2))
    others = []
    for entry in statements:
        lists = {
            key: draw(st.permutations(entry[key])) + draw(st.lists(st.sampled_from(entry[key])))
            for key in ("actions", "resources", "principals")
        }
        others.append({**entry, **lists, "name": draw(st.text(max_size=3)), "uid": 5})
    return {**policy, "name": "another", "createdAt": "now", "statements": others}


def allowed(policy: dict[str, Any]) -> set[tuple[str, ...]]:
    """Return every effect, action, resource and principal that a policy names together."""
    cells: set[tuple[str, ...]] = set()
    for entry in policy["statements"]:
        lists = entry["actions"], entry["resources"], entry["principals"]
        cells.update((entry["effect"], *cell) for cell in itertools.product(*lists))
    return cells


@given(st.data())
def test_the_same_in_other_words_means_the_same(data: st.DataObject) -> None:
    policy = data.draw(policies())
    assert meaning_of(data.draw(written_otherwise(policy))) == meaning_of(policy)


@given(policies(), policies())
def test_policies_of_one_meaning_allow_the_same(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    if meaning_of(left) == meaning_of(right):
        assert allowed(left) == allowed(right)


@given(policies(most=1), policies(most=1))
def test_a_statement_means_exactly_what_it_allows(
    left: dict[str, Any], right: dict[str, Any]
) -> None:
    assert (meaning_of(left) == meaning_of(right)) == (allowed(left) == allowed(right))


@given(st.data())
def test_any_one_change_of_a_policy_is_seen(data: st.DataObject) -> None:
    policy = data.draw(policies())
    index = data.draw(st.integers(0, len(policy["statements"]) - 1))
    changed = dict(policy["statements"][index])
    key = data.draw(st.sampled_from(["effect", "actions", "resources", "principals"]))
    if key == "effect":
        changed[key] = "Deny" if changed[key] == "Allow" else "Allow"
    else:
        changed[key] = [*changed[key], "a new one"]
    statements = [*policy["statements"][:index], changed, *policy["statements"][index + 1 :]]
    after = {**policy, "statements": statements}
    # Unless the other statements say it all.
    assert meaning_of(after) != meaning_of(policy) or allowed(after) == allowed(policy)


@given(strategies.grant_lists)
def test_what_we_write_is_readable(grants: list[Any]) -> None:
    body = document(_policy(grants))
    assert meaning_of(body) != UNREADABLE
    assert changes({body["name"]: meaning_of(body)}, {}, owned=owned).ensure == {body["name"]}


def _policy(grants: list[Any]) -> Policy:
    return compile_policy(f"{PREFIX}a", Principal("role/i:system:serviceaccount:a:b"), grants)


ODD = strategies.json_values | st.sampled_from(["*", ["*", 1], {"*": 1}, None, [["*"]]])


@given(
    document=st.dictionaries(st.sampled_from(["version", "name", "statements"]), ODD)
    | st.fixed_dictionaries(
        {
            "version": st.just("v1alpha1"),
            "statements": st.lists(
                st.dictionaries(
                    st.sampled_from(["effect", "actions", "resources", "principals"]), ODD
                )
                | ODD
            ),
        }
    )
)
def test_arbitrary_json_has_a_meaning_and_never_that_of_ours(document: dict[str, Any]) -> None:
    assert meaning_of(document) in {UNREADABLE, meaning_of({**document, "statements": []})} or (
        all(isinstance(entry["actions"], list) for entry in document["statements"])
    )


def test_a_text_in_the_place_of_a_list_is_no_policy() -> None:
    ours = document(_policy([]))
    (mint,) = ours["statements"]
    for wrong in ({"resources": "*"}, {"resources": {"*": 1}}, {"effect": ["Allow"]}):
        theirs = {**ours, "statements": [{**mint, **wrong}]}
        assert meaning_of(theirs) == UNREADABLE


def test_json_that_is_nested_deeply_raises_nothing() -> None:
    deep: Any = "x"
    for _ in range(100_000):
        deep = [deep]
    (mint,) = document(_policy([]))["statements"]
    for entry in ({**mint, "effect": deep}, {**mint, "actions": deep}, deep):
        assert meaning_of({"version": "v1alpha1", "statements": [entry]}) == UNREADABLE
    assert meaning_of({"version": deep, "statements": []}) == UNREADABLE
