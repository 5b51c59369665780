"""Settings of the process: environment variables `CAIOS_*`, checked once at start.

What an administrator decides about a cluster's federation is not here but in a StorageFederation.
Nested names are joined by two underscores: `CAIOS_ADMISSION__PORT=9443`.
The texts below the fields become docs/reference/settings.md (docs/generate_settings.py).
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from caios_federation.api import vocabulary as words

_OTHERS = re.compile(r"_SERVICE_(HOST|PORT)|_PORT(_|$)|^CAIOS_TESTBED_")


class Role(StrEnum):
    """What a process does. The webhook role reads and serves, the controller acts."""

    WEBHOOK = "webhook"
    CONTROLLER = "controller"
    ALL = "all"


class FailurePolicy(StrEnum):
    """What the API server does with a Pod when the webhook cannot be reached."""

    IGNORE = "Ignore"
    FAIL = "Fail"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AdmissionSettings(_Group):
    """How admission requests are served."""

    host: str = "0.0.0.0"
    """Address to listen on."""
    port: int = Field(default=9443, ge=1, le=65535)
    """Port to listen on."""
    deadline_seconds: float = Field(default=4, gt=0)
    """Time for one request; must be below the webhook's timeout, so that we answer first."""
    live_read_seconds: float = Field(default=1, gt=0)
    """Time for the live read of a ServiceAccount that the cache does not have."""
    lame_duck_seconds: float = Field(default=5, ge=0)
    """How long a terminating replica still serves after `/readyz` turned 503. Longer than
    kube-proxy needs to forget an endpoint."""
    drain_seconds: float = Field(default=20, ge=0)
    """How long requests under way may take to end after that."""
    body_limit_bytes: int = Field(default=16 << 20, gt=0)
    """Longest request; etcd takes objects of 1.5 MiB, a review holds two and managed fields."""
    tls_poll_seconds: float = Field(default=5, gt=0)
    """How often the certificate's files are looked at for a new pair."""


class CertificateProvider(StrEnum):
    """Who makes the serving certificate."""

    OPERATOR = "Operator"
    CERT_MANAGER = "CertManager"
    EXTERNAL = "External"


class CertificateSettings(_Group):
    """Where the serving certificate comes from."""

    provider: CertificateProvider = CertificateProvider.OPERATOR
    """Operator: the controller makes and renews it. CertManager: cert-manager does. External:
    somebody else keeps the Secret."""
    secret_name: str = Field(
        default="caios-federation-webhook-tls",
        pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$",
    )
    """Secret in the operator's namespace with `tls.crt`, `tls.key` and the CAs to trust,
    `ca.crt`."""
    directory: Path = Path("/var/run/caios-federation/tls")
    """Where the webhook finds those three as files: the mounted Secret. A process of `--role all`
    writes them there itself."""
    lifetime_seconds: int = Field(default=90 * 86400, ge=60)
    """Life of a serving certificate that we make; renewed at two thirds of it. Kubelets take up
    to 90 s to bring a new one to Pods: not below 600 there. At least six times
    `check_seconds`."""
    ca_lifetime_seconds: int = Field(default=365 * 86400, ge=120)
    """Life of the CA that signs it; at least twice `lifetime_seconds`."""
    check_seconds: float = Field(default=30, gt=0)
    """How often the controller looks at the Secret."""

    @model_validator(mode="after")
    def _lives_nest(self) -> "CertificateSettings":
        if self.lifetime_seconds < 6 * self.check_seconds:
            raise ValueError(
                f"lifetime_seconds ({self.lifetime_seconds}) must be at least six times "
                f"check_seconds ({self.check_seconds:g})"
            )
        if self.ca_lifetime_seconds < 2 * self.lifetime_seconds:
            raise ValueError(
                f"ca_lifetime_seconds ({self.ca_lifetime_seconds}) must be at least twice "
                f"lifetime_seconds ({self.lifetime_seconds})"
            )
        return self


