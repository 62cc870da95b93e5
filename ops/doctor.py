"""What is wrong here, and what to do. Looks at everything, starts nothing, and changes nothing: the one thing
that it writes, to find out whether it can, it takes back."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from ingestion.clock import Clock
from ingestion.errors import HeadwaterError
from ingestion.parsing.ocr import program_for
from ingestion.shown import without_secrets
from ops import doctor_data, doctor_inotify, doctor_machine, doctor_permissions, doctor_stores
from ops.asking import ask
from ops.findings import Finding, Verdict, note, ok, wrong
from ops.kinds.files import FilesSettings
from ops.lock import running_daemon
from ops.serving import api_url
from ops.settings import Settings
from ops.showing import plain
from ops.tracing import ENDPOINTS, is_wanted, missing


def examine(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Every finding, in the order in which one would mend them. A check that breaks is a finding."""
    checks: list[tuple[str, Callable[[], Iterable[Finding]]]] = [
        ("machine", lambda: doctor_machine.machine(settings.daemon.data, clock)),
        ("secrets", lambda: doctor_permissions.secrets(settings)),
        ("model", lambda: doctor_data.model(settings)),
        ("scans", lambda: _scans(settings)),
        ("sources", lambda: _roots(settings)),
        ("servers", lambda: doctor_stores.servers(settings, clock)),
        ("data", lambda: doctor_data.data(settings)),
        ("daemon", lambda: _daemon(settings)),
        ("traces", lambda: _traces(os.environ)),
    ]
    for name, check in checks:
        try:
            yield from check()
        except (HeadwaterError, OSError) as error:
            yield wrong(name, f"could not be looked at: {plain(str(error))}", "Mend that, then ask again.")


def is_wrong(findings: Iterable[Finding]) -> bool:
    return any(finding.verdict is Verdict.WRONG for finding in findings)


def _roots(settings: Settings) -> Iterator[Finding]:
    """The places as the settings name them now; what the ledger knows of them is another check's."""
    if not settings.sources:
        yield note("sources", "the settings name none.", "Start with: headwater up FOLDER")
        return
    roots: list[Path] = []
    for source in settings.sources:
        found = list(source.examined())
        yield from found
        if isinstance(source, FilesSettings) and not is_wrong(found):
            roots.append(source.root)
    running = running_daemon(settings.daemon.data) is not None
    yield from doctor_machine.watches(roots, running=running)
    yield from doctor_inotify.limits(0 if running else len(roots))


def _scans(settings: Settings) -> Iterator[Finding]:
    """Nothing where nobody asked for scanned pages to be read."""
    languages = settings.parsing.ocr
    if languages is None:
        return
    try:
        yield ok("scans", f"read by {program_for(languages)} in {languages}")
    except HeadwaterError as error:
        yield wrong("scans", plain(error.message), plain(error.hint))


def _traces(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Nothing where nobody asked for them. A collector that is away costs no work, so it is not asked."""
    if not is_wanted(environ):
        return
    if fault := missing():
        what, _, remedy = fault.partition(": ")
        yield note("traces", f"{what}.", remedy.partition(". ")[2])
        return
    place = next(environ[name] for name in ENDPOINTS if environ.get(name))
    yield ok("traces", f"sent to {plain(without_secrets(place))}")


def _daemon(settings: Settings) -> Iterator[Finding]:
    remembered = running_daemon(settings.daemon.data)
    if remembered is None and settings.broker.url is not None:
        url = api_url(settings)
        if url is None:
            where = f"{settings.daemon.host}:{settings.daemon.port}"
            yield note("api", f"none answers at {where} (daemon.host, daemon.port).", "Start: headwater api")
        else:
            yield _ready("api", url)
        return
    if remembered is None:
        yield note("daemon", "none runs on this data: nothing is kept current.", "Start: headwater up")
        return
    about = f"daemon (pid {remembered.pid})"
    if not remembered.port:
        yield note(about, "is starting: it does not listen yet.")
        return
    try:
        ask(remembered.url, "GET", "/healthz")
        yield ok(about, f"answers at {remembered.url}")
    except HeadwaterError as error:
        yield wrong(about, plain(error.message), plain(error.hint))
        return
    yield _ready(about, remembered.url)


def _ready(about: str, url: str) -> Finding:
    try:
        answer = ask(url, "GET", "/readyz")
    except HeadwaterError as error:
        if error.message.startswith("Not ready"):
            return note(about, plain(error.message), "Wait for it; see: headwater status")
        return wrong(about, plain(error.message), plain(error.hint))
    if degraded := answer.get("degraded"):
        return note(about, "answers, and " + plain(" ".join(degraded)), "Edits wait until it is back.")
    return ok(about, "is ready: everything that was there at its start is searchable")
