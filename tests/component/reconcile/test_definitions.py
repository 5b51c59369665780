"""CRDs that are applied, refused, or not served."""

from collections.abc import Mapping

import pytest
from aiohttp import web

from caios_federation.cli.crds import read_crds
from caios_federation.clients import errors
from caios_federation.reconcile.definitions import ensure_definitions
from component.clients.api_server import Answer, Seen, failure, reply, scripted

NAMES = ("a.example.com", "b.example.com")
WANTED = [
    {
        "metadata": {"name": name},
        "spec": {"versions": [{"name": "v1", "served": True, "storage": True}]},
    }
    for name in NAMES
]
SERVED = {"conditions": [{"type": "Established", "status": "True"}]}
NAMED_BADLY = {"conditions": [{"type": "NamesAccepted", "status": "False", "message": "in use"}]}


def cluster(
    *before: str, stored: str = "v1", after: Mapping[str, object] | None = None, generation: int = 2
) -> Answer:
    """Answer as an API server that has the CRDs `before`, and `after` as status of what came."""
    applied: set[str] = set()

    async def answer(request: Seen) -> web.StreamResponse:
        name = request.path.rpartition("/")[2]
        if request.method == "PATCH":
            applied.add(name)
            return reply(metadata={"name": name, "generation": generation})
        if name in applied:
            return reply(metadata={"name": name}, status=SERVED if after is None else after)
        if name not in before:
            return failure(404)
        return reply(
            metadata={"name": name, "generation": 1},
            spec={"versions": [{"name": "v1", "served": True}]},
            status={"storedVersions": [stored]},
        )

    return answer


async def ensured(answer: Answer, *, deadline_seconds: float = 5) -> tuple[list[str], list[str]]:
    """Return what is said, and what was written."""
    said: list[str] = []
    async with scripted(answer) as api:
        try:
            await ensure_definitions(
                api.client, WANTED, said.append, deadline_seconds=deadline_seconds
            )
        except errors.ClientError as error:
            said.append(str(error))
        return said, [asked for asked in api.asked if not asked.startswith("GET")]


PATH = "PATCH /apis/apiextensions.k8s.io/v1/customresourcedefinitions/"


async def test_each_crd_is_applied_and_its_fate_is_told() -> None:
    said, written = await ensured(cluster("b.example.com"))
    assert said == ["CRD a.example.com: created", "CRD b.example.com: upgraded"]
    assert written == [PATH + name for name in NAMES]


async def test_a_crd_that_says_the_same_already_is_unchanged() -> None:
    said, _ = await ensured(cluster(*NAMES, generation=1))
    assert said == [f"CRD {name}: unchanged" for name in NAMES]


async def test_a_crd_that_is_newer_is_left_alone_and_so_are_the_others() -> None:
    said, written = await ensured(cluster("b.example.com", stored="v2"))
    assert said[0].startswith("CRD b.example.com: the cluster's serves or has stored v2")
    assert (len(said), written) == (1, [])


async def test_a_crd_whose_names_are_taken_is_told_at_once() -> None:
    said, _ = await ensured(cluster(after=NAMED_BADLY))
    assert said == ["CRD a.example.com: not served: in use; kubectl get crd a.example.com -o yaml"]


async def test_a_crd_that_is_not_served_in_time_is_told() -> None:
    said, written = await ensured(cluster(after={}), deadline_seconds=0.2)
    assert said == [
        "CRD a.example.com: applied, but not served after 0.2 s; kubectl describe crd a.example.com"
    ]
    assert written == [PATH + "a.example.com"]


async def test_a_right_that_is_missing_is_told() -> None:
    async def answer(_request: Seen) -> web.StreamResponse:
        return failure(403, "forbidden: get")

    said, _ = await ensured(answer)
    assert said[0].endswith("403 forbidden: get")


@pytest.mark.parametrize("at", [0, 1])
def test_the_crds_of_the_checkout_are_those_of_the_release(at: int) -> None:
    names = ("federatedstoragebindings", "storagefederations")
    assert f"name: {names[at]}.caios.coreweave.com" in read_crds()[at]
