"""Queries, hits, and how the legs of a hybrid search are fused."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from rag_qdrant.domain.documents import Chunk
from rag_qdrant.domain.filters import Filter

Vector = npt.NDArray[np.float32]
"""Shape (dim,), unit L2 norm."""
Matrix = npt.NDArray[np.float32]
"""Shape (n, dim), rows of unit L2 norm."""

Mode = Literal["hybrid", "dense", "keyword"]
MODES: tuple[Mode, ...] = ("hybrid", "dense", "keyword")
DEPTH = 100
"""How many candidates each leg gives to the fusion."""
TIE = 1e-5
"""Scores closer than this are the same: float noise must not order hits."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Query:
    """What is looked for: `text` for the keyword leg, `vector` (unit norm) for the dense one."""

    text: str
    vector: Vector | None = None
    mode: Mode = "hybrid"
    where: Filter | None = None
    limit: int = 10
    weights: Mapping[str, float] = field(default_factory=lambda: {"dense": 0.5, "keyword": 0.5})

    @property
    def legs(self) -> tuple[str, ...]:
        """The legs that the mode asks for, in the order in which an index answers them."""
        return {"hybrid": ("dense", "keyword"), "dense": ("dense",), "keyword": ("keyword",)}[self.mode]


@dataclass(frozen=True, kw_only=True)
class LegScore:
    """Where one leg put a hit: its rank, from 1, and its raw score (cosine, or BM25)."""

    rank: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Hit:
    """A chunk that was found; `score` says order, not worth: worth is in the legs' raw scores."""

    chunk: Chunk
    score: float
    legs: Mapping[str, LegScore] = field(default_factory=dict)


Scored = tuple[str, float]
"""An id with its score."""


def in_order(scored: Sequence[Scored], *, tie: float = TIE) -> list[Scored]:
    """Best first; a run of scores in which each is within `tie` of the next goes by id.

    >>> in_order([("b", 1.0), ("a", 1.000001), ("c", 2.0)])
    [('c', 2.0), ('a', 1.000001), ('b', 1.0)]
    """
    ranked = sorted(scored, key=lambda each: (-each[1], each[0]))
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(ranked)) if a[1] - b[1] > tie), len(ranked)]
    if len(starts) > len(ranked):
        return ranked
    return [each for start, end in pairwise(starts) for each in sorted(ranked[start:end])]


def fuse(legs: Mapping[str, Sequence[Scored]], weights: Mapping[str, float], limit: int) -> list[Scored]:
    """The weighted sum of the legs' scores, each over its leg's maximum; ties go by id.

    Scores, not ranks: nDCG@10 0.738 against 0.726 by reciprocal ranks on SciFact's train claims. A leg whose
    maximum is not positive counts nothing. One leg alone keeps its raw scores.
    """
    if len(legs) == 1:
        (only,) = legs.values()
        return in_order(only)[:limit]
    total: dict[str, float] = {}
    for name, scored in legs.items():
        top = max((score for _, score in scored), default=0.0)
        for point, score in scored:
            share = weights.get(name, 0.0) * score / top if top > 0 else 0.0
            total[point] = total.get(point, 0.0) + share
    return in_order(list(total.items()))[:limit]


def leg_ranks(legs: Mapping[str, Sequence[Scored]], wanted: Iterable[str]) -> dict[str, dict[str, LegScore]]:
    """For each of the ids that are wanted, where each leg put it."""
    found: dict[str, dict[str, LegScore]] = {point: {} for point in wanted}
    for name, scored in legs.items():
        for rank, (point, score) in enumerate(in_order(scored), start=1):
            if point in found:
                found[point][name] = LegScore(rank=rank, score=score)
    return found
