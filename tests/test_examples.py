"""What the examples print."""

import runpy
from pathlib import Path

import pytest


def test_the_example_shows_what_share_and_unshare_do(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(Path(__file__).parent.parent / "examples" / "two_readers.py"), run_name="__main__")
    assert capsys.readouterr().out.splitlines() == [
        "Ana finds ['company/handbook.md']",
        "after share ['company/budget.md', 'company/handbook.md']",
        "after unshare ['company/handbook.md']",
    ]
