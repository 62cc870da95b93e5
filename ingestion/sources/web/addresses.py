"""Which addresses may be connected to: those of the open internet, and of hosts that the settings allow.

A name is resolved once, all of its addresses are judged, and the connection goes to one that was: whatever
the name means a moment later, or however an address is written, nothing else is reached.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import httpcore

Resolve = Callable[[str, int], list[str]]
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits
_UNICAST = ipaddress.ip_network("2000::/3")  # all of IPv6 that is given out (RFC 4291)
# Public as they look, these lead elsewhere: tunnels into networks of IPv4 (Teredo, 6to4 and its relays), what
# RFC 6890 keeps for protocols, RFC 9637 for examples, and the host of a virtual machine in Azure.
_INWARD = tuple(
    map(
        ipaddress.ip_network,
        ("2001::/32", "2002::/16", "192.88.99.0/24", "192.0.0.0/24", "3fff::/20", "168.63.129.16/32"),
    )
)


class AddressRefused(Exception):
    """A host has an address that is not for a source to look at."""


def resolved(host: str, port: int) -> list[str]:
    """Every address of a host. Raises OSError."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(one[4][0]) for one in found))


def is_open(address: str) -> bool:
    """Whether it is on the open internet, whatever it is wrapped in. What is no address is not."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_open(str(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)))
        if found.ipv4_mapped is not None:
            return is_open(str(found.ipv4_mapped))
        if found not in _UNICAST:
            return False
    if any(found in network for network in _INWARD if network.version == found.version):
        return False
    return found.is_global and not found.is_multicast


class _Deadlines(threading.local):
    """When what a thread waits for is over (by ``time.monotonic``)."""

    at: float | None = None

    def within(self, timeout: float | None) -> float | None:
        """The rest of the time, or less. Raises httpcore.ReadTimeout once it is over."""
        if self.at is None:
            return timeout
        left_s = self.at - time.monotonic()
        if left_s <= 0:
            raise httpcore.ReadTimeout("it did not end in time")
        return left_s if timeout is None else min(timeout, left_s)


class _TimedStream(httpcore.NetworkStream):
    """A server that sends a byte every few seconds is given up in time, too."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadlines) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        inner = self._inner.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _TimedStream(inner, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class CheckedBackend(httpcore.NetworkBackend):
    """Connects to addresses that were judged. ``allowed``: hosts that may be anywhere."""

    def __init__(self, allowed: Collection[str], resolve: Resolve = resolved) -> None:
        self._allowed = frozenset(host.lower() for host in allowed)
        self._resolve = resolve
        self._inner = httpcore.SyncBackend()
        self._deadline = _Deadlines()

    def give_up_at(self, moment: float) -> None:
        """Whatever this thread waits for is over then (by ``time.monotonic``)."""
        self._deadline.at = moment

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Raises AddressRefused, and what httpcore raises."""
        try:
            addresses = self._resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"{host} cannot be found") from error
        if host.lower() not in self._allowed:
            for address in addresses:
                if not is_open(address):
                    raise AddressRefused(f"{host} is at {address}, which is not on the open internet")
        failed: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in addresses:
            try:
                inner = self._inner.connect_tcp(
                    address, port, self._deadline.within(timeout), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
            else:
                return _TimedStream(inner, self._deadline)
        raise failed or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        raise AddressRefused("no socket of this machine is a web page")
