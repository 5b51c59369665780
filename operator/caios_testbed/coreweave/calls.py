"""One call of the control API, however it arrived: REST and Connect look the same from here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from caios_testbed.coreweave.errors import ApiError, Code
from caios_testbed.coreweave.evaluation import Decision, Request, decide_organization
from caios_testbed.coreweave.requestlog import Entry
from caios_testbed.coreweave.state import Caller, State


@dataclass(frozen=True, slots=True)
class Call:
    """What was sent, and where to note what came of it."""

    state: State
    message: Mapping[str, Any] = field(repr=False)
    """The body's fields and those of the path."""
    authorization: str = field(repr=False)
    entry: Entry

    def text(self, name: str) -> str:
        """Return a string that must be there. Raises ApiError with INVALID_ARGUMENT."""
        value = self.message.get(name)
        if not isinstance(value, str) or not value:
            raise ApiError(Code.INVALID_ARGUMENT, f"{name}: must be a string that is not empty")
        return value

    def caller(self) -> Caller:
        """Return whose API token this is. Raises ApiError with UNAUTHENTICATED."""
        scheme, _, token = self.authorization.partition(" ")
        caller = self.state.callers.get(token) if scheme.lower() == "bearer" else None
        if caller is None:
            raise ApiError(Code.UNAUTHENTICATED, "the API token is missing or not valid")
        self.entry.principal = caller.principal
        return caller

    def require(self, action: str) -> Caller:
        """Return the caller, who must hold `action`.

        The IAM role Object Storage Admin has all of `cwobject:*`; others need an organization
        policy. Raises ApiError with UNAUTHENTICATED or PERMISSION_DENIED.
        """
        caller = self.caller()
        decision = self.may(caller, action, "*")
        self.note(decision)
        if not decision.allowed:
            raise ApiError(Code.PERMISSION_DENIED, "permission denied")
        return caller

    def may(self, caller: Caller, action: str, resource: str) -> Decision:
        """Decide about a caller of the control API."""
        request = Request(caller.principal, self.state.organization, action, resource)
        if caller.admin and action.startswith("cwobject:"):
            return Decision(allowed=True, reason=f"Object Storage Admin allows {request}")
        return decide_organization(self.state.effective_policies(), request)

    def administrator(self) -> Caller:
        """Return the caller, who must be an administrator: OIDC configurations are IAM's.

        Raises ApiError with UNAUTHENTICATED or PERMISSION_DENIED.
        """
        caller = self.caller()
        if not caller.admin:
            raise ApiError(Code.PERMISSION_DENIED, "permission denied")
        return caller

    def note(self, decision: Decision) -> None:
        """Keep a decision for the request log."""
        self.entry.decision = "allowed" if decision.allowed else "denied"
        self.entry.reason = decision.reason


Operation = Callable[[Call], Awaitable[dict[str, Any]]]
