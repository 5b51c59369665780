"""The serving certificate, replaced while serving.

Each new pair is tried in a context of its own before it serves, because loading a bad pair into a
live context breaks it; whole contexts are then swapped by the SNI callback, because a live one
keeps a pair for each type of key (facts: Kopf, custom admission server).
"""

import datetime as dt
import hashlib
import ssl
from pathlib import Path

from cryptography import x509


def server_context() -> ssl.SSLContext:
    """Return a context for a server: TLS 1.2 or later."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class ServingCertificate:
    """The pair `tls.crt`, `tls.key` of a directory, as it is now."""

    def __init__(self, directory: Path) -> None:
        self._certificate = directory / "tls.crt"
        self._key = directory / "tls.key"
        self._digest = b""
        self._current: ssl.SSLContext | None = None
        self.expires: dt.datetime | None = None
        """When the pair that serves expires; None while there is none."""
        self.front = server_context()
        """What a listener is given: it hands each connection to the newest pair."""
        self.front.sni_callback = self._hand_over

    def refresh(self) -> bool:
        """Look at the files; serve a new pair from now on. Return whether there was one.

        Raises OSError (ssl.SSLError is one) when the files cannot be read or do not fit together;
        the pair that served before goes on serving.
        """
        chain = self._certificate.read_bytes()
        digest = hashlib.sha256(chain + self._key.read_bytes()).digest()
        if digest == self._digest:
            return False
        context = server_context()
        # With a passphrase at hand, though a wrong one, OpenSSL does not ask at the terminal.
        context.load_cert_chain(self._certificate, self._key, password="")
        self._current, self._digest = context, digest
        self.expires = x509.load_pem_x509_certificate(chain).not_valid_after_utc
        return True

    def _hand_over(
        self, connection: ssl.SSLObject | ssl.SSLSocket, _name: str, _context: ssl.SSLContext
    ) -> None:
        if self._current is not None:
            connection.context = self._current
