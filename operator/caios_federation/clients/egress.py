"""Where a token may go: over TLS to whom we trust, or to this machine."""

import ssl
from ipaddress import ip_address
from urllib.request import getproxies, proxy_bypass

from yarl import URL

from caios_federation.api import vocabulary as words
from caios_federation.clients import errors
from caios_federation.core.text import shown
from caios_federation.settings import CoreWeaveSettings


def address(text: str, path: str = "") -> URL:
    """Return `text`, an endpoint or a whole URL, with `path` (quoted) behind it.

    Raises BadEndpoint unless a token may be sent there: over TLS, or within this machine.
    """
    try:
        url = URL(text)
        (url.raw_host or "").encode("idna")  # as whoever looks it up does; not every text passes
    except ValueError:
        url = URL()
    strange = url.user or url.password or url.query_string or url.fragment
    if url.scheme not in {"http", "https"} or not url.host or strange:
        raise errors.BadEndpoint(
            "spec.endpoints.api: not the address of an API; "
            f"write one such as {words.DEFAULT_API_ENDPOINT}"
        )
    if url.scheme == "http" and not _is_loopback(url.host):
        raise errors.BadEndpoint(
            f"spec.endpoints.api: {shown(str(url.origin()), 80)} would show tokens to the network; "
            "use https:// (http:// is for loopback hosts only)"
        )
    return url.with_path(url.raw_path.rstrip("/") + path, encoded=True) if path else url


def proxy() -> URL | None:
    """Return the proxy for HTTPS that the environment names. Raises Rejected for one that is none.

    Not left to aiohttp's `trust_env`: it would lead plain HTTP, and so a token meant for this
    machine, to a proxy, and would put a netrc's password in the place of our token.
    """
    named = getproxies().get("https")
    if not named:
        return None
    try:
        url = URL(named if "://" in named else f"http://{named}")
    except ValueError:
        url = URL()
    if url.scheme not in {"http", "https"} or not url.host:
        raise errors.Rejected("HTTPS_PROXY: not the URL of a proxy; write http://HOST:PORT")
    return url


def proxied(url: URL) -> bool:
    """Tell whether the environment lets a proxy lead to `url`: never to this machine."""
    host = url.host or ""
    return not _is_loopback(host) and not proxy_bypass(host)


def tls(settings: CoreWeaveSettings) -> ssl.SSLContext:
    """Return what verifies certificates. Raises Rejected when the CA bundle cannot be used."""
    context = ssl.create_default_context()
    if settings.ca_bundle is not None:
        try:
            context.load_verify_locations(settings.ca_bundle)
        except OSError as error:
            raise errors.Rejected(
                f"coreweave.ca_bundle: {settings.ca_bundle} cannot be used "
                f"({error.strerror or 'no certificates in PEM form'}); name a PEM file of CAs"
            ) from error
    return context


def _is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
