"""The Pods of a load, their ServiceAccounts, and what an answer of the API server says of one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import Any

from caios_federation.api import vocabulary as words

RUN = "caios-testbed/load"
BATCH = "caios-testbed/batch"
"""Labels by which the Pods of a load are deleted in bulk."""


@dataclass(frozen=True, slots=True)
class Account:
    """A ServiceAccount of a load."""

    name: str
    expected: bool
    """Whether its Pods are to be injected."""


ANNOTATED = Account("load-annotated", expected=True)
BOUND = Account("load-bound", expected=True)
PLAIN = Account("load-plain", expected=False)
ACCOUNTS = (ANNOTATED, BOUND, PLAIN)


class Answer(Enum):
    """What one attempt to create a Pod came to."""

    CREATED = auto()
    EXISTS = auto()
    """An earlier attempt, whose answer was lost, has made it."""
    AGAIN = auto()
    """The API server's own trouble: it says nothing about admission."""
    REFUSED = auto()


def manifests(namespace: str) -> list[dict[str, Any]]:
    """Return what a load needs in the cluster: its namespace, ServiceAccounts and binding."""
    accounts: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": account.name, "namespace": namespace},
        }
        for account in ACCOUNTS
    ]
    accounts[ACCOUNTS.index(ANNOTATED)]["metadata"]["annotations"] = {words.INJECT: words.TRUE}
    return [
        {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {
                "name": namespace,
                "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
            },
        },
        *accounts,
        {
            "apiVersion": words.API_VERSION,
            "kind": words.BINDING_KIND,
            "metadata": {"name": BOUND.name, "namespace": namespace},
            "spec": {"serviceAccountName": BOUND.name},
        },
    ]


def pod(name: str, account: Account, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a Pod that is stored and never started: its scheduling gate is never removed."""
    container = {
        "name": "app",
        "image": "example.com/app:1",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": dict(labels)},
        "spec": {
            "serviceAccountName": account.name,
            "schedulingGates": [{"name": "caios-testbed/never"}],
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": 65532,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "terminationGracePeriodSeconds": 0,
            "containers": [container],
        },
    }


def injected(stored: Mapping[str, Any]) -> bool:
    """Tell whether a stored Pod has label, volume and environment; raises ValueError for a half."""
    labels = stored["metadata"].get("labels") or {}
    volumes = stored["spec"].get("volumes") or ()
    env = {item["name"] for item in stored["spec"]["containers"][0].get("env") or ()}
    parts = {
        "label": labels.get(words.FEDERATED) == words.TRUE,
        "volume": any(volume["name"] == words.VOLUME_NAME for volume in volumes),
        "environment": {words.ENV_CREDENTIALS_URI, words.ENV_TOKEN_FILE} <= env,
    }
    if len(set(parts.values())) > 1:
        missing = ", ".join(name for name, there in parts.items() if not there)
        raise ValueError(f"Pod {stored['metadata']['name']} is injected but for: {missing}")
    return parts["label"]


def judge(status: int, body: bytes) -> Answer:
    """Say what the answer to the creation of a Pod, or to the reading of it afterwards, means.

    A 5xx may be the API server's own, or that of a webhook that it called in vain. `status` is 0
    where there was no answer.
    """
    if not status:
        return Answer.AGAIN
    if status in {HTTPStatus.CREATED, HTTPStatus.OK}:
        return Answer.CREATED
    told = message(body)
    if "webhook" in told:
        return Answer.REFUSED
    if status == HTTPStatus.CONFLICT and "already exists" in told:
        return Answer.EXISTS
    # A starting API server answers 403 so, until its admission plugins have read what they need.
    starting = "not yet ready to handle request" in told
    busy = status in {HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
    if starting or busy or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Answer.AGAIN
    return Answer.REFUSED


def message(body: bytes) -> str:
    """Return the text of a Status, or the beginning of what is none."""
    try:
        told: str = json.loads(body)["message"]
    except (ValueError, KeyError, TypeError):
        return body[:256].decode(errors="replace")
    return told
