"""Every command, as somebody with few rights: what they may not read changes no byte, and no command is left out."""

import re
from pathlib import Path

import pytest

from rag_qdrant.cli.commands import COMMANDS, GROUPS
from tests.cli import Cli
from tests.syncing import write

pytestmark = pytest.mark.usefixtures("fake_models")

SEEN = {
    "open/tides.md": "# Tides\n\nThe tide gauge drifts in cold water.\n\n## Pay\n\nPay is reviewed each March.\n",
    "open/leave.txt": "Leave is 27 days.\n\nThe office is in Lisbon.\n",
    ".ragacl.toml": 'default = "private"\n[[rule]]\npath = "open/**"\nallow = ["everyone"]\n[[rule]]\npath = "denied/**"\nallow = ["everyone"]\ndeny = ["user:ben"]\n',
}
# Copies of readable text among them, the same names, the same words often, and files that cannot be read.
HIDDEN: dict[str, str | bytes] = {
    "secret/tides.md": SEEN["open/tides.md"],
    "secret/pay.txt": "The pay rise is 3 percent. Pay pay pay drift drift Lisbon Lisbon.\n",
    "denied/plan.md": "# Plan\n\nThe Lisbon office closes. Leave. Tide.\n",
    "secret/broken.txt": b"\x00\x01",
    **{f"secret/{number}.txt": f"Lisbon leave pay tide drift number {number}.\n" for number in range(30)},
}

VIEWER = ("--as", "user:ben")
SURFACES: dict[str, list[tuple[str, ...]]] = {
    "search": [
        ("search", "pay rise Lisbon", *VIEWER, "--json", "--explain", "--limit", "50"),
        ("search", "pay rise Lisbon", *VIEWER, "--mode", "keyword", "--json"),
        ("search", "tide drift", *VIEWER, "--mode", "dense", "--csv"),
        ("search", "Lisbon", *VIEWER, "--where", "document = tree/secret/pay.txt"),
        ("search", "Lisbon", *VIEWER, "--queries", "queries.txt"),
        ("search", "number", *VIEWER),
    ],
    "ask": [
        ("ask", "How large is the pay rise?", *VIEWER, "--json"),
        ("ask", "What happens to the Lisbon office?", *VIEWER),
        ("ask", "What happens to the Lisbon office?", *VIEWER, "--context-only"),
        ("ask", "What happens to the Lisbon office?", *VIEWER, "--prompt"),
    ],
    "show": [("show", name, *VIEWER) for name in ("tree/open/tides.md", "tree/secret/pay.txt", "tree/none.txt")],
    "sources": [("sources", *VIEWER, "--json"), ("sources", *VIEWER)],
    "documents": [
        ("documents", *VIEWER, "--json"),
        ("documents", *VIEWER, "--failed", "--json"),
        ("documents", *VIEWER, "--csv"),
    ],
    "remove": [("remove", name, *VIEWER, "--yes") for name in ("tree/secret/pay.txt", "tree/*", "source:tree")],
    "share": [("share", name, "user:ben", *VIEWER) for name in ("tree/secret/pay.txt", "tree/*", "source:tree")],
    "unshare": [("unshare", name, "user:ben", *VIEWER) for name in ("tree/secret/pay.txt", "tree/*")],
    "acl show": [("acl", "show", name, *VIEWER) for name in ("tree/secret/pay.txt", "tree/open/tides.md", "tree/*")],
    "acl reset": [("acl", "reset", "tree/*", *VIEWER)],
    "acl sync": [("acl", "sync", "tree", *VIEWER)],
    "acl test": [("acl", "test", *VIEWER)],
    "purge": [("purge", "--yes", *VIEWER)],
}
EXEMPT = {
    "tour": "works on its own documents in an index of its own",
    "ingest": "writes; another's source is not found, which test_ingest holds",
    "embed": "opens no index",
    "eval": "works on a judged collection in an index of its own",
    "doctor": "the administrator's: whoever runs it holds the index's files",
    "acl explain": "the administrator's: --as names the person who is asked about",
    "config show": "opens no index",
}


def test_every_command_has_a_row() -> None:
    commands = set(COMMANDS) | {f"{group} {name}" for group, (_, below) in GROUPS.items() for name in below}
    assert commands == set(SURFACES) | set(EXEMPT)


def observe(cli: Cli) -> list[tuple[int, str, str]]:
    """Every surface's answer, without the times that it took and the nonce of a prompt."""
    seen = []
    for calls in SURFACES.values():
        for call in calls:
            ran = cli(*call)
            plain = [re.sub(r"----- [0-9a-f]{16} -----", "NONCE", text) for text in (ran.out, ran.err)]
            plain = [re.sub(r'"(embed|search)": [0-9.e-]+', r'"\1": 0', text) for text in plain]
            seen.append((ran.code, *plain))
    return seen  # type: ignore[return-value]


def test_what_a_viewer_may_not_read_changes_no_byte_of_any_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    monkeypatch.setenv("RAG_INDEX", f"edge:{folder / 'index'}")
    monkeypatch.setenv("RAG_USER", "user:olga")
    cli = Cli(capsys, monkeypatch)
    (folder / "queries.txt").write_text("pay rise\nLisbon\n")
    write(folder / "tree", SEEN)
    assert cli("ingest", "tree").code == 0
    before = observe(cli)
    write(folder / "tree", HIDDEN)
    assert cli("ingest", "tree").code == 1
    assert observe(cli) == before
    assert cli("remove", "tree/secret/*", "tree/denied/*", "--yes").code == 0
    assert observe(cli) == before
    assert any(code == 0 and out for code, out, _ in before)
    assert not any("Traceback" in text for row in before for text in row[1:])
