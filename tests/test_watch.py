"""`ingest --watch` in a process of its own: what changes is found soon, and Ctrl-C ends it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.syncing import write


def test_what_changes_while_watching_is_found_and_ctrl_c_ends_it(folder: Path) -> None:
    environment = {**os.environ, "RAG_INDEX": f"edge:{folder / 'index'}"}
    write(folder / "notes", {"a.txt": "The first note."})
    command = [sys.executable, "-m", "rag_qdrant"]
    watching = [*command, "ingest", "notes", "--allow", "everyone", "--watch"]
    with subprocess.Popen(
        watching, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        assert "1 added" in process.stdout.readline()
        while "watching" not in process.stderr.readline():
            pass
        time.sleep(0.5)
        write(folder / "notes", {"b.txt": "A second note, about buoys."})
        lines = []
        while "1 added, 1 unchanged" not in (line := process.stdout.readline()):
            lines.append(line)
            assert process.poll() is None, lines
        found = subprocess.run(
            [*command, "search", "buoys", "-n", "1"], env=environment, capture_output=True, text=True, check=True
        )
        assert "notes/b.txt" in found.stdout
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 130
        assert "Traceback" not in process.stderr.read()
