"""A real S3 server on loopback: versitygw, built from its Go module; its objects are files of a folder."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers import go_module
from tests.servers.certificates import Tls
from tests.servers.process import Server, accepts, free_port

VERSION = "1.8.0"
MODULE = "github.com/versity/versitygw/cmd/versitygw"
START_S = 30.0


@dataclass(frozen=True)
class ObjectServer:
    """A server that answers, and a client for doing to it what others might. ``folder``: where its buckets
    are folders."""

    url: str
    folder: Path
    key: str
    secret: str = field(repr=False)
    server: Server
    client: Any = field(repr=False)

    def bucket(self, *, versions: bool = False) -> str:
        """A new one."""
        name = f"test-{secrets.token_hex(6)}"
        self.client.create_bucket(Bucket=name)
        if versions:
            enabled = {"Status": "Enabled"}
            self.client.put_bucket_versioning(Bucket=name, VersioningConfiguration=enabled)
        return name


@contextlib.contextmanager
def serving(place: Path, tls: Tls | None = None) -> Iterator[ObjectServer]:
    """A server of its own, its data and its log in ``place``. Raises NotInstalled."""
    port, key, secret = free_port(), secrets.token_hex(8), secrets.token_urlsafe(16)
    for name in ("objects", "versions", "notes"):
        (place / name).mkdir()
    safe: list[str | Path] = [] if tls is None else ["--cert", tls.certificate, "--key", tls.key]
    command: list[str | Path] = [go_module.binary(MODULE, VERSION), "--port", f"127.0.0.1:{port}", *safe]
    command += ["--quiet", "--keep-alive", "posix", "--sidecar", place / "notes"]
    command += ["--versioning-dir", place / "versions", place / "objects"]
    server = Server(
        command,
        log=place / "versitygw.log",
        answers=lambda: accepts(port),
        start_s=START_S,
        environment={"ROOT_ACCESS_KEY": key, "ROOT_SECRET_KEY": secret},
    )
    url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    with server.running(), contextlib.closing(client(url, key, secret, tls)) as one:
        yield ObjectServer(url, place / "objects", key, secret, server, one)


def client(url: str, key: str, secret: str, tls: Tls | None = None) -> Any:
    import botocore.session

    return botocore.session.Session().create_client(
        "s3",
        endpoint_url=url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        verify=None if tls is None else str(tls.authority),
    )


if __name__ == "__main__":
    go_module.make(MODULE, VERSION)
