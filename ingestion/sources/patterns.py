"""Which paths below a root are documents: what the defaults leave out, then the user's patterns.

The defaults judge names, one path component at a time: hidden files, version control, installed
dependencies, temporary and backup files of editors, browsers and synchronisers. ``include`` and
``exclude`` are patterns as in .gitignore. A pattern brings back what the defaults leave out when it
names it outright: ``*.md`` does not reach into ``.git`` or ``node_modules``, ``.github/`` and
``!node_modules/`` do.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Sequence

import pathspec

from ingestion.errors import WrongSettings
from ingestion.sources.paths import uri_of

DEFAULT_DIRECTORIES = (
    ".*",
    "CVS",
    "SCCS",
    "_darcs",
    "node_modules",
    "bower_components",
    "jspm_packages",
    "__pycache__",
    "__pypackages__",
    "site-packages",
    "venv",
    "*.egg-info",
    "*.dist-info",
    "__MACOSX",
    "lost+found",
    "$RECYCLE.BIN",
    "System Volume Information",
)
"""Folders that are never entered. ``build``, ``target`` and ``vendor`` are not here: people write there."""

DEFAULT_FILES = (
    ".*",
    "*~",
    "*.sw[a-p]",
    "#*#",
    "4913",  # vim tries whether it may write here
    "*.tmp",
    "*.temp",
    "*.bak",
    "*.orig",
    "*.rej",
    "*.part",
    "*.partial",
    "*.crdownload",
    "*.download",
    "~$*",
    "*.___jb_tmp___",
    "*.___jb_old___",
    "*.py[co]",
    "Thumbs.db",
    "desktop.ini",
)
"""Files that are never documents."""

_REMEMBERED_DIRECTORIES = 65_536

_Rules = list[tuple[re.Pattern[str], bool]]


def _union(globs: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?:{fnmatch.translate(glob)})" for glob in globs))


_LEFT_OUT_DIRECTORY = _union(DEFAULT_DIRECTORIES)
_LEFT_OUT_FILE = _union(DEFAULT_FILES)


class Patterns:
    """Decides by path alone. Paths are '/'-separated, below the root, as the os module gives them."""

    def __init__(self, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> None:
        """Raises WrongSettings naming every pattern that is none."""
        self._lines = {"include": tuple(include), "exclude": tuple(exclude)}
        self._include = _compiled(include, "include")
        self._exclude = _compiled(exclude, "exclude")
        self._brought_back = _named_outright([*include, *(p[1:] for p in exclude if p.startswith("!"))])
        self._reached: dict[str, bool] = {"": True}

    def enters(self, directory: str, name: str) -> bool:
        """Whether to look into a directory called ``name`` at path ``directory``, its parents entered."""
        if _LEFT_OUT_DIRECTORY.match(name) and not self._brings_back(name):
            return False
        return not (self._exclude and _last_match(self._exclude, directory + "/"))

    def takes_file(self, path: str, name: str) -> bool:
        """Whether a file called ``name`` at ``path`` is a document, its parents entered."""
        if _LEFT_OUT_FILE.match(name) and not self._brings_back(name):
            return False
        if self._include and not _last_match(self._include, path):
            return False
        return not (self._exclude and _last_match(self._exclude, path))

    def takes(self, path: str) -> bool:
        """Whether a file at ``path`` is a document: its name and every directory above it."""
        directory, _, name = path.rpartition("/")
        return self.reaches(directory) and self.takes_file(path, name)

    def why_not(self, path: str) -> str | None:
        """What keeps a file at ``path`` out, for people: the default or the pattern that decides, of the
        outermost folder that is not entered or of the file; None if nothing does."""
        directory, _, name = path.rpartition("/")
        parts = directory.split("/") if directory else []
        for number, part in enumerate(parts, 1):
            folder = "/".join(parts[:number])
            if not self.reaches(folder):
                return f"its folder {uri_of(folder)} {self._why(part, DEFAULT_DIRECTORIES, folder + '/')}"
        return None if self.takes_file(path, name) else f"it {self._why(name, DEFAULT_FILES, path)}"

    def _why(self, name: str, defaults: Sequence[str], path: str) -> str:
        default = next((glob for glob in defaults if fnmatch.fnmatchcase(name, glob)), None)
        if default is not None and not self._brings_back(name):
            return f"is left out by default ({default})"
        if self._include and not path.endswith("/") and not _last_match(self._include, path):
            return f"is taken by no pattern of include ({', '.join(self._lines['include'])})"
        lines = self._lines["exclude"]
        deciding = next((one for one in reversed(lines) if _last_match(_compiled([one], ""), path)), "")
        return f"is left out by exclude ({deciding})"

    def reaches(self, directory: str) -> bool:
        """Whether ``directory`` ('' is the root) and every directory above it is entered."""
        known = self._reached.get(directory)
        if known is None:
            above, _, name = directory.rpartition("/")
            known = self.reaches(above) and self.enters(directory, name)
            if len(self._reached) >= _REMEMBERED_DIRECTORIES:
                self._reached = {"": True}
            self._reached[directory] = known
        return known

    def _brings_back(self, name: str) -> bool:
        return self._brought_back is not None and self._brought_back.match(name) is not None


def _compiled(lines: Sequence[str], setting: str) -> _Rules:
    """Last pattern first, because in .gitignore the last that matches decides."""
    rules: _Rules = []
    wrong: list[str] = []
    for line in lines:
        try:
            spec = pathspec.PathSpec.from_lines("gitignore", [line])
        except (ValueError, re.error):
            wrong.append(repr(line))
            continue
        rules += [(p.regex, bool(p.include)) for p in spec.patterns if p.regex is not None]
    if wrong:
        raise WrongSettings(
            f"Not a pattern as in .gitignore, in {setting}: {', '.join(wrong)}.",
            hint="Correct or remove it; nothing was indexed or removed.",
        )
    return rules[::-1]


def _last_match(rules: _Rules, path: str) -> bool:
    if "\n" in path:  # '.' does not match it and '$' matches before it; no name holds a NUL
        path = path.replace("\n", "\0")
    return next((positive for regex, positive in rules if regex.match(path)), False)


def _named_outright(lines: Iterable[str]) -> re.Pattern[str] | None:
    """What the parts of these patterns match that would themselves be left out as names.

    Like the dot in a shell's glob: a wildcard never reaches what is hidden, a pattern that shows by its
    own letters that it means such a name does.
    """
    segments = {segment for line in lines for segment in line.lstrip("\\").split("/")}
    meant = [s for s in segments if _LEFT_OUT_DIRECTORY.match(s) or _LEFT_OUT_FILE.match(s)]
    return _union(sorted(meant)) if meant else None
