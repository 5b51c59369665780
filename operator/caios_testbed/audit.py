"""What the API server's audit log says of the requests of given users.

The log's entries: https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
"""

from __future__ import annotations

import datetime as dt
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

Entry = Mapping[str, Any]
"""One line of the log: JSON."""
DECISION = "authorization.k8s.io/decision"
"""Annotation of a request: whether it was authorized."""
FAILED_OPEN = "failed-open.mutation.webhook.admission.k8s.io/"
"""Annotations of a request that name each webhook which was called in vain, and ignored.

https://kubernetes.io/docs/reference/labels-annotations-taints/audit-annotations/
"""


@dataclass(frozen=True, slots=True, order=True)
class Use:
    """One request as its authorization saw it; equal ones are made many times."""

    verb: str
    resource: str = ""
    """With its subresource: `pods/eviction`. Empty for a `url`."""
    group: str = ""
    namespace: str = ""
    name: str = ""
    """Empty where the request names no object: a list, or the creation of one."""
    url: str = ""
    """The path, where it leads to no resource."""
    code: int = 0
    """Status of the answer."""
    allowed: bool = False
    """Whether it is known that the right was there: admission answers 403 too."""

    @property
    def refused(self) -> bool:
        """Whether the right was missing."""
        return self.code == HTTPStatus.FORBIDDEN and not self.allowed


def requests_of(
    audit_log: Path, usernames: Collection[str], since: dt.datetime | None = None
) -> set[Use]:
    """Return what the users with these names did, or asked for `since` then.

    Rotated files are included.
    """
    return {
        use
        for entry in entries(audit_log)
        # Who is not known at all has no name.
        if entry["user"].get("username") in usernames
        and (since is None or _received(entry) >= since)
        for use in uses(entry)
    }


def failed_open(audit_log: Path) -> Iterator[tuple[dt.datetime, str]]:
    """Yield when a request came, and which webhook was called for it in vain and ignored."""
    for entry in entries(audit_log):
        for key, webhook in (entry.get("annotations") or {}).items():
            if key.startswith(FAILED_OPEN):
                yield dt.datetime.fromisoformat(entry["requestReceivedTimestamp"]), webhook


def log_files(audit_log: Path) -> list[Path]:
    """Return the log's files, the oldest first: rotated ones have the time in their name."""
    rotated = audit_log.parent.glob(f"{audit_log.stem}-*{audit_log.suffix}")
    return [*sorted(rotated), audit_log]


def entries(audit_log: Path) -> Iterator[Entry]:
    """Yield every entry, oldest first. A line that is still being written is left out.

    Each file is held open while it is read, so that a rotation meanwhile takes nothing away. One
    that happens between the listing and the opening would: then the listing is taken anew.
    """
    seen: set[int] = set()
    while files := [path for path in log_files(audit_log) if path.stat().st_ino not in seen]:
        with files[0].open("rb") as file:
            seen.add(os.fstat(file.fileno()).st_ino)
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def resource_of(entry: Entry) -> str:
    """Return the resource and subresource of a request; empty where it is about none."""
    ref = entry.get("objectRef", {})
    return "/".join(filter(None, (ref.get("resource", ""), ref.get("subresource", ""))))


def uses(entry: Entry) -> list[Use]:
    """Return which rights a request took.

    An apply or update that made its object was authorized as a creation of that name, too; the
    log has one entry for both.
    """
    code = entry.get("responseStatus", {}).get("code", 0)
    decision = (entry.get("annotations") or {}).get(DECISION)
    allowed = code == HTTPStatus.FORBIDDEN and decision == "allow"
    verb, ref = entry["verb"], entry.get("objectRef")
    if ref is None:
        return [Use(verb, url=urlsplit(entry["requestURI"]).path, code=code)]
    # The log completes the name of a new object from its body, which authorization does not read.
    named = verb != "create" or "subresource" in ref
    use = Use(
        verb,
        resource_of(entry),
        ref.get("apiGroup", ""),
        ref.get("namespace", ""),
        ref.get("name", "") if named else "",
        code=code,
        allowed=allowed,
    )
    if verb in {"patch", "update"} and code == HTTPStatus.CREATED:
        return [use, Use("create", use.resource, use.group, use.namespace, use.name, code=code)]
    return [use]


def _received(entry: Entry) -> dt.datetime:
    return dt.datetime.fromisoformat(entry["requestReceivedTimestamp"])
