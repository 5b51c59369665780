"""Whether a webhook can be called: as the API server would, trusting what it is told to trust."""

import asyncio
import ssl
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import aiohttp

PATIENCE_SECONDS: Final = 5.0
"""How long a probe tries: a server that starts opens its port a moment later, and one that stops
is left out by the Service a moment later."""
_TRY_SECONDS: Final = 2.0
"""Time for one try."""
_PAUSE_SECONDS: Final = 0.5
_OK: Final = 200
_EXPIRED: Final = 10
_NOT_YET_VALID: Final = 9
_OTHER_NAME: Final = frozenset({62, 64})
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED, _CERT_NOT_YET_VALID, _HOSTNAME_MISMATCH and
_IP_ADDRESS_MISMATCH (x509_vfy.h)."""


class Outcome(StrEnum):
    """What came of a probe."""

    SERVING = "serving"
    UNREADY = "unready"  # somebody answers, and does not want to be called
    UNREACHABLE = "unreachable"  # nobody answers, or not over TLS
    EXPIRED = "expired"  # the certificate's time is over
    UNTRUSTED = "untrusted"  # the certificate is not trusted for another reason


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a probe, and in words what went wrong: the same words each time."""

    outcome: Outcome
    problem: str = ""


def trust_only(authorities: str) -> ssl.SSLContext:
    """Return a context that trusts exactly `authorities` (PEM), as an API server its caBundle.

    Whatever is in the bundle is an anchor, a CA that another one signed too (Go's x509.Verify).
    Raises ValueError for what holds no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # verifies certificates and names
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    try:
        context.load_verify_locations(cadata=authorities)
    except ssl.SSLError as error:
        raise ValueError("no PEM certificate") from error
    return context


async def probe(
    url: str, trusted: ssl.SSLContext, *, patience_seconds: float = PATIENCE_SECONDS
) -> Probed:
    """GET `url`, again for up to `patience_seconds` while nobody who is ready answers."""
    clock = asyncio.get_running_loop().time
    over = clock() + patience_seconds
    while True:
        probed = await _try(url, trusted)
        again = probed.outcome in {Outcome.UNREADY, Outcome.UNREACHABLE}
        if not again or clock() + _PAUSE_SECONDS >= over:
            return probed
        await asyncio.sleep(_PAUSE_SECONDS)


async def _try(url: str, trusted: ssl.SSLContext) -> Probed:
    """GET `url` once, on a connection of its own: another one may lead to another replica."""
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_TRY_SECONDS), trust_env=False
            ) as session,
            session.get(url, ssl=trusted, allow_redirects=False) as answer,
        ):
            if answer.status == _OK:
                return Probed(Outcome.SERVING)
            return Probed(Outcome.UNREADY, f"the answer is {answer.status}")
    except aiohttp.ClientConnectorCertificateError as error:
        return _untrusted(error.certificate_error)
    except TimeoutError:
        return Probed(Outcome.UNREACHABLE, f"no answer within {_TRY_SECONDS:g} s")
    except aiohttp.ClientError as error:
        return Probed(Outcome.UNREACHABLE, _trouble(error))


def _trouble(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientSSLError():
            return "no TLS is spoken there"
        case aiohttp.ClientConnectorDNSError():
            return "the name is not known"
        case aiohttp.ClientConnectorError(os_error=ConnectionRefusedError()):
            return "the connection is refused"
        case _:
            return "the connection fails"


def _untrusted(error: Exception) -> Probed:
    code = getattr(error, "verify_code", None)
    if code == _EXPIRED:
        return Probed(Outcome.EXPIRED, "its certificate, or that of its CA, has expired")
    if code == _NOT_YET_VALID:
        return Probed(Outcome.UNTRUSTED, "its certificate is not valid yet: compare the clocks")
    if code in _OTHER_NAME:
        return Probed(Outcome.UNTRUSTED, "its certificate is for another name")
    return Probed(Outcome.UNTRUSTED, "its certificate is not signed by a CA of the caBundle")
