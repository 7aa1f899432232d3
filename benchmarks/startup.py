"""`python -m benchmarks.startup`: `rag-qdrant --help` as a whole process, against one that imports typer."""

import compileall
import sys
import sysconfig
from pathlib import Path

import rag_qdrant
from benchmarks.pairs import Pair, compare, process


def program() -> str:
    """The command as it is installed beside this interpreter, with its bytecode, as pip installs it."""
    compileall.compile_dir(Path(rag_qdrant.__file__).parent, quiet=2)
    return str(Path(sysconfig.get_path("scripts")) / "rag-qdrant")


def main() -> None:
    ours = process(program(), "--help")
    bare = process(sys.executable, "-c", "import typer")
    compare([Pair(name="rag-qdrant --help", ours=ours, bare=bare, target=2.5)], rounds=25, warmups=3)


if __name__ == "__main__":
    main()
