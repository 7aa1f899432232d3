"""One BM25 for all indexes: Edge's tokenizer, stemmer and token ids, with the weights made here.

Term frequencies are read back from Edge's encoder (with k = 1 and b = 0 a weight is 2·tf/(tf+1)), so that the parts
of a text in scripts without spaces can go through its segmenting tokenizer and the rest through the word tokenizer,
and still make one vector. Weights are those of Robertson and Zaragoza, "The Probabilistic Relevance Framework" (2009).
"""

import re
from functools import cached_property

import numpy as np
import numpy.typing as npt
import qdrant_edge

from rag_qdrant.errors import UsageError

K = 1.2
B = 0.75

# Chinese, Japanese, Thai, Lao, Khmer: no spaces between words.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff66-\uff9f]+"
)

TermIds = npt.NDArray[np.int64]
Weights = npt.NDArray[np.float32]


class TermEncoder:
    """Texts to sparse vectors; `average_length` is BM25's, in terms."""

    def __init__(self, *, language: str, average_length: float) -> None:
        if not average_length > 0:
            raise UsageError(f"BM25's average length must be above 0, not {average_length}")
        self.language = language
        self.average_length = average_length

    @cached_property
    def _words(self) -> qdrant_edge.Bm25:
        return self._encoder(qdrant_edge.TokenizerType.Word)

    @cached_property
    def _segments(self) -> qdrant_edge.Bm25:
        return self._encoder(qdrant_edge.TokenizerType.Multilingual)

    def _encoder(self, tokenizer: qdrant_edge.TokenizerType) -> qdrant_edge.Bm25:
        try:
            return qdrant_edge.Bm25(
                qdrant_edge.Bm25Config(k=1.0, b=0.0, avg_len=1.0, language=self.language, tokenizer=tokenizer)
            )
        except ValueError as error:
            raise UsageError(
                f"no stemmer for the language {self.language!r}: write english, german, french, …"
            ) from error

    def frequencies(self, text: str) -> tuple[TermIds, npt.NDArray[np.float64]]:
        """The ids of the text's terms, ascending, and how often each occurs."""
        found = [self._words.embed_document(_UNSPACED.sub(" ", text))]
        unspaced = " ".join(_UNSPACED.findall(text))
        if unspaced:
            found.append(self._segments.embed_document(unspaced))
        ids = np.concatenate([np.asarray(vector.indices, dtype=np.int64) for vector in found])
        weights = np.concatenate([np.asarray(vector.values, dtype=np.float64) for vector in found])
        counts = np.rint(weights / (2.0 - weights))
        unique, inverse = np.unique(ids, return_inverse=True)
        summed: npt.NDArray[np.float64] = np.bincount(inverse, weights=counts, minlength=len(unique)).astype(np.float64)
        return unique, summed

    def document(self, text: str) -> tuple[TermIds, Weights]:
        """The terms of a document with their weights, without the inverse document frequency."""
        ids, counts = self.frequencies(text)
        norm = K * (1.0 - B + B * counts.sum() / self.average_length)
        return ids, (counts * (K + 1.0) / (counts + norm)).astype(np.float32)

    def query(self, text: str) -> TermIds:
        """The terms of a query; each counts once."""
        return self.frequencies(text)[0]
