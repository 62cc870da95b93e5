"""Ways in which a folder changes, each in a folder of its own: what is there before, and what is done.

The end state is worked out from the folder itself; a scenario says only what a folder cannot show: which
documents are the same ones as before, and whether anything had to be embedded.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.acceptance.program import Passage, Program, expected

OTHERS = 300  # documents beside the scenarios': a few deletions are then no mass deletion


@dataclass(frozen=True, slots=True)
class Place:
    """Where a scenario takes place: a folder in the source, and one that is in no source."""

    inside: Path
    outside: Path

    def write(self, name: str, number: int = 0, sections: int = 3) -> Path:
        """A file with a text that is like no other: of this scenario, this name, this revision."""
        path = self.inside / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.text(name, number, sections), encoding="utf-8")
        return path

    def text(self, name: str, number: int = 0, sections: int = 3) -> str:
        return "\n".join(self.section(name, one, number) for one in range(sections))

    def section(self, name: str, which: int, number: int = 0) -> str:
        of = f"{self.inside.name} {name!r}"
        return f"# Part {which} of {of}\n\nRevision {number} of {of} says {number} in part {which}.\n"


@dataclass(frozen=True, slots=True)
class Scenario:
    """``same`` maps names of documents before to their names after: their ids must be the same."""

    name: str
    before: Callable[[Place], object]
    change: Callable[[Place], object]
    same: Mapping[str, str] = field(default_factory=dict)
    embeds_nothing: bool = False


def place_of(scenario: Scenario, notes: Path) -> Place:
    """``notes`` is the root of the source."""
    return Place(notes / scenario.name, notes.parent / "outside" / scenario.name)


def prepare(notes: Path, scenarios: Sequence[Scenario]) -> None:
    """Everything as it is before any change."""
    for number in range(OTHERS):
        Place(notes / "others", notes).write(f"{number}.md", sections=1)
    for scenario in scenarios:
        place = place_of(scenario, notes)
        place.inside.mkdir(parents=True)
        place.outside.mkdir(parents=True)
        scenario.before(place)


@dataclass(frozen=True, slots=True)
class Before:
    """What a scenario's folder was in the program before the change."""

    passages: list[Passage]
    ids: dict[str, int]
    embedded: dict[int, int]


def look(program: Program, *scenarios: Scenario) -> dict[str, Before]:
    """What is there now, by the scenarios' names."""
    passages, documents = program.passages(), program.documents()
    found = {}
    for scenario in scenarios:
        below = f"{scenario.name}/"
        ids = {uri: one["document_id"] for uri, one in documents.items() if uri.startswith(below)}
        found[scenario.name] = Before(
            [one for one in passages if one.uri.startswith(below)],
            ids,
            {one: embedded(program, one) for one in ids.values()},
        )
    return found


def embedded(program: Program, document_id: int) -> int:
    """How many texts were embedded for a document, as its history says."""
    steps = program.get(f"/v1/documents/{document_id}").json()["history"]
    return sum(step["embedded"] for step in steps)


def check(program: Program, scenario: Scenario, notes: Path, before: Before) -> None:
    """What is so once the change is searchable."""
    below = f"{scenario.name}/"
    passages = program.passages(below)
    assert passages == expected(notes / scenario.name, below)
    assert passages != before.passages, "nothing changed"
    after = {uri: one for uri, one in program.documents().items() if uri.startswith(below)}
    assert {one["state"] for one in after.values()} <= {"live"}
    for old, new in scenario.same.items():
        assert after[below + new]["document_id"] == before.ids[below + old], f"{new} is another document"
    if scenario.embeds_nothing:
        for uri, one in after.items():
            known = before.embedded.get(one["document_id"], 0)
            assert embedded(program, one["document_id"]) == known, f"texts of {uri} were embedded again"


def _edit(place: Place) -> None:
    path = place.inside / "a.md"
    path.write_text(path.read_text().replace("says 0 in part 1", "says something new in part 1"))


def _append(place: Place) -> None:
    with (place.inside / "a.md").open("a") as file:
        file.write("\n" + place.section("a.md", 7))


def _same_size_and_time(place: Place) -> None:
    path = place.inside / "a.md"
    was = path.stat()
    with path.open("r+b") as file:
        body = file.read()
        file.seek(0)
        file.write(body.replace(b"says 0 in part 1", b"says 9 in part 1"))
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))
    assert path.stat().st_size == was.st_size
    assert path.stat().st_mtime_ns == was.st_mtime_ns


def _save_by_rename(place: Place, name: str) -> None:
    """As most editors save: write beside it, rename over it."""
    written = place.inside / name
    written.write_text(place.text("a.md", 1))
    written.replace(place.inside / "a.md")


def _save_with_backup(place: Place) -> None:
    """As Emacs saves: the old file becomes the backup, the new one is a new file."""
    (place.inside / "a.md").rename(place.outside / "a.md~")
    place.write("a.md", 1)


def _checkout(place: Place) -> None:
    """As git does: unlink, create."""
    for name in ("a.md", "b.md"):
        (place.inside / name).unlink()
        place.write(name, 1)


def _tree(place: Place, top: str = "tree") -> None:
    for name in ("one.md", "two.md", "deep/er/three.md"):
        place.write(f"{top}/{name}")


def _tree_and_a_file(place: Place) -> None:
    place.write("stays.md")
    _tree(place)


def _tree_outside(place: Place) -> None:
    _tree_and_a_file(place)
    shutil.move(place.inside / "tree", place.outside / "tree")


