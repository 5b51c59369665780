"""Identities that come, are used, change and go, some at a time, for as long as it lasts."""

from __future__ import annotations

import http.client
import itertools
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from types import TracebackType
from typing import Self

from caios_federation.api import vocabulary as words
from caios_testbed.cluster.api import Api
from caios_testbed.podload import pods
from caios_testbed.podload.pods import Account
from e2e.production.site import Json

PATIENCE_SECONDS = 180.0
"""For one step, through restarts of the API server and of what watches it."""
POLL_SECONDS = 0.5
KEPT = 20
"""How many of what went wrong are kept."""


class WrongError(Exception):
    """Something is not as it should be, or did not become so."""


@dataclass(slots=True)
class Churn:
    """Lives of identities in `namespace`, which must be there; it runs inside of a `with`.

    Half of the ServiceAccounts are annotated: a Pod right after one has to be injected. All get a
    binding with grants, which is changed, and goes before its ServiceAccount does.
    """

    api: Api
    namespace: str
    workers: int = 3
    lives: int = 0
    """How many have ended as they should."""
    wrong: list[str] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=itertools.count)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __enter__(self) -> Self:
        for number in range(self.workers):
            thread = threading.Thread(target=self._work, name=f"churn-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while not self._over.is_set():
            with self._lock:
                number = next(self._numbers)
            try:
                self._live(number)
            except Exception as error:  # noqa: BLE001  # noted; the test fails for it in the end
                with self._lock:
                    self.wrong[KEPT:] = []
                    self.wrong.append(f"life {number}: {type(error).__name__}: {error}")
            else:
                with self._lock:
                    self.lives += 1

    def _live(self, number: int) -> None:
        name, annotated = f"life-{number}", number % 2 == 0
        accounts = f"/api/v1/namespaces/{self.namespace}/serviceaccounts"
        annotations = {words.INJECT: words.TRUE} if annotated else {}
        self._make(accounts, {"kind": "ServiceAccount"}, name, annotations)
        if annotated and not self._pod(name, "first"):
            raise WrongError(f"a Pod right after its ServiceAccount {name} is not injected")

        own = f"{name}-data"  # of another name than the one that the operator makes
        self._make(self._bindings, self._binding(name, "ReadOnly"), own)
        self._until(lambda: self._ready(own), f"binding {own} is Ready")
        # A webhook whose watch was broken a moment ago hears of the binding a little later.
        tries = itertools.count()
        self._until(lambda: self._pod(name, f"bound-{next(tries)}"), f"{name} is injected")

        self._until(lambda: self._change(own, name, "ReadWrite"), f"binding {own} is changed")
        self._until(lambda: self._ready(own), f"changed binding {own} is Ready")
        self._call("DELETE", f"{self._bindings}/{own}")
        self._until(lambda: self._read(own) is None, f"binding {own} is gone")
        self._call("DELETE", f"{accounts}/{name}")
        self._until(lambda: self._read(name) is None, f"the operator's binding {name} is gone")
        selector = f"labelSelector=life%3D{name}&gracePeriodSeconds=0"
        self._call("DELETE", f"/api/v1/namespaces/{self.namespace}/pods?{selector}")

    def _pod(self, name: str, suffix: str) -> bool:
        """Create a Pod; tell whether it was injected."""
        body = pods.pod(f"{name}-{suffix}", Account(name, expected=True), {"life": name})
        path = f"/api/v1/namespaces/{self.namespace}/pods"
        stored = self._call("POST", path, body)
        if stored.get("kind") != "Pod":  # an earlier attempt, whose answer was lost, has made it
            stored = self._call("GET", f"{path}/{name}-{suffix}")
        return pods.injected(stored)

    def _binding(self, name: str, access: str) -> Json:
        grants = [{"name": "data", "buckets": [f"{name}-data"], "access": access}]
        return {
            "apiVersion": words.API_VERSION,
            "kind": words.BINDING_KIND,
            "spec": {"serviceAccountName": name, "client": {}, "grants": grants},
        }

    def _change(self, binding: str, name: str, access: str) -> bool:
        found = self._call("GET", f"{self._bindings}/{binding}")
        found["spec"] = self._binding(name, access)["spec"]
        answer = self._call("PUT", f"{self._bindings}/{binding}", found)
        return answer.get("kind") == words.BINDING_KIND

    def _ready(self, name: str) -> bool:
        found = self._read(name) or {"metadata": {}}
        status = found.get("status", {})
        conditions = {c["type"]: c["status"] for c in status.get("conditions", ())}
        current = status.get("observedGeneration") == found["metadata"].get("generation")
        return current and conditions.get("Ready") == "True"

    def _read(self, name: str) -> Json | None:
        found = self._call("GET", f"{self._bindings}/{name}")
        return found if found.get("kind") == words.BINDING_KIND else None

    def _make(
        self, path: str, body: Json, name: str, annotations: dict[str, str] | None = None
    ) -> None:
        metadata = {"name": name, "namespace": self.namespace, "annotations": annotations or {}}
        self._call("POST", path, {"apiVersion": "v1", **body, "metadata": metadata})

    def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        """Return the answer, a Status for what is gone or in the way, of a call that is repeated.

        Raises WrongError for one that is refused.
        """
        until = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                status, text = self.api.call(method, path, body)
            except (OSError, http.client.HTTPException) as error:
                status, text = 0, str(error).encode()
            if status in {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT} or 0 < status < 300:
                found: Json = json.loads(text)
                return found
            if time.monotonic() > until:
                raise WrongError(f"{method} {path}: {status} {pods.message(text)}")
            time.sleep(POLL_SECONDS)

    def _until(self, condition: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > until:
                raise WrongError(f"not within {PATIENCE_SECONDS:.0f} s: {what}")
            time.sleep(POLL_SECONDS)

    @property
    def _bindings(self) -> str:
        group = f"/apis/{words.API_VERSION}/namespaces/{self.namespace}"
        return f"{group}/{words.BINDINGS}"
