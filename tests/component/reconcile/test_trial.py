"""A Pod that is tried without being stored."""

import pytest
from aiohttp import web

from caios_federation.clients import errors
from caios_federation.reconcile.trial import Trial, is_switched_off, try_injection
from component.clients.api_server import Answer, Seen, failure, reply, scripted

ACCOUNTS = "/api/v1/namespaces/team-a/serviceaccounts"
PODS = "/api/v1/namespaces/team-a/pods"
MADE = {"name": "caios-federation-check-x", "uid": "uid-1"}


def cluster(*, pods: int = 200, deletion: int = 200) -> Answer:
    """Answer as a cluster in which Pods are left as they are, with a warning."""

    async def answer(request: Seen) -> web.StreamResponse:
        if request.method == "DELETE":
            return reply(kind="Status") if deletion < 400 else failure(deletion, "no")
        if request.path == ACCOUNTS:
            return reply(metadata=MADE)
        if pods >= 400:
            return failure(pods, "violates PodSecurity")
        response = web.json_response(request.json)
        response.headers["Warning"] = '299 - "StorageFederation default does not exist"'
        return response

    return answer


async def tried(
    answer: Answer, account: str | None = None, *, deadline_seconds: float = 0
) -> tuple[Trial, list[Seen]]:
    async with scripted(answer) as api:
        trial = await try_injection(
            api.client, "team-a", account, deadline_seconds=deadline_seconds
        )
        return trial, api.seen


async def test_a_service_account_is_made_tried_and_deleted() -> None:
    trial, seen = await tried(cluster())
    assert [(each.method, each.path) for each in seen] == [
        ("POST", ACCOUNTS),
        ("POST", PODS),
        ("DELETE", f"{ACCOUNTS}/{MADE['name']}"),
    ]
    assert seen[1].query["dryRun"] == "All"
    assert seen[1].json["spec"]["serviceAccountName"] == MADE["name"]
    assert seen[2].json == {"preconditions": {"uid": "uid-1"}}
    assert len(trial.missing) == 7


async def test_what_the_webhook_says_is_passed_on() -> None:
    trial, _ = await tried(cluster())
    assert trial.warnings == ("StorageFederation default does not exist",)


async def test_a_service_account_that_is_named_is_used_and_left_alone() -> None:
    _, seen = await tried(cluster(), "reader")
    assert [(each.method, each.path) for each in seen] == [("POST", PODS)]
    assert seen[0].json["spec"]["serviceAccountName"] == "reader"


async def test_it_is_tried_again_while_there_is_time() -> None:
    _, seen = await tried(cluster(), "reader", deadline_seconds=1.5)
    assert [each.path for each in seen] == [PODS, PODS]


async def test_the_service_account_goes_when_the_pod_is_refused() -> None:
    async with scripted(cluster(pods=403)) as api:
        with pytest.raises(errors.PermissionDenied, match="violates PodSecurity"):
            await try_injection(api.client, "team-a", None, deadline_seconds=5)
        assert api.asked[-1] == f"DELETE {ACCOUNTS}/{MADE['name']}"


async def test_a_service_account_that_cannot_be_deleted_is_named() -> None:
    async with scripted(cluster(deletion=403)) as api:
        with pytest.raises(errors.PermissionDenied) as refused:
            await try_injection(api.client, "team-a", None, deadline_seconds=0)
    assert refused.value.__notes__ == [
        "left behind: kubectl delete serviceaccount -n team-a caios-federation-check-x"
    ]


async def test_a_label_of_the_namespace_is_seen_where_it_may_be_read() -> None:
    answers = {
        "off": reply(metadata={"labels": {"caios.coreweave.com/inject": "false"}}),
        "on": reply(metadata={"labels": {"caios.coreweave.com/inject": "true"}}),
        "secret": failure(403, "forbidden"),
    }

    async def answer(request: Seen) -> web.StreamResponse:
        return answers[request.path.removeprefix("/api/v1/namespaces/")]

    async with scripted(answer) as api:
        assert [await is_switched_off(api.client, name) for name in answers] == [True, False, False]
