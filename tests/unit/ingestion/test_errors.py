"""Every error can be copied for another thread, and pickled for another process, with all it says."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Callable, Iterator

import pytest

import ops.asking
import retrieval.embedding.remote.faults
from ingestion.errors import HeadwaterError


def classes(root: type[HeadwaterError] = HeadwaterError) -> Iterator[type[HeadwaterError]]:
    yield root
    for kind in root.__subclasses__():
        yield from classes(kind)


def one_of(kind: type[HeadwaterError]) -> HeadwaterError:
    """With something in everything that its class wants or takes."""
    parameters = list(inspect.signature(kind).parameters.values())
    make: Callable[..., HeadwaterError] = kind
    return make(
        *[name.name for name in parameters if name.kind is not name.KEYWORD_ONLY],
        **{name.name: f"the {name.name}" for name in parameters if name.kind is name.KEYWORD_ONLY},
    )


@pytest.mark.parametrize("kind", sorted(set(classes()), key=repr))
def test_an_error_is_copied_with_all_it_says(kind: type[HeadwaterError]) -> None:
    error = one_of(kind)
    for copied in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(copied) is kind
        assert copied is not error
        assert (str(copied), vars(copied), copied.args) == (str(error), vars(error), error.args)


def test_the_tree_is_walked_to_its_leaves() -> None:
    kinds = set(classes())
    assert len(kinds) > 20
    assert {ops.asking.Unanswered, retrieval.embedding.remote.faults.Late} <= kinds
