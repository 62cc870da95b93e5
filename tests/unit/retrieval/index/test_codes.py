from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from retrieval.index.codes import CodeTable, Snapshot, Space, code_bits

Vectors = NDArray[np.float32]


def unit(vectors: NDArray[np.floating]) -> Vectors:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def clustered(size: int, dimensions: int, spread: float = 1.0) -> Vectors:
    generator = np.random.default_rng(0)
    topics = unit(generator.standard_normal((size // 50, dimensions)))
    noise = unit(generator.standard_normal((size, dimensions)))
    return unit(topics[generator.integers(0, len(topics), size)] + spread * noise)


def table_of(space: Space, vectors: Vectors, sources: NDArray[np.int32] | None = None) -> CodeTable:
    table = CodeTable(space.bits)
    numbers = np.zeros(len(vectors), np.int32) if sources is None else sources
    table.append(np.arange(1, len(vectors) + 1), numbers, space.encode(vectors))
    return table


def nearest(space: Space, snapshot: Snapshot, vector: Vectors, limit: int) -> set[int]:
    return set(snapshot.nearest(space.question(vector), limit).tolist())


def candidates_recall(space: Space, vectors: Vectors, queries: Vectors, limit: int) -> float:
    snapshot = table_of(space, vectors).snapshot()
    found = 0
    for query in queries:
        exact = set((np.argsort(-(vectors @ query))[:10] + 1).tolist())
        found += len(exact & nearest(space, snapshot, query, limit))
    return found / (10 * len(queries))


class TestSpace:
    @pytest.mark.parametrize("dimensions", [1, 3, 64, 100, 256, 384, 768, 1024])
    def test_codes_have_a_bit_a_dimension_at_least(self, dimensions: int) -> None:
        space = Space.random(dimensions, 1)
        codes = space.encode(np.ones((5, dimensions), np.float32))
        assert codes.shape == (5, space.code_bytes)
        assert code_bits(dimensions) >= max(dimensions, 256)
        assert codes.dtype == np.uint8

    @pytest.mark.parametrize("dimensions", [8, 64, 384, 768])
    @pytest.mark.parametrize("centre", [0.0, 0.3])
    def test_codes_estimate_the_dot_product(self, dimensions: int, centre: float) -> None:
        vectors = clustered(400, dimensions)
        space = Space.random(dimensions, 1).centred(
            np.full(dimensions, centre / np.sqrt(dimensions), np.float32)
        )
        estimates = table_of(space, vectors).snapshot().estimates(space.question(vectors[0]))
        errors = estimates + vectors[0] @ space.centre - vectors @ vectors[0]
        assert abs(errors.mean()) < 0.02
        assert errors.std() < 1.5 / np.sqrt(space.bits)

    def test_a_vector_at_the_centre_has_a_code(self) -> None:
        space = Space.random(8, 1).centred(np.ones(8, np.float32))
        snapshot = table_of(space, np.ones((1, 8), np.float32)).snapshot()
        assert np.isfinite(snapshot.estimates(space.question(np.ones(8, np.float32)))).all()

    def test_a_vectors_code_does_not_depend_on_its_company(self) -> None:
        vectors = clustered(200, 384)
        space = Space.random(384, 1).centred(vectors.mean(axis=0))
        alone = np.vstack([space.encode(vector[None, :]) for vector in vectors])
        together = space.encode(vectors)
        np.testing.assert_array_equal(together[:, :-8], alone[:, :-8])
        np.testing.assert_allclose(
            np.ascontiguousarray(together[:, -8:]).view("<f4"), alone[:, -8:].copy().view("<f4"), rtol=1e-4
        )

    @pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
    def test_candidates_hold_the_nearest(self, spread: float) -> None:
        vectors = clustered(10_050, 384, spread=spread)
        assert candidates_recall(Space.random(384, 1), vectors[50:], vectors[:50], 300) >= 0.99

    def test_a_centre_tells_apart_what_points_the_same_way(self) -> None:
        """Many models give all vectors a large common part."""
        vectors = unit(clustered(5_050, 384) + 4 * np.eye(1, 384))
        space = Space.random(384, 1)
        centred = space.centred(vectors.mean(axis=0))
        assert candidates_recall(centred, vectors[50:], vectors[:50], 300) >= 0.99
        assert candidates_recall(space, vectors[50:], vectors[:50], 300) < 0.98


class TestCodeTable:
    space = Space.random(64, 1)
    vectors = clustered(3_000, 64)

    def test_limits(self) -> None:
        snapshot = table_of(self.space, self.vectors).snapshot()
        for limit in (1, 10, 2_999, 3_000, 5_000):
            assert len(nearest(self.space, snapshot, self.vectors[0], limit)) == min(limit, 3_000)

    def test_equally_near_ones_are_taken_oldest_first(self) -> None:
        same = np.repeat(self.vectors[:1], 100, axis=0)
        snapshot = table_of(self.space, same).snapshot()
        assert nearest(self.space, snapshot, same[0], 30) == set(range(1, 31))

    def test_an_empty_table_has_nothing_near(self) -> None:
        snapshot = CodeTable(self.space.bits).snapshot()
        assert nearest(self.space, snapshot, self.vectors[0], 10) == set()

    def test_only_allowed_sources(self) -> None:
        sources = np.arange(3_000, dtype=np.int32) % 3
        snapshot = table_of(self.space, self.vectors, sources).snapshot()
        question = self.space.question(self.vectors[0])
        for limit in (50, 5_000):
            rows = snapshot.nearest(question, limit, frozenset({1}))
            assert len(rows) == min(limit, 1_000)
            assert set((rows - 1) % 3) == {1}
        assert len(snapshot.nearest(question, 5_000, frozenset({0, 2}))) == 2_000
        assert len(snapshot.nearest(question, 5_000, frozenset())) == 0

    def test_removed_rows_are_found_no_more(self) -> None:
        table = table_of(self.space, self.vectors)
        table.remove(np.array([1, 7, 3_000, 99_999]))
        assert nearest(self.space, table.snapshot(), self.vectors[0], 5_000) == set(range(2, 3_000)) - {7}

    def test_a_snapshot_never_changes(self) -> None:
        table = table_of(self.space, self.vectors[:2_000])
        before = table.snapshot()
        expected = nearest(self.space, before, self.vectors[0], 100)
        table.remove(np.array(sorted(expected)[:50]))
        table.append(
            np.arange(2_001, 3_001), np.zeros(1_000, np.int32), self.space.encode(self.vectors[2_000:])
        )
        table.remove(np.arange(1, 1_900))
        assert nearest(self.space, before, self.vectors[0], 100) == expected

    def test_it_is_compacted_as_rows_go(self) -> None:
        table = table_of(self.space, self.vectors)
        full = table.size_bytes
        for start in range(1, 2_901, 100):
            table.remove(np.arange(start, start + 100))
        snapshot = table.snapshot()
        assert nearest(self.space, snapshot, self.vectors[0], 5_000) == set(range(2_901, 3_001))
        assert table.size_bytes < full / 2

    def test_growing_row_by_row_is_growing_at_once(self) -> None:
        table = CodeTable(self.space.bits)
        for place, code in enumerate(self.space.encode(self.vectors[:1_000]), start=1):
            table.append(np.array([place]), np.zeros(1, np.int32), code[None, :])
        at_once = table_of(self.space, self.vectors[:1_000]).snapshot()
        snapshot = table.snapshot()
        np.testing.assert_array_equal(snapshot.signs, at_once.signs)
        np.testing.assert_array_equal(snapshot.rows, at_once.rows)

    def test_a_hundred_thousand_need_less_than_ten_megabytes(self) -> None:
        table = CodeTable(code_bits(384))
        codes = np.zeros((4_096, Space.random(384, 1).code_bytes), np.uint8)
        for start in range(0, 100_000, 4_096):
            table.append(np.arange(start + 1, start + 4_097), np.zeros(4_096, np.int32), codes)
        assert table.size_bytes < 10_000_000