class LeaseSettings(_Group):
    """Which of several controllers acts: the one that holds the Lease."""

    name: str = "caios-federation-controller"
    """Lease in the operator's namespace."""
    duration_seconds: float = Field(default=15, ge=1)
    """How long others wait for a holder that no longer renews."""
    renew_deadline_seconds: float = Field(default=10, gt=0)
    """A holder that could not renew for so long stops acting; below `duration_seconds`."""
    retry_seconds: float = Field(default=2, gt=0)
    """How often the holder renews and the others look."""

    @model_validator(mode="after")
    def _deadlines_nest(self) -> "LeaseSettings":
        if not self.retry_seconds < self.renew_deadline_seconds < self.duration_seconds:
            raise ValueError(
                f"retry_seconds ({self.retry_seconds:g}) must be below renew_deadline_seconds "
                f"({self.renew_deadline_seconds:g}), and that below duration_seconds "
                f"({self.duration_seconds:g})"
            )
        return self


class ObservabilitySettings(_Group):
    """Where the process is observed: `/metrics`, `/healthz` and `/readyz`, without TLS."""

    host: str = "0.0.0.0"
    """Address to listen on."""
    port: int = Field(default=8080, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""


class WebhookSettings(_Group):
    """The MutatingWebhookConfiguration that the controller keeps."""

    url: str | None = None
    """Where the API server calls a webhook outside the cluster, such as
    `https://10.0.0.5:9443`. Without it the Service is called."""
    service_name: str = "caios-federation-webhook"
    """Service in the operator's namespace."""
    service_again_name: str | None = None
    """Service of other replicas, for the second call of a Pod whose first one was lost. Without
    it the first Service is called again, and may choose the replica that just died."""
    service_port: int = Field(default=443, ge=1, le=65535)
    """Port of both Services."""
    failure_policy: FailurePolicy = FailurePolicy.IGNORE
    """Ignore: Pods start without credentials while no replica serves. Fail: they do not start."""
    timeout_seconds: int = Field(default=5, ge=1, le=30)
    """How long the API server waits for an answer."""
    reinvocation_policy: Literal["Never", "IfNeeded"] = "IfNeeded"
    """IfNeeded: containers that later webhooks add are injected too."""
    owner: str | None = None
    """ClusterRole with which the configuration goes when it is deleted, so that nothing is left
    that is called in vain."""


class PodSettings(_Group):
    """Where a Pod gets its token. The defaults are the vendor's."""

    volume_name: str = Field(
        default=words.VOLUME_NAME, pattern=r"^[a-z0-9]([-a-z0-9]{0,56}[a-z0-9])?$"
    )
    """Name of the projected volume; short enough for `-2` and so on behind it."""
    mount_path: str = Field(default=words.MOUNT_PATH, pattern=r"^(/[^/:\s]+)+$")
    """Where it is mounted: an absolute path."""
    token_file: str = Field(default=words.TOKEN_FILE, pattern=r"^[A-Za-z0-9_][-A-Za-z0-9._]*$")
    """Name of the token's file in it."""

    @model_validator(mode="after")
    def _files_differ(self) -> "PodSettings":
        if self.token_file == words.AWS_CONFIG_FILE:
            raise ValueError(f"token_file must not be {words.AWS_CONFIG_FILE!r}")
        return self


class CacheSettings(_Group):
    """How the caches are kept true."""

    audit_period_seconds: float = Field(default=300, gt=0)
    """How often a consistent LIST purges objects whose deletion the watch missed."""
    page_size: int = Field(default=500, ge=1)
    """Objects a page of a LIST."""


class ReconcileSettings(_Group):
    """How the controller works."""

    workers: int = Field(default=16, ge=1)
    """Reconciliations at the same time. One that waits for another system for more than a quarter
    of a second no longer counts; 128 more may be under way in this way."""
    resync_seconds: float = Field(default=600, gt=0)
    """How often everything is looked at again although nothing changed."""
    first_backoff_seconds: float = Field(default=0.5, gt=0)
    """Wait before the second try; doubles with each further one."""
    longest_backoff_seconds: float = Field(default=120, gt=0)
    """Longest wait between tries."""
    probe_seconds: float = Field(default=60, gt=0)
    """How often each StorageFederation looks at its API token, its trust and the webhook."""
    missed_seconds: float = Field(default=60, gt=0)
    """How often a binding looks at its Pods again while some missed injection, or while nobody
    injects."""


class CoreWeaveSettings(_Group):
    """How CoreWeave's API is called."""

    ca_bundle: Path | None = None
    """PEM file of CAs to trust beside the system's, for a proxy or an emulator. Certificates are
    always verified."""
    timeout_seconds: float = Field(default=10, gt=0)
    """Time for one attempt, from connecting to the last byte."""
    attempts: int = Field(default=3, ge=1, le=10)
    """Tries of a request that fails quickly and may be tried again, before the queue's longer
    waits."""
    longest_retry_seconds: float = Field(default=1, gt=0)
    """Longest wait between two of them; a longer `Retry-After` is left to the queue."""
    requests_per_second: float = Field(default=200, gt=0)
    """Most requests a second, all bindings together."""


class VerificationSettings(_Group):
    """How it is proven that credentials are issued, where a StorageFederation asks for it."""

    period_seconds: float = Field(default=3600, gt=0)
    """How often an identity that got credentials is tried again although nothing changed."""
    retry_seconds: float = Field(default=60, gt=0)
    """How often an identity that was refused is tried again."""
    grace_seconds: float = Field(default=120, ge=0)
    """How long after a change at CoreWeave a refusal counts as not yet in force there."""


class RemediationSettings(_Group):
    """How Pods that missed injection are restarted, where a binding asks for it."""

    restarts_per_minute: float = Field(default=6, gt=0)
    """Most restarts a minute, of all bindings together."""
    cooldown_seconds: float = Field(default=600, ge=0)
    """Least time between two restarts of the same Deployment, StatefulSet, DaemonSet or
    ReplicaSet."""


class LogSettings(_Group):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Least level that is written."""
    format: Literal["auto", "json", "console"] = "auto"
    """Auto: JSON unless standard error is a terminal."""


class Settings(BaseSettings):
    """All settings of the process."""

    model_config = SettingsConfigDict(
        env_prefix="CAIOS_",
        env_nested_delimiter="__",
        frozen=True,
        extra="forbid",
    )

    role: Role = Role.ALL
    """What this process does."""
    namespace: str = "caios-federation"
    """The operator's own namespace; its Pods are never injected."""
    admission: AdmissionSettings = AdmissionSettings()
    certificates: CertificateSettings = CertificateSettings()
    lease: LeaseSettings = LeaseSettings()
    observability: ObservabilitySettings = ObservabilitySettings()
    webhook: WebhookSettings = WebhookSettings()
    pods: PodSettings = PodSettings()
    caches: CacheSettings = CacheSettings()
    reconcile: ReconcileSettings = ReconcileSettings()
    coreweave: CoreWeaveSettings = CoreWeaveSettings()
    verification: VerificationSettings = VerificationSettings()
    remediation: RemediationSettings = RemediationSettings()
    log: LogSettings = LogSettings()

    @model_validator(mode="after")
    def _deadlines_nest(self) -> "Settings":
        if self.admission.deadline_seconds >= self.webhook.timeout_seconds:
            raise ValueError(
                f"admission.deadline_seconds ({self.admission.deadline_seconds:g}) must be below "
                f"webhook.timeout_seconds ({self.webhook.timeout_seconds})"
            )
        if self.admission.live_read_seconds >= self.admission.deadline_seconds:
            raise ValueError(
                f"admission.live_read_seconds ({self.admission.live_read_seconds:g}) must be below "
                f"admission.deadline_seconds ({self.admission.deadline_seconds:g})"
            )
        return self


def unknown_variables(names: Iterable[str]) -> dict[str, str]:
    """Return the `CAIOS_*` variables among `names` that no setting reads, with the nearest that is.

    Kubernetes gives Pods variables of its own for each Service of their namespace; those, and what
    the testbed reads, are passed over.
    """
    known = {f"CAIOS_{name.upper()}" for name in Settings.model_fields}
    unknown = {
        name
        for name in names
        if name.startswith("CAIOS_")
        and name.partition("__")[0] not in known
        and not _OTHERS.search(name)
    }
    return {name: next(iter(get_close_matches(name, known, 1)), "") for name in unknown}
