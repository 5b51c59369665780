"""Laws of injection: 1 to 6 of the house style."""

import copy
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import strategies
from builders import (
    ISSUER,
    Json,
    container,
    inject,
    parsed_binding,
    parsed_federation,
    pod,
    resolved,
    sources,
    words,
)
from caios_federation.api.binding import Binding
from caios_federation.core.injection import (
    Skip,
    Sources,
    annotation_problems,
    opted_out,
    resolve,
)
from caios_federation.core.plan import Placement, Plan, plan
from caios_federation.core.pod import read_pod

KINDS = ("initContainers", "containers")


def carried_out(raw: Json, planned: Plan) -> Json:
    """Return the Pod that a plan means, made by plain assignments: the oracle for the patch."""
    after = copy.deepcopy(raw)
    for key, marks in (("labels", planned.labels), ("annotations", planned.annotations)):
        if marks:
            after["metadata"] = after.get("metadata") or {}
            after["metadata"][key] = {**(after["metadata"].get(key) or {}), **marks}
    if planned.volume:
        token = {
            "audience": planned.volume.audience,
            "expirationSeconds": planned.volume.expiration_seconds,
            "path": planned.volume.token_file,
        }
        projections: list[Json] = [{"serviceAccountToken": token}]
        if planned.volume.with_config:
            field = {"fieldPath": "metadata.annotations['caios.coreweave.com/aws-config']"}
            item = {"path": "aws-config", "fieldRef": field}
            projections += [{"downwardAPI": {"items": [item]}}]
        volume = {"name": planned.volume.name, "projected": {"sources": projections}}
        after["spec"]["volumes"] = [*(after["spec"].get("volumes") or ()), volume]
    for addition in planned.additions:
        kind, index = addition.container.path.split("/")[2:]
        item = after["spec"][kind][int(index)]
        if addition.env:
            env = [{"name": name, "value": text} for name, text in addition.env]
            item["env"] = [*(item.get("env") or ()), *env]
        if addition.mount:
            name, path = addition.mount
            mount = {"name": name, "mountPath": path, "readOnly": True}
            item["volumeMounts"] = [*(item.get("volumeMounts") or ()), mount]
    return after


def lost(before: object, after: object, path: str = "") -> list[str]:
    """Return the paths of what was there before and is not there after, at the same place."""
    match before:
        case dict():
            if not isinstance(after, dict):
                return [path]
            kept = [(key, value) for key, value in before.items() if key in after]
            gone = [f"{path}/{key}" for key in before if key not in after]
            return [*gone, *(x for k, v in kept for x in lost(v, after[k], f"{path}/{k}"))]
        case list():
            if not isinstance(after, list) or len(after) < len(before):
                return [path]
            pairs = enumerate(zip(before, after, strict=False))
            return [x for n, (one, other) in pairs for x in lost(one, other, f"{path}/{n}")]
        case None:  # a null is what an absent list or map may be written as
            return [] if after is None or isinstance(after, dict | list) else [path]
        case _:
            return [] if type(before) is type(after) and before == after else [path]


def of(raw: Json) -> list[Json]:
    """Return all containers that could be injected."""
    return [item for kind in KINDS for item in raw["spec"].get(kind) or ()]


def repeated(items: Iterable[Json] | None, key: str) -> set[object]:
    """Return what stands more than once at `key` of the items."""
    values = [item[key] for item in items or ()]
    return {value for value in values if values.count(value) > 1}


@given(strategies.pods(unique=False), strategies.all_sources())
def test_a_second_pass_adds_nothing(raw: Json, has_a_say: Sources) -> None:
    assert inject(inject(raw, has_a_say).pod, has_a_say).operations == []


@given(strategies.pods(), strategies.injecting_sources(), st.data())
def test_a_pass_after_others_changed_the_pod_is_the_last_one(
    raw: Json, has_a_say: Sources, data: st.DataObject
) -> None:
    changed = data.draw(strategies.changed_by_others(inject(raw, has_a_say).pod))
    assert inject(inject(changed, has_a_say).pod, has_a_say).operations == []


@given(strategies.pods(), strategies.injecting_sources(), st.data())
def test_filled_in_defaults_alone_bring_nothing_new(
    raw: Json, has_a_say: Sources, data: st.DataObject
) -> None:
    """Whatever is added then is for containers that came since."""
    once = inject(raw, has_a_say)
    changed = data.draw(strategies.changed_by_others(once.pod))
    late = {f"late-{kind.lower()}" for kind in KINDS}
    again = inject(changed, has_a_say)
    unchanged = [item for item in of(again.pod) if item["name"] not in late]
    assert unchanged == of(once.pod)


