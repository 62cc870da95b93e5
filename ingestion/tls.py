"""What keeps a TLS connection from coming about, and whom the machine trusts. One word for every store."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from pathlib import Path

_HASHED = re.compile(r"[0-9a-f]{8}\.\d+")  # as OpenSSL looks for authorities in a folder


def fault_of(error: BaseException) -> str | None:
    """Why there is no TLS, if that is what is behind an error; nothing of what was sent is in it."""
    for at in _behind(error):
        if isinstance(at, ssl.SSLCertVerificationError):
            return at.verify_message
        if isinstance(at, ssl.SSLError):
            return str(getattr(at, "reason", "") or type(at).__name__)
    return None


def certificate_fault_of(error: BaseException) -> str | None:
    """What is wrong with a server's certificate, if that is what is behind an error."""
    found = (at.verify_message for at in _behind(error) if isinstance(at, ssl.SSLCertVerificationError))
    return next(found, None)


def _behind(error: BaseException) -> Iterator[BaseException]:
    at: BaseException | None = error
    while at is not None:
        yield at
        at = at.__cause__ or at.__context__


def authorities() -> bytes | None:
    """Those that Python trusts by default (SSL_CERT_FILE, or the system's), in PEM, for what does not ask
    the system; None where it cannot be told."""
    paths = ssl.get_default_verify_paths()
    if paths.cafile is not None:
        return Path(paths.cafile).read_bytes()
    if loaded := ssl.create_default_context().get_ca_certs(binary_form=True):
        return "".join(map(ssl.DER_cert_to_PEM_cert, loaded)).encode()
    if paths.capath is None:
        return None
    files = [one for one in Path(paths.capath).iterdir() if _HASHED.fullmatch(one.name) and one.is_file()]
    return b"\n".join(one.read_bytes() for one in sorted(files)) or None
