"""`python -m benchmarks.resync`: a second sync of 5,000 unchanged files, against reading the records and stat."""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from benchmarks import bare_resync
from benchmarks.corpus import DIM, META, sentences
from benchmarks.pairs import Pair, compare, process, seconds
from benchmarks.startup import program
from rag_qdrant.adapters.files import Selection, find_tree
from rag_qdrant.adapters.indexes.edge import open_index
from rag_qdrant.adapters.models.onnx import OnnxEmbedder, open_embedder
from rag_qdrant.adapters.readers.pool import ReaderPool
from rag_qdrant.testing.fakes import HashEmbedder
from rag_qdrant.usecases.ingest import IngestReport, IngestRequest, Silent, ingest
from rag_qdrant.view import View

FILES = 5_000
A_FOLDER = 100


def main() -> None:
    real = open_embedder("")
    with tempfile.TemporaryDirectory() as temporary:
        root, place = Path(temporary) / "notes", Path(temporary) / "index"
        _write(root)
        embedder = _stand_in(real)
        first = _sync(place, root, embedder)
        print(f"{first.added} files in, {first.chunks} passages")
        again = _sync(place, root, embedder)
        assert again.unchanged == FILES, again
        shard = str(place / "docs" / "shard")
        compare(
            [
                Pair(
                    name=f"second sync of {FILES} files, in process",
                    ours=lambda: seconds(lambda: _sync(place, root, embedder)),
                    bare=lambda: seconds(lambda: bare_resync.main(shard, str(root))),
                    target=3.0,
                ),
                Pair(
                    name=f"second sync of {FILES} files, from the shell",
                    ours=process(program(), "ingest", "--index", f"edge:{place}", str(root)),
                    bare=process(sys.executable, bare_resync.__file__, shard, str(root)),
                    target=3.0,
                ),
            ],
            rounds=11,
        )


def _write(root: Path) -> None:
    """Files of a sentence each, in folders of A_FOLDER."""
    known = sentences()
    for number in range(FILES):
        folder = root / f"{number // A_FOLDER:03}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number:05}.txt").write_text(f"Note {number}. {known[number % len(known)]}\n", encoding="utf-8")


def _stand_in(real: OnnxEmbedder) -> HashEmbedder:
    """An embedder without a model that the index takes for the real one: the second sync embeds nothing anyway."""
    fake = HashEmbedder(dim=DIM, max_tokens=real.max_tokens)
    fake.spec, fake.fingerprint = real.spec, real.fingerprint
    return fake


def _sync(place: Path, root: Path, embedder: HashEmbedder) -> IngestReport:
    meta = replace(META, embedder=embedder.spec, fingerprint=embedder.fingerprint)
    tree = find_tree(root, Selection())
    with open_index(str(place), collection="docs", create=meta) as index, ReaderPool() as pool:
        return ingest(
            View.administrator(index),
            [tree],
            IngestRequest(allow=("everyone",)),
            embedder=embedder,
            extractor=pool,
            progress=Silent(),
        )


if __name__ == "__main__":
    main()
