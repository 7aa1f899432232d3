"""The main job with the real model, as a newcomer sees it first."""

import shlex
from pathlib import Path

import pytest

from tests.cli import Cli


def test_the_tour_shows_formats_readers_an_answer_and_two_people(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, folder: Path
) -> None:
    ran = Cli(capsys, monkeypatch)("tour")
    assert (ran.code, ran.err) == (0, "")
    for kind in ("markdown", "html", "text", "pdf"):
        assert f" {kind} " in ran.out
    assert "everyone 5" in ran.out and "public 1" in ran.out
    carla, _, ana = ran.out.rpartition("--as user:carla")[2].partition("--as user:ana")
    assert "3.2 percent" in carla and "[1] documents/finance/budget-2026.md" in carla
    assert "3.2" not in ana and "exit code 3" in ana
    assert "rag-qdrant ingest" in ran.out.rpartition("or with yours")[2]
    # It leaves an index behind that a newcomer can go on with.
    command = next(line for line in ran.out.splitlines() if "--collection tour" in line).strip()
    again = Cli(capsys, monkeypatch)(*shlex.split(command)[1:])
    assert again.code == 0
    assert not any(folder.iterdir())
