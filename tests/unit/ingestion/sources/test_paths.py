from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.sources.paths import path_of, uri_of

NAMES = st.one_of(
    st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"\0", b"-").replace(b"/", b"%4")),
    st.text("%0123456789abcdefABCDEF2é\n ", min_size=1, max_size=12).map(str.encode),
).filter(lambda name: name not in (b".", b".."))
PATHS = st.lists(NAMES, min_size=1, max_size=4).map(b"/".join)


@given(PATHS)
def test_every_path_comes_back(path: bytes) -> None:
    uri = uri_of(path)
    assert os.fsencode(path_of(uri)) == path
    assert uri == uri_of(os.fsdecode(path))
    uri.encode("utf-8")  # can be stored and sent


@given(PATHS, PATHS)
def test_two_paths_never_share_a_uri(one: bytes, other: bytes) -> None:
    assert (uri_of(one) == uri_of(other)) == (one == other)


@given(PATHS, NAMES)
def test_a_uri_is_its_folder_and_its_name(folder: bytes, name: bytes) -> None:
    assert uri_of(folder + b"/" + name) == f"{uri_of(folder)}/{uri_of(name)}"


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        (b"100%.md", "100%.md"),
        (b"50%off.md", "50%off.md"),  # 'of' is no number, so nothing can be mistaken
        (b"20%20.md", "20%2520.md"),
        (b"caf\xe9.md", "caf%E9.md"),
        ("café ☕.md".encode(), "café ☕.md"),
        (b"line\nbreak.md", "line\nbreak.md"),
        (b"\xed\xb2\x80", "%ED%B2%80"),
    ],
)
def test_examples(path: bytes, uri: str) -> None:
    assert uri_of(path) == uri
    assert os.fsencode(path_of(uri)) == path


@pytest.mark.parametrize("uri", ["", ".", "..", "a/..", "/a", "a//b", "a/", "a\0", "%41", "%e9", "%2541%41"])
def test_what_no_path_is_shown_as_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="not"):
        path_of(uri)
