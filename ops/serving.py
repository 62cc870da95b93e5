"""Where searches of this knowledge base are answered now, as a command on this machine can find out."""

from __future__ import annotations

from ingestion.errors import HeadwaterError
from ops.asking import ask
from ops.lock import DaemonNote, running_daemon
from ops.settings import Settings


def api_url(settings: Settings) -> str | None:
    """The daemon that holds the data folder; beside a shared broker, whatever answers at ``daemon.host`` and
    ``daemon.port``; None where neither is there."""
    note = running_daemon(settings.daemon.data)
    if note is not None and note.port:
        return note.url
    if settings.broker.url is None or not settings.daemon.port:
        return None
    url = DaemonNote(0, settings.daemon.host, settings.daemon.port, 0.0, "").url
    try:
        ask(url, "GET", "/healthz")
    except HeadwaterError:
        return None
    return url
