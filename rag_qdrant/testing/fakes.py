"""Models without weights: small, deterministic, and good enough to get a ranking wrong when the code does."""

import hashlib
import re
from collections.abc import Iterator, Sequence

import numpy as np

from rag_qdrant.domain.retrieval import Matrix
from rag_qdrant.ports import Message, Role

_WORD = re.compile(r"\w+")


class HashEmbedder:
    """Each word has a fixed random direction; a text is their sum: texts that share words are near.

    Counts words as tokens, two more for each text, and keeps what it was asked to embed in `embedded`.
    """

    spec = "fake:hash"

    def __init__(self, *, dim: int = 32, max_tokens: int = 64, salt: str = "") -> None:
        self.dim = dim
        self.max_tokens = max_tokens
        self.fingerprint = f"hash-{dim}-{max_tokens}-{salt}"
        self.embedded: list[str] = []

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """One for each word, and two."""
        return [len(_WORD.findall(text)) + 2 for text in texts]

    def embed(self, texts: Sequence[str], *, role: Role) -> Matrix:
        """The normalised sums of the words' directions."""
        if role == "document":
            self.embedded.extend(texts)
        rows = [self._row(text) for text in texts]
        return np.stack(rows) if rows else np.empty((0, self.dim), np.float32)

    def _row(self, text: str) -> Matrix:
        total = np.full(self.dim, 1e-3, np.float32)
        for word in _WORD.findall(text.lower()):
            total += _direction(word, self.dim)
        return np.asarray(total / np.linalg.norm(total), dtype=np.float32)


def _direction(word: str, dim: int) -> Matrix:
    seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(dim).astype(np.float32)


class ScriptedChat:
    """Answers with what it was told to, in pieces, and keeps the messages that it was given."""

    spec = "fake:scripted"

    def __init__(self, answer: str, *, context_tokens: int = 4096) -> None:
        self.context_tokens = context_tokens
        self.given: list[Message] = []
        self._answer = answer

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """One for each word, and four for each message."""
        return sum(len(message.content.split()) + 4 for message in messages)

    def stream(self, messages: Sequence[Message], *, max_tokens: int) -> Iterator[str]:
        """The scripted answer, word by word."""
        self.given = list(messages)
        yield from re.findall(r"\S+\s*", self._answer)[:max_tokens]