@given(strategies.pods(), strategies.all_sources(), strategies.all_sources())
def test_a_binding_that_changes_between_two_passes_settles(
    raw: Json, before: Sources, now: Sources
) -> None:
    twice = inject(inject(raw, before).pod, now).pod
    assert inject(twice, now).operations == []


@given(strategies.pods(unique=False), strategies.all_sources())
def test_whatever_was_there_is_there_at_the_same_place(raw: Json, has_a_say: Sources) -> None:
    assert lost(raw, inject(raw, has_a_say).pod) == []


@given(strategies.pods(unique=False), strategies.injecting_sources())
def test_all_operations_are_additions_that_make_the_planned_pod(
    raw: Json, has_a_say: Sources
) -> None:
    seen = read_pod(raw)
    values = resolved(has_a_say, seen.annotations)
    injected = inject(raw, has_a_say)
    assert {operation["op"] for operation in injected.operations} <= {"add"}
    assert injected.pod == carried_out(raw, plan(seen, values, Placement()))


@given(strategies.pods(), strategies.all_sources())
def test_a_skip_changes_nothing(raw: Json, has_a_say: Sources) -> None:
    injected = inject(raw, has_a_say)
    skipped = injected.skipped is not None
    assert skipped == (opted_out(read_pod(raw)) is not None or isinstance(resolve(has_a_say), Skip))
    assert not (skipped and injected.operations)


@given(strategies.pods(), st.sets(strategies.container_names, min_size=1))
def test_containers_outside_the_selection_stay_as_they_were(raw: Json, names: set[str]) -> None:
    only = sources(bound=parsed_binding(containers={"only": sorted(names)}, client={}))
    before = [json.dumps(item) for item in of(raw) if item["name"] not in names]
    after = [json.dumps(item) for item in of(inject(raw, only).pod) if item["name"] not in names]
    assert after == before


@given(strategies.pods(), strategies.injecting_sources())
def test_no_container_comes_or_goes_and_ephemeral_ones_stay_as_they_were(
    raw: Json, has_a_say: Sources
) -> None:
    after = inject(raw, has_a_say).pod
    assert after["spec"].get("ephemeralContainers") == raw["spec"].get("ephemeralContainers")
    assert [item["name"] for item in of(after)] == [item["name"] for item in of(raw)]


@given(strategies.pods(), strategies.injecting_sources())
def test_names_that_were_unique_are_unique_after(raw: Json, has_a_say: Sources) -> None:
    after = inject(raw, has_a_say).pod
    assert repeated(after["spec"].get("volumes"), "name") == set()
    for item in of(after):
        assert repeated(item.get("volumeMounts"), "mountPath") == set()
        assert repeated(item.get("env"), "name") == set()


@given(strategies.pods(), strategies.injecting_sources())
def test_a_container_has_both_halves_of_a_pair_or_neither(raw: Json, has_a_say: Sources) -> None:
    """What was added names a file that is there: its volume is mounted, and is ours."""
    after = inject(raw, has_a_say).pod
    projected = {item["name"]: item.get("projected") for item in after["spec"].get("volumes") or ()}
    for old, item in zip(of(raw), of(after), strict=True):
        had = {entry["name"] for entry in old.get("env") or ()}
        added = {entry["name"] for entry in item.get("env") or ()} - had
        pair = {"AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"}
        assert added & pair in (set(), pair)
        if added & {*pair, "AWS_CONFIG_FILE"}:
            paths = {mount["mountPath"].strip("/"): mount["name"] for mount in item["volumeMounts"]}
            volume = projected[paths[Placement().mount_path.strip("/")]]
            assert "serviceAccountToken" in volume["sources"][0]
            assert "AWS_CONFIG_FILE" not in added or "downwardAPI" in volume["sources"][-1]


@given(strategies.pods(), strategies.injecting_sources())
def test_a_volume_is_added_only_where_it_is_mounted(raw: Json, has_a_say: Sources) -> None:
    after = inject(raw, has_a_say).pod
    added = (after["spec"].get("volumes") or [])[len(raw["spec"].get("volumes") or []) :]
    mounted = {mount["name"] for item in of(after) for mount in item.get("volumeMounts") or ()}
    assert {volume["name"] for volume in added} <= mounted


EXPIRATIONS = ("pod", "binding", "account", "federation")
numbers = st.integers(-1000, 100_000)
texts = numbers.map(str) | st.sampled_from(["soon", "", "1e3", " 900 "])


