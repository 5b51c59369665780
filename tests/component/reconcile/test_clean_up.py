"""Cleaning up where the API server refuses, fails or changes its mind."""

from collections.abc import Callable

from aiohttp import web

import builders
from caios_federation.core.uninstall import Report
from caios_federation.reconcile.clean_up import clean_up
from caios_federation.settings import Settings
from component.clients.api_server import Answer, Seen, failure, reply, scripted

FINALIZER = "caios.coreweave.com/policy"
FSBS = "/apis/caios.coreweave.com/v1alpha1/federatedstoragebindings"
FSBS_THERE = "/apis/caios.coreweave.com/v1alpha1/namespaces/team-a/federatedstoragebindings"
FSB = f"{FSBS_THERE}/reader"
Special = Callable[[Seen], web.StreamResponse | None]
SETTINGS = Settings(namespace="caios")


def binding(version: int, *finalizers: str) -> builders.Json:
    body = builders.binding()
    body["metadata"] |= {"resourceVersion": str(version), "finalizers": list(finalizers)}
    return body


def cluster(special: Special) -> Answer:
    """Answer as a cluster with nothing but what `special` answers."""

    async def answer(request: Seen) -> web.StreamResponse:
        return special(request) or failure(404)

    return answer


async def cleaned(
    special: Callable[[Seen], web.StreamResponse | None],
) -> tuple[Report, list[Seen]]:
    report = Report(SETTINGS.namespace)
    async with scripted(cluster(special)) as api:
        await clean_up(api.client, SETTINGS, report)
        return report, api.seen


async def test_an_empty_cluster_needs_nothing() -> None:
    report, seen = await cleaned(lambda _request: None)
    assert (report.removed, report.failures, report.unknown) == ([], [], [])
    assert {request.method for request in seen} == {"GET"}


async def test_the_webhook_configuration_comes_first() -> None:
    _, seen = await cleaned(lambda _request: None)
    assert seen[0].path.endswith("/mutatingwebhookconfigurations/caios-federation")


async def test_a_conflict_is_tried_again_on_what_is_there_then() -> None:
    def special(request: Seen) -> web.StreamResponse | None:
        if request.path == FSBS:
            return reply(items=[binding(1, FINALIZER)])
        if request.path == FSBS_THERE:
            return reply(items=[binding(2, FINALIZER, "example.com/theirs")])
        if request.path != FSB:
            return None
        version = request.json["metadata"]["resourceVersion"]
        return failure(409) if version == "1" else reply(**binding(3))

    report, seen = await cleaned(special)
    written = [request.json["metadata"] for request in seen if request.method == "PATCH"]
    assert [body["finalizers"] for body in written] == [[], ["example.com/theirs"]]
    assert len(report.removed) == 1
    assert report.failures == []


async def test_conflicts_without_end_are_given_up_with_the_command() -> None:
    def special(request: Seen) -> web.StreamResponse | None:
        if request.path == FSBS:
            return reply(items=[binding(1, FINALIZER)])
        if request.path == FSBS_THERE:
            return reply(items=[binding(2, FINALIZER)])
        return failure(409) if request.path == FSB else None

    report, _ = await cleaned(special)
    (failed,) = report.failures
    assert failed.by_hand.startswith("kubectl patch fsb -n team-a reader ")
    assert report.bindings == 1


async def test_a_binding_that_goes_meanwhile_is_fine() -> None:
    def special(request: Seen) -> web.StreamResponse | None:
        return reply(items=[binding(1, FINALIZER)]) if request.path == FSBS else None

    report, _ = await cleaned(special)
    assert (report.removed, report.failures, report.bindings) == ([], [], 0)


async def test_a_binding_that_goes_between_two_tries_is_fine() -> None:
    def special(request: Seen) -> web.StreamResponse | None:
        if request.path in {FSBS, FSBS_THERE}:
            return reply(items=[binding(1, FINALIZER)] if request.path == FSBS else [])
        return failure(409) if request.path == FSB else None

    report, _ = await cleaned(special)
    assert (report.removed, report.failures, report.bindings) == ([], [], 0)


async def test_a_list_that_took_too_long_begins_again() -> None:
    pages = iter([failure(410), failure(410), reply(items=[binding(1)])])
    report, _ = await cleaned(lambda request: next(pages, None) if request.path == FSBS else None)
    assert (report.failures, report.bindings) == ([], 1)


async def test_bindings_that_cannot_be_listed_are_a_failure() -> None:
    report, _ = await cleaned(
        lambda request: failure(403, "forbidden") if request.path == FSBS else None
    )
    (failed,) = report.failures
    assert FINALIZER in failed.what
    assert "forbidden" in failed.why


async def test_what_only_says_more_about_the_rest_is_no_failure() -> None:
    def special(request: Seen) -> web.StreamResponse | None:
        last = request.path.rpartition("/")[2]
        denied = {"storagefederations", "caios-federation-retained-policies"}
        return failure(403, "forbidden") if last in denied else None

    report, _ = await cleaned(special)
    assert report.failures == []
    assert len(report.unknown) == 2


async def test_policies_that_outlive_their_bindings_are_named() -> None:
    def special(request: Seen) -> web.StreamResponse | None:
        if request.path.endswith("/configmaps/caios-federation-retained-policies"):
            return reply(data={"cks-1-gone": "team-a/gone"})
        return None

    report, _ = await cleaned(special)
    assert report.retained == {"cks-1-gone": "team-a/gone"}
