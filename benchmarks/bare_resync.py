"""The least that finds that nothing changed: the stored records, and the size and time of every file."""

import os
import sys
from pathlib import Path

import qdrant_edge as qe


def main(shard_folder: str, root: str) -> int:
    """How many files differ from what is stored of them."""
    shard = qe.EdgeShard.load(shard_folder)
    stored = {}
    after = None
    documents = qe.Filter(must=[qe.FieldCondition("kind", match=qe.MatchAny(["document"]))])
    while True:
        request = qe.ScrollRequest(limit=1000, offset=after, filter=documents, with_payload=True)
        records, after = shard.scroll(request)
        for record in records:
            payload = record.payload or {}
            stored[payload["document"]] = (payload["bytes"], payload["mtime_ns"])
        if after is None:
            break
    parent = Path(root).parent
    changed = 0
    for document, known in stored.items():
        status = os.stat(parent / document)  # noqa: PTH116 - the least that does it
        changed += (status.st_size, status.st_mtime_ns) != known
    shard.close()
    return changed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
