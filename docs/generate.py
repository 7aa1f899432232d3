"""What README and `.env.example` take from the code: `python -m docs.generate` writes the one, cog the other."""

import subprocess
import sys
from pathlib import Path

from rag_qdrant.settings import env_example


def help_text(*command: str) -> str:
    """The help of the program or of one of its commands, as a terminal of 110 columns shows it."""
    code = f"import sys; sys.argv = ['rag-qdrant', *{command!r}, '--help']; from rag_qdrant.cli.app import main; main()"
    environment = {"COLUMNS": "110", "TERMINAL_WIDTH": "110"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return "\n".join(line.rstrip() for line in ran.stdout.rstrip().splitlines())


if __name__ == "__main__":
    Path(".env.example").write_text(env_example(), encoding="utf-8")
