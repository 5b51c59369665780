"""Everything the emulator knows, in one place, handed to whoever serves a request."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from caios_testbed.coreweave.clock import Clock
from caios_testbed.coreweave.configurations import ConfigurationStore
from caios_testbed.coreweave.faults import Faults
from caios_testbed.coreweave.issuers import Issuers, IssuerSource
from caios_testbed.coreweave.keys import KeyStore
from caios_testbed.coreweave.policies import Policy, PolicyStore
from caios_testbed.coreweave.requestlog import RequestLog
from caios_testbed.coreweave.settings import Knobs
from caios_testbed.coreweave.storage import Storage


@dataclass(frozen=True, slots=True)
class Caller:
    """Who an API token belongs to."""

    uid: str
    admin: bool
    """Holds the IAM roles IAM Admin and Object Storage Admin: everything but S3."""

    @property
    def principal(self) -> str:
        """The principal in policies."""
        return f"coreweave/{self.uid}"


def callers(admin_tokens: tuple[str, ...], limited_tokens: tuple[str, ...]) -> dict[str, Caller]:
    """Give each API token an owner; the uid depends on the order alone, never on the token."""
    numbered = [(token, True) for token in admin_tokens]
    numbered += [(token, False) for token in limited_tokens]
    return {
        token: Caller(str(uuid.uuid5(uuid.NAMESPACE_URL, f"caller-{index}")), admin)
        for index, (token, admin) in enumerate(numbered)
    }


@dataclass(slots=True)
class State:
    """One organization, alive."""

    organization: str
    callers: Mapping[str, Caller] = field(repr=False)
    sources: Mapping[str, IssuerSource]
    initial_knobs: Knobs
    knobs: Knobs = field(init=False)
    org_uid: str = field(init=False)
    clock: Clock = field(default_factory=Clock)
    configurations: ConfigurationStore = field(init=False)
    policies: PolicyStore = field(default_factory=PolicyStore)
    keys: KeyStore = field(default_factory=KeyStore)
    issuers: Issuers = field(init=False)
    storage: Storage = field(default_factory=Storage)
    faults: Faults = field(default_factory=Faults)
    log: RequestLog = field(default_factory=RequestLog)

    def __post_init__(self) -> None:
        """Build what depends on the other fields."""
        self.knobs = self.initial_knobs
        self.org_uid = str(uuid.uuid5(uuid.NAMESPACE_URL, f"organization-{self.organization}"))
        self.configurations = ConfigurationStore(self.org_uid)
        self.issuers = Issuers(
            self.sources,
            lambda: (self.knobs.jwks_lifetime_seconds, self.knobs.jwks_refetch_seconds),
        )

    def effective_policies(self) -> tuple[Policy, ...]:
        """Return the policies in force now: what was written before the propagation delay."""
        delay = dt.timedelta(seconds=self.knobs.policy_propagation_seconds)
        return self.policies.effective(self.clock.now() - delay)

    async def reset(self) -> None:
        """Return to the state of the start, in which only API tokens and issuers are known."""
        self.knobs = self.initial_knobs
        self.clock.offset_seconds = 0.0
        self.configurations.clear()
        self.policies.clear()
        self.keys.clear()
        self.issuers.clear()
        self.faults.clear()
        self.log.clear()
        await self.storage.clear()
