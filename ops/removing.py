"""Has the documents of a source go that is no longer in the settings: they stay until somebody asks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass

from ingestion.errors import WrongSettings
from ingestion.ledger.ledger import Ledger
from ingestion.own import is_own
from ops.keeping import LET_GO_S
from ops.kinds.git import copy_of
from ops.lock import running_daemon
from ops.settings import Settings
from ops.showing import duration


@dataclass(frozen=True, slots=True)
class Removable:
    """``known`` is False where nothing is left of it: it was removed before, or never was."""

    name: str
    known: bool
    documents: int


def removable(ledger: Ledger, settings: Settings, name: str) -> Removable:
    """Raises WrongSettings for a source that the settings have, or a daemon that runs here."""
    if any(source.name == name for source in settings.sources):
        raise WrongSettings(
            f"{name} is in these settings; nothing was removed.",
            hint="Take it out of them first, and restart what runs with them.",
        )
    state = None if is_own(name) else ledger.sources.state(name)
    if state is not None and state.active and (daemon := running_daemon(settings.daemon.data)) is not None:
        raise WrongSettings(
            f"The daemon that runs here (pid {daemon.pid}) still has {name}; nothing was removed.",
            hint="Start it again with settings that do not name it.",
        )
    number = 0 if is_own(name) else ledger.removing.count(name)
    return Removable(name, state is not None or number > 0, number)


def remove(ledger: Ledger, settings: Settings, name: str) -> int:
    """Returns how many documents went. Interrupted, it goes on where it is called again.

    Raises WrongSettings where a process that runs still has it.
    """
    alone = settings.broker.url is None
    since_s = ledger.removing.begin(name, unkept_for_s=0.0 if alone else LET_GO_S)
    if since_s is not None:
        raise WrongSettings(
            f"A process that runs has {name} in its settings (it said so {duration(since_s)} ago); nothing "
            "was removed.",
            hint=f"Restart every role with settings that do not name it, and wait for {duration(LET_GO_S)}.",
        )
    removed = 0
    while number := ledger.removing.retire(name):
        removed += number
    while ledger.removing.forget_kept(name):
        pass
    shutil.rmtree(copy_of(name, settings.daemon.data), ignore_errors=True)
    ledger.removing.end(name)
    return removed