def _file_to_directory(place: Place) -> None:
    (place.inside / "thing.md").unlink()
    place.write("thing.md/inner.md")


def _directory_to_file(place: Place) -> None:
    shutil.rmtree(place.inside / "thing.md")
    place.write("thing.md", 1)


def _swap(place: Place) -> None:
    a, b, aside = (place.inside / name for name in ("a.md", "b.md", "c.md"))
    a.rename(aside)
    b.rename(a)
    aside.rename(b)


def _rename_and_edit(place: Place) -> None:
    (place.inside / "a.md").rename(place.inside / "b.md")
    with (place.inside / "b.md").open("a") as file:
        file.write("\n" + place.section("b.md", 7))


ODD_NAMES = (
    b"with  spaces .md",
    b"with\nnewline.md",
    b"tab\tand 'quotes\" and \\backslash.md",
    "Größe – 日本語 🌊.md".encode(),
    "e\u0301 decomposed.md".encode(),
    "\u00e9 composed.md".encode(),
    b"latin1-\xe9\xff.md",
    b"percent-%E9-100%.md",
    b"-starts-with-dash.md",
)


def _odd_names(place: Place, number: int) -> None:
    for name in ODD_NAMES:
        path = os.path.join(os.fsencode(place.inside), name)  # noqa: PTH118 - names that are no text
        with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
            file.write(place.text(ascii(name), number))


def _rename_odd_names(place: Place) -> None:
    for name in ODD_NAMES:
        path = os.path.join(os.fsencode(place.inside), name)  # noqa: PTH118
        os.rename(path, path[:-3] + b" renamed\xfe.md")  # noqa: PTH104


def _a(place: Place) -> Path:
    return place.write("a.md")


def _a_and_b(place: Place) -> None:
    place.write("a.md")
    place.write("b.md")


SAME_A = {"a.md": "a.md"}
SAME_TREE = {f"tree/{name}": f"moved/{name}" for name in ("one.md", "two.md", "deep/er/three.md")}

SCENARIOS = (
    Scenario("create", _a, lambda place: place.write("b.md"), same=SAME_A),
    Scenario("create-in-new-folders", _a, lambda place: _tree(place, "new"), same=SAME_A),
    Scenario("edit", _a, _edit, same=SAME_A),
    Scenario("append", _a, _append, same=SAME_A),
    Scenario("truncate", _a, lambda place: os.truncate(place.inside / "a.md", 80), same=SAME_A),
    Scenario("empty", _a, lambda place: os.truncate(place.inside / "a.md", 0), same=SAME_A),
    Scenario("delete", _a_and_b, lambda place: (place.inside / "b.md").unlink(), same=SAME_A),
    Scenario("delete-folder", _tree, lambda place: shutil.rmtree(place.inside / "tree" / "deep")),
    Scenario("save-by-rename", _a, lambda place: _save_by_rename(place, "a.md.new"), same=SAME_A),
    Scenario("save-by-hidden-rename", _a, lambda place: _save_by_rename(place, ".a.md.swp"), same=SAME_A),
    Scenario("save-with-backup", _a, _save_with_backup, same=SAME_A),
    Scenario("git-checkout", _a_and_b, _checkout, same={"a.md": "a.md", "b.md": "b.md"}),
    Scenario(
        "rename",
        _a,
        lambda place: (place.inside / "a.md").rename(place.inside / "z.md"),
        same={"a.md": "z.md"},
        embeds_nothing=True,
    ),
    Scenario(
        "rename-folder",
        _tree,
        lambda place: (place.inside / "tree").rename(place.inside / "moved"),
        same=SAME_TREE,
        embeds_nothing=True,
    ),
    Scenario(
        "rename-case",
        lambda place: place.write("readme.md"),
        lambda place: (place.inside / "readme.md").rename(place.inside / "README.md"),
        same={"readme.md": "README.md"},
        embeds_nothing=True,
    ),
    Scenario(
        "rename-over",
        _a_and_b,
        lambda place: (place.inside / "a.md").replace(place.inside / "b.md"),
        embeds_nothing=True,
    ),
    Scenario("rename-and-edit", _a, _rename_and_edit),
    Scenario(
        "rename-to-another-format", _a, lambda place: (place.inside / "a.md").rename(place.inside / "a.txt")
    ),
    Scenario("swap", _a_and_b, _swap, embeds_nothing=True),
    Scenario(
        "copy",
        _a,
        lambda place: shutil.copy(place.inside / "a.md", place.inside / "copy.md"),
        same=SAME_A,
        embeds_nothing=True,
    ),
    Scenario(
        "folder-moved-in",
        _tree_outside,
        lambda place: shutil.move(place.outside / "tree", place.inside / "tree"),
        same={"stays.md": "stays.md"},
    ),
    Scenario(
        "folder-moved-out",
        _tree_and_a_file,
        lambda place: shutil.move(place.inside / "tree", place.outside / "tree"),
        same={"stays.md": "stays.md"},
        embeds_nothing=True,
    ),
    Scenario("file-to-folder", lambda place: place.write("thing.md"), _file_to_directory),
    Scenario("folder-to-file", lambda place: place.write("thing.md/inner.md"), _directory_to_file),
    Scenario("same-size-and-time", _a, _same_size_and_time, same=SAME_A),
    Scenario("odd-names", _a, lambda place: _odd_names(place, 0), same=SAME_A),
    Scenario("odd-names-edited", lambda place: _odd_names(place, 0), lambda place: _odd_names(place, 1)),
    Scenario("odd-names-renamed", lambda place: _odd_names(place, 0), _rename_odd_names, embeds_nothing=True),
)