@given(
    st.fixed_dictionaries({}, optional={"pod": texts, "binding": numbers, "account": texts}),
    st.fixed_dictionaries({}, optional={"binding": numbers, "account": texts}),
    numbers,
    numbers,
)
def test_a_lower_source_never_changes_an_expiration_that_a_higher_one_states(
    says: dict[str, Any], lower: dict[str, Any], one: int, other: int
) -> None:
    def won(says: dict[str, Any], federal: int) -> int:
        account = words(token_expiration=says["account"]) if "account" in says else {}
        pod_annotations = words(token_expiration=says["pod"]) if "pod" in says else {}
        has_a_say = sources(
            account=account,
            bound=parsed_binding(tokenExpirationSeconds=says.get("binding")),
            federated=parsed_federation(tokenExpirationSeconds=federal),
        )
        return resolved(has_a_say, pod_annotations).token_expiration_seconds

    def states(text: object) -> bool:
        return text is not None and str(text).strip().lstrip("-").isdigit()

    highest = next((name for name in EXPIRATIONS if states(says.get(name))), "federation")
    below = EXPIRATIONS[EXPIRATIONS.index(highest) + 1 :]
    changed = {**says, **{name: value for name, value in lower.items() if name in below}}
    federal = one if highest == "federation" else other
    assert won(says, one) == won(changed, federal)
    assert 600 <= won(says, one) <= 86400


@given(st.tuples(*[st.none() | strategies.audiences] * 3), strategies.audiences)
def test_a_lower_source_never_changes_an_audience_that_a_higher_one_states(
    says: tuple[str | None, str | None, str | None], other: str
) -> None:
    def won(says: list[str | None]) -> str:
        binding, account, federal = says
        return resolved(
            sources(
                account=words(inject="true", audience=account or ""),
                bound=parsed_binding(audience=binding),
                federated=parsed_federation(audience=federal),
            )
        ).audience

    stated = [bool(text and text.strip()) for text in says]
    first = stated.index(True) if True in stated else len(says)
    for lower in range(first + 1, len(says)):
        changed = [*says]
        changed[lower] = other
        assert won([*says]) == won(changed)
    assert won([*says]).strip()


wild = st.builds(
    lambda text, times: text * times,
    st.text(min_size=1, max_size=5) | st.sampled_from(["x", "\n", "\U000e0001", "'", "\u2028"]),
    st.sampled_from([1, 30, 300]),
)


@st.composite
def _wild_pods(draw: strategies.Draw) -> Json:
    """Return a Pod whose texts are of any length and of any characters."""
    everything = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ROLE_ARN"}
    everything |= {"AWS_DEFAULT_PROFILE", "AWS_SHARED_CREDENTIALS_FILE"}
    everything |= {"AWS_WEB_IDENTITY_TOKEN_FILE"}
    env = st.sampled_from([{}, dict.fromkeys(everything, "x"), {"AWS_CONTAINER_X": "x"}])
    place = Placement().mount_path
    paths = st.sampled_from([place, "/var"]) | wild.map(lambda text: f"{place}/{text}")
    taken = st.dictionaries(wild, paths, max_size=1)
    return pod(
        *[
            container(draw(wild), env=draw(env), mounts=draw(taken))
            for _ in range(draw(st.integers(1, 2)))
        ],
        volumes=[{"name": draw(wild), "projected": {}}],
        annotations=words(
            token_expiration=draw(wild),
            skip_containers=",".join(draw(st.lists(wild, max_size=5))),
            principal=draw(wild),
        ),
    )


@given(
    _wild_pods(),
    st.dictionaries(
        st.sampled_from(["inject", "audience", "federation", "token_expiration"]),
        wild | st.just("true"),
    ),
    st.tuples(st.just("team-a") | wild, st.just("reader") | wild),
    st.sampled_from([(None, True), (parsed_binding(), True), (parsed_binding(), False)]),
    st.booleans(),
)
def test_a_warning_is_printable_and_as_short_as_the_api_server_passes_on(
    raw: Json,
    says: dict[str, str],
    names: tuple[str, str],
    bound: tuple[Binding | None, bool],
    federated: bool,
) -> None:
    binding, valid = bound
    has_a_say = Sources(
        *names,
        annotations=words(**says),
        binding=binding and replace(binding, ours=not valid),
        federation=parsed_federation() if federated else None,
        discovered_issuer=ISSUER,
    )
    for warning in (*inject(raw, has_a_say).warnings, *annotation_problems(has_a_say)):
        assert len(warning) <= 256
        assert warning.isprintable()
