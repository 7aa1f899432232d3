"""`python -m benchmarks.write`: ready chunks through the index port, against a bare upsert loop on Qdrant Edge."""

import shutil
import tempfile
from pathlib import Path

from benchmarks import bare
from benchmarks.corpus import META, corpus
from benchmarks.pairs import Pair, Timed, compare, seconds
from rag_qdrant.adapters.indexes.edge import open_index
from rag_qdrant.adapters.indexes.payload import to_payload

CHUNKS = 5_000


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours, loop = _ways(Path(folder))
        compare([Pair(name=f"write {CHUNKS} chunks", ours=ours, bare=loop, target=1.5)], rounds=7)


def _ways(folder: Path) -> tuple[Timed, Timed]:
    made = corpus(CHUNKS)
    rows = [(chunk.id, to_payload(chunk)) for chunk in made.chunks]

    def ours() -> float:
        place = folder / "ours"
        with open_index(str(place), collection="docs", create=META) as index:

            def put() -> None:
                for start in range(0, CHUNKS, bare.BATCH):
                    end = start + bare.BATCH
                    index.put(made.chunks[start:end], {"dense": made.matrix[start:end]})

            taken = seconds(put)
        shutil.rmtree(place)
        return taken

    def loop() -> float:
        place = folder / "bare"
        shard = bare.shard(place)
        taken = seconds(lambda: bare.upsert(shard, rows, made.matrix))
        shard.close()
        shutil.rmtree(place)
        return taken

    return ours, loop


if __name__ == "__main__":
    main()
