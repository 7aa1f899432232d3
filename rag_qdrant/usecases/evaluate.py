"""Measure retrieval on a judged collection in BEIR layout: corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv."""

import csv
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rag_qdrant.domain.documents import Block, Extracted
from rag_qdrant.domain.retrieval import Mode, Query
from rag_qdrant.errors import NothingFound, UsageError
from rag_qdrant.ports import Embedder, FileRead, FileToRead, FoundFile, Tree
from rag_qdrant.usecases.search import search_many
from rag_qdrant.view import View

MEASURES = ("nDCG@10", "R@10", "R@100", "RR@10")
CHUNKS = 200
"""Passages looked at for each query; a document counts by its best one."""

Run = dict[str, dict[str, float]]
"""For each query, the score of each document found."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A judged collection; `qrels` holds for each query the grade of each document."""

    name: str
    folder: Path
    queries: Mapping[str, str]
    qrels: Mapping[str, Mapping[str, int]]


def load(folder: Path, split: str | None = None) -> Judged:
    """Read queries and judgements; the split may be left out where there is only one."""
    found = sorted((folder / "qrels").glob("*.tsv")) if (folder / "qrels").is_dir() else []
    chosen = [path for path in found if split is None or path.stem == split]
    if not chosen or not (folder / "corpus.jsonl").is_file() or not (folder / "queries.jsonl").is_file():
        raise NothingFound(
            f"{folder} is no judged collection: corpus.jsonl, queries.jsonl and qrels/SPLIT.tsv are wanted"
        )
    if len(chosen) > 1:
        raise UsageError(f"several splits in {folder}/qrels: write --split {'|'.join(path.stem for path in chosen)}")
    qrels: dict[str, dict[str, int]] = {}
    with chosen[0].open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.reader(file, delimiter="\t"), start=1):
            if number == 1 and row[-1:] == ["score"]:
                continue
            try:
                query, document, grade = row
                qrels.setdefault(query, {})[document] = int(grade)
            except ValueError as error:
                raise UsageError(
                    f"{chosen[0]}, line {number}: wanted query-id, corpus-id, score; found {row}"
                ) from error
    queries = {str(row["_id"]): str(row["text"]) for row in _rows(folder / "queries.jsonl") if str(row["_id"]) in qrels}
    return Judged(name=folder.resolve().name, folder=folder, queries=queries, qrels=qrels)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    row = json.loads(line)
                    row["_id"], row["text"]
                except (ValueError, KeyError, TypeError) as error:
                    raise UsageError(
                        f"{path}, line {number}: wanted an object with _id and text ({error!r})"
                    ) from error
                yield row


class Corpus:
    """`corpus.jsonl` as a tree of files and as their extractor, so that it goes through the same sync as files."""

    def __init__(self, judged: Judged) -> None:
        self._rows = {str(row["_id"]): row for row in _rows(judged.folder / "corpus.jsonl")}
        self._name = judged.name

    def tree(self) -> Tree:
        """One file for each document of the corpus."""
        files = tuple(
            FoundFile(
                document=f"{self._name}/{each}",
                relative=each,
                path=Path(each),
                bytes=len(row["text"]),
                mtime_ns=int(_hash(row)[:12], 16),
            )
            for each, row in self._rows.items()
        )
        return Tree(name=self._name, root=Path(self._name), files=files)

    def extract(self, files: Iterable[FileToRead]) -> Iterator[FileRead]:
        """Each document's text with its title."""
        for file in files:
            row = self._rows[str(file.path)]
            text = str(row["text"])
            if not text.strip():
                yield FileRead(file=file, content_hash=_hash(row), error="no text")
                continue
            block = Block(start=0, end=len(text))
            extracted = Extracted(text=text, type="text", blocks=(block,), title=str(row.get("title") or "") or None)
            yield FileRead(file=file, content_hash=_hash(row), bytes=len(text), extracted=extracted)

    def close(self) -> None:
        """Nothing is held."""


def _hash(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(row, sort_keys=True).encode()).hexdigest()


def run(view: View, judged: Judged, mode: Mode, *, embedder: Embedder) -> Run:
    """Search every judged query; a document's score is that of its best passage."""
    prefix = f"{judged.name}/"
    ids = list(judged.queries)
    queries = [Query(text=judged.queries[each], mode=mode, limit=CHUNKS) for each in ids]
    found: Run = {}
    for query_id, hits in zip(ids, search_many(view, queries, embedder=embedder), strict=True):
        best: dict[str, float] = {}
        for place, hit in enumerate(hits):
            # The place, not the score: equal scores were ordered by id, and no measure may order them anew.
            best.setdefault(hit.chunk.document.removeprefix(prefix), float(len(hits) - place))
        found[query_id] = best
    return found


def per_query(judged: Judged, found: Run) -> dict[str, dict[str, float]]:
    """Each measure for each judged query; a query without results counts 0."""
    import ir_measures  # noqa: PLC0415 - SciPy comes with it, and only eval needs it

    measures = [ir_measures.parse_measure(name) for name in MEASURES]
    values = {name: dict.fromkeys(judged.qrels, 0.0) for name in MEASURES}
    for metric in ir_measures.iter_calc(measures, judged.qrels, found):
        values[str(metric.measure)][metric.query_id] = float(metric.value)
    return values


def means(values: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The mean of each measure over all judged queries."""
    return {name: sum(each.values()) / len(each) if each else 0.0 for name, each in values.items()}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One measure of two settings on the same queries, by a paired two-sided t-test."""

    measure: str
    difference: float
    p: float


def compare(first: Mapping[str, float], second: Mapping[str, float], measure: str) -> Comparison:
    """How much `first` is above `second`, and how likely a difference this large is by chance."""
    from scipy.stats import ttest_rel  # noqa: PLC0415 - only eval needs it

    queries: Sequence[str] = sorted(first)
    ours, theirs = [first[each] for each in queries], [second[each] for each in queries]
    if ours == theirs:
        return Comparison(measure=measure, difference=0.0, p=1.0)
    difference = sum(ours) / len(ours) - sum(theirs) / len(theirs)
    return Comparison(measure=measure, difference=difference, p=float(ttest_rel(ours, theirs).pvalue))
