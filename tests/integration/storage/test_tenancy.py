"""Nobody gets more than the grant rules allow: every attempt, on a real API server and operator."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from caios_testbed.product import CommandError
from integration.product.conftest import wait_for
from integration.storage.conftest import Storage
from integration.storage.remote import Json
from tenancy import ATTEMPTS, NAMESPACES, RIGHTFUL, Bid, federations

BIDS = (*ATTEMPTS, *RIGHTFUL)
BY_SCHEMA = [bid for bid in ATTEMPTS if bid.refused_by == "schema"]
BY_RULES = [bid for bid in ATTEMPTS if bid.refused_by == "rules"]
REFUSED = ("False", "GrantNotAllowed")


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of every bid, by the name of its binding."""

    refusals: Mapping[str, str]
    """Messages of the API server."""
    conditions: Mapping[str, Mapping[str, Json]]
    """By type."""
    events: Mapping[str, list[Json]]
    stored: frozenset[str]
    """Names of all policies that ever were at CoreWeave."""


def _name(bid: Bid) -> str:
    """Return a name of the bid's own, so that all can be there at once."""
    return f"{bid.name}-{BIDS.index(bid):03}"


def _manifest(bid: Bid) -> Json:
    """Return the binding, with a ServiceAccount and a federation that are this module's."""
    federation = f"tenancy-{bid.spec['federationName']}"
    spec = {**bid.spec, "federationName": federation, "serviceAccountName": _name(bid)}
    return {
        **bid.manifest,
        "metadata": {"namespace": bid.namespace, "name": _name(bid)},
        "spec": spec,
    }


def _why(bid: Bid) -> str:
    return bid.why


@pytest.fixture(scope="module")
def answers(storage: Storage) -> Answers:
    """Apply all bids at once, and wait until each is judged."""
    storage.world.apply(*_surroundings(storage))
    refusals = _refusals(storage, [_manifest(bid) for bid in BIDS])
    accepted = [bid for bid in BIDS if _name(bid) not in refusals]
    bindings: dict[str, Mapping[str, Json]] = {}

    def unjudged() -> list[str]:
        bindings.update(_conditions(storage))
        return [bid.why for bid in accepted if not _judged(bindings.get(_name(bid), {}), bid)]

    wait_for(unjudged, [])
    storage.sweep()
    stored = frozenset(change.name for change in storage.remote.changes())
    return Answers(refusals, bindings, _events(storage), stored)


@pytest.mark.parametrize("attempt", BY_SCHEMA, ids=_why)
def test_the_api_server_refuses_it_with_a_message(answers: Answers, attempt: Bid) -> None:
    assert attempt.said in answers.refusals[_name(attempt)]


@pytest.mark.parametrize("attempt", BY_RULES, ids=_why)
def test_the_operator_refuses_it_in_condition_and_event(answers: Answers, attempt: Bid) -> None:
    name = _name(attempt)
    accepted, ready = (answers.conditions[name][kind] for kind in ("Accepted", "Ready"))
    assert (accepted["status"], accepted["reason"]) == REFUSED
    assert attempt.said in accepted["message"]
    assert (ready["status"], ready["reason"]) == REFUSED
    told = [(event["reason"], event["message"]) for event in answers.events[name]]
    assert ("GrantNotAllowed", accepted["message"]) in told
    assert [reason for reason, _ in told].count("GrantNotAllowed") == 1


@pytest.mark.parametrize("bid", RIGHTFUL, ids=_why)
def test_what_is_a_right_is_applied(storage: Storage, answers: Answers, bid: Bid) -> None:
    synced = answers.conditions[_name(bid)]["PolicySynced"]
    assert (synced["status"], synced["reason"]) == ("True", "Synced")
    assert storage.policy_name(bid.namespace, _name(bid)) in answers.stored


def test_nothing_of_an_attempt_was_ever_at_coreweave(storage: Storage, answers: Answers) -> None:
    names = {storage.policy_name(bid.namespace, _name(bid)): bid.why for bid in ATTEMPTS}
    assert {why for name, why in names.items() if name in answers.stored} == set()
    assert len(names) == len(ATTEMPTS)


def _surroundings(storage: Storage) -> list[Json]:
    """Return the namespaces and federations that the bids are about."""
    namespaces: list[Json] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        for name, labels in NAMESPACES.items()
    ]
    ours = [
        {
            **made,
            "metadata": {"name": f"tenancy-{made['metadata']['name']}"},
            "spec": {**made["spec"], "endpoints": {"api": storage.remote.emulator.url}},
        }
        for made in federations()
    ]
    return namespaces + ours


def _refusals(storage: Storage, manifests: list[Json]) -> dict[str, str]:
    """Apply all; return what the API server says of those that it refuses, by name."""
    with pytest.raises(CommandError) as caught:
        storage.world.apply(*manifests)
    return dict(re.findall(r'"([a-z0-9-]+)" is invalid: (.*)', str(caught.value)))


def _conditions(storage: Storage) -> dict[str, Mapping[str, Json]]:
    text = storage.world.kubectl.run("get", "fsb", "--all-namespaces", "-o=json")
    return {
        body["metadata"]["name"]: {c["type"]: c for c in body["status"]["conditions"]}
        for body in json.loads(text)["items"]
        if body["metadata"]["namespace"] in NAMESPACES and "conditions" in body.get("status", {})
    }


def _judged(conditions: Mapping[str, Json], bid: Bid) -> bool:
    wanted = "PolicySynced" if bid in RIGHTFUL else "Accepted"
    status = str(bid in RIGHTFUL)
    return conditions.get(wanted, {}).get("status") == status


def _events(storage: Storage) -> dict[str, list[Json]]:
    text = storage.world.kubectl.run("get", "events", "--all-namespaces", "-o=json")
    found: dict[str, list[Any]] = {}
    for event in json.loads(text)["items"]:
        found.setdefault(event["involvedObject"]["name"], []).append(event)
    return found
