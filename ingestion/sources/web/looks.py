"""What a look at one page comes to, and how many of them are told to people. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ingestion.records import Gone, Seen, Skipped
from ingestion.sources.web.fetching import Page

FAULTS_TOLD = 5
_LOGIN = frozenset(
    """
    login log-in log_in logon signin sign-in sign_in servicelogin sso oauth oauth2 saml saml2 adfs cas auth
    authenticate authorize idp
    """.split()  # noqa: SIM905 - one a line would take a screen
)


@dataclass(frozen=True, slots=True)
class Unseen:
    """Nothing is known of a page now; what was known of it stays. ``place``: its whole host is the reason;
    ``left``: it was not asked for."""

    uri: str
    reason: str
    place: bool = False
    left: bool = False


@dataclass(frozen=True, slots=True)
class Moved:
    """For good. ``page``: what is there, None where it is as it was kept."""

    uri: str
    to: str
    page: Page | None


Look = Seen | Skipped | Gone | Unseen | Moved


def leads_to_login(url: str, found_at: str) -> bool:
    """Whether a redirect ends where one says who one is: many such pages ask for no password yet."""
    return bool(_LOGIN & _words(found_at) - _words(url))


def told(unseen: Sequence[Unseen]) -> Sequence[str]:
    """The first few in full: thousands may have one reason."""
    faults = [f"{look.uri}: {look.reason}" for look in unseen if not look.left]
    more = len(faults) - FAULTS_TOLD
    left = Counter(look.reason for look in unseen if look.left)
    return [
        *(f"{reason}; {_pages(number)} left to the next look" for reason, number in left.items()),
        *faults[:FAULTS_TOLD],
        *([f"and {more:,} more"] if more > 0 else []),
    ]


def _pages(number: int) -> str:
    return "a page is" if number == 1 else f"{number:,} pages are"


def _words(url: str) -> frozenset[str]:
    parts = urlsplit(url)
    return frozenset(re.split(r"[/.]", f"{parts.hostname}/{parts.path}".lower()))
