"""What clients raise.

ClientError                 message safe to show: no token, no body but known fields
├── Retryable               the queue tries again
│   ├── Unavailable         no connection, time-out, 5xx
│   ├── RateLimited         429: too many requests
│   ├── Malformed           an answer that makes no sense
│   ├── WriteConflict       somebody else wrote first
│   └── Expired             a paged LIST went on for too long
└── Terminal                a person must act
    ├── NotFound            no such object
    ├── Unauthenticated     401: it does not know who we are
    ├── PermissionDenied    403: it does, and we may not
    ├── Rejected            the request does not pass the other side's checks
    │   └── BadRequest      400
    └── BadEndpoint         nothing was sent: a token must not go to that address
"""


class ClientError(Exception):
    """Another system did not do what it was asked to."""

    back_within_seconds: float | None = None
    """When who met it has something else to do, whatever is to be waited for; None for never."""


class Retryable(ClientError):
    """Trying again may help."""

    def __init__(self, message: str = "", *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
        """How long the other system wants to be left alone; None where it did not say."""


class Unavailable(Retryable):
    """The other system did not answer, or answered that it cannot."""

    def __init__(
        self,
        message: str = "",
        *,
        retry_after_seconds: float | None = None,
        unanswered: bool = False,
    ) -> None:
        super().__init__(message, retry_after_seconds=retry_after_seconds)
        self.unanswered = unanswered
        """Whether what was asked for may still come about, at any time."""


class RateLimited(Retryable):
    """The other system wants fewer requests."""


class Malformed(Retryable):
    """The other system answered with something that makes no sense."""


class WriteConflict(Retryable):
    """Somebody else wrote first."""


class Expired(Retryable):
    """The continuation of a LIST is too old; it has to start again."""


class Terminal(ClientError):
    """Trying again does not help until a person changes something."""


class NotFound(Terminal):
    """There is no such object."""


class Unauthenticated(Terminal):
    """The other system does not know who we are."""


class PermissionDenied(Terminal):
    """We are not allowed to."""


class Rejected(Terminal):
    """The request was refused for what it says."""


class BadRequest(Rejected):
    """400: the other system could not make sense of the request, or did not take its token."""


class BadEndpoint(Terminal):
    """Nothing was sent: the address is none, or would show tokens to the network."""
