"""README's pictures: real commands in a pseudo-terminal, their output as SVG. `python -m docs.pictures` makes them."""

import os
import pty
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parent.parent
PICTURES = Path(__file__).parent / "pictures"
QUESTION = "How large is the pay rise planned for 2026?"
SCENES = {
    "two-people": [
        ["ask", QUESTION, "--as", "user:carla@tidewater.example"],
        ["ask", QUESTION, "--as", "user:ana@tidewater.example"],
        ["acl", "explain", "documents/finance/budget-2026.md", "--as", "user:ana@tidewater.example"],
    ],
    "search": [["search", "how do I carry days over", "--limit", "2", "--explain"]],
}


def recorded(command: list[str], environment: dict[str, str]) -> str:
    """What a command prints to a terminal, both streams."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "rag_qdrant", *command], stdout=child, stderr=child, env=environment, cwd=ROOT
    )
    os.close(child)
    parts: list[bytes] = []
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:
            # The other end of a pseudo-terminal that has gone reads as an error on Linux.
            break
        if not part:
            break
        parts.append(part)
    process.wait()
    os.close(parent)
    return b"".join(parts).decode().replace("\r\n", "\n")


def main() -> None:
    """Ingest the tour's documents into a folder that is thrown away, and picture each scene."""
    tour = ROOT / "rag_qdrant" / "tour"
    with tempfile.TemporaryDirectory() as place:
        settings = {"RAG_INDEX": f"edge:{place}/index", "RAG_GROUPS": str(tour / "principals.toml")}
        environment = {**os.environ, **settings, "COLUMNS": "110", "HOME": place}
        recorded(["ingest", str(tour / "documents")], environment)
        PICTURES.mkdir(exist_ok=True)
        for name, commands in SCENES.items():
            console = Console(record=True, width=110, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
            for command in commands:
                typed = " ".join(f'"{word}"' if " " in word else word for word in command)
                console.print(Text(f"$ rag-qdrant {typed}", style="bold green"))
                console.print(Text.from_ansi(recorded(command, environment).rstrip() + "\n"))
            picture = console.export_svg(title="rag-qdrant")
            # No picture fetches a font from somewhere: the reader's own monospace does.
            picture = re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL)
            (PICTURES / f"{name}.svg").write_text(picture, encoding="utf-8")


if __name__ == "__main__":
    main()
