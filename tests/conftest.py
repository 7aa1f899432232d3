"""Fixtures that many tests share: an embedder without weights, worlds in an index, and no settings from outside."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from rag_qdrant import registry
from rag_qdrant.ports import Embedder
from rag_qdrant.testing.fakes import HashEmbedder

# One core of a busy machine takes its time; no test is judged by the clock.
settings.register_profile("here", deadline=None, print_blob=True)
settings.load_profile("here")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No test sees the settings, the data or the groups of whoever runs it."""
    for name in [name for name in os.environ if name.startswith(("RAG_", "OLLAMA_", "OPENAI_", "QDRANT_"))]:
        if not name.startswith("RAG_TEST_"):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for variable in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(home))


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


@pytest.fixture
def fake_models(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[HashEmbedder]]:
    """`fake:NAME` as an embedder of the command line; the list holds those that were made."""
    made: list[HashEmbedder] = []
    known = registry.embedder

    def embedder(spec: str) -> Embedder:
        if not spec.startswith("fake:"):
            return known(spec)
        fake = HashEmbedder(salt=spec)
        fake.spec = spec
        made.append(fake)
        return fake

    monkeypatch.setattr(registry, "embedder", embedder)
    monkeypatch.setenv("RAG_EMBED", "fake:hash")
    yield made


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work
