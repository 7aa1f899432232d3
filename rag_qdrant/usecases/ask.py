"""Answer a question from what may be read: by a chat model, or with the sentences that match, always cited."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from rag_qdrant.domain.chunking import SENTENCE_END
from rag_qdrant.domain.prompting import REFUSAL, Prompt, build
from rag_qdrant.domain.retrieval import Hit, Query
from rag_qdrant.errors import NothingFound
from rag_qdrant.ports import ChatModel, Embedder, Message
from rag_qdrant.usecases.search import search
from rag_qdrant.view import View

BUDGET_TOKENS = 3000
"""The prompt's size where no chat model says how much it takes."""
ANSWER_TOKENS = 700

SENTENCES = 3
WINDOW = 4
"""The extractive answer looks at the sentences of so many passages."""


@dataclass(frozen=True, kw_only=True)
class Citation:
    """What stands behind a number in the answer: the quoted slice, exact in the document's extracted text."""

    number: int
    hit: Hit
    start: int
    end: int
    quote: str


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer with what it cites; `model` is None where the sentences are the documents' own."""

    question: str
    text: str
    citations: tuple[Citation, ...]
    passages: tuple[Hit, ...]
    model: str | None


def retrieve(view: View, query: Query, *, embedder: Embedder) -> list[Hit]:
    """The passages that a question is answered from."""
    return search(view, query, embedder=embedder)


def prompt_for(query: Query, hits: Sequence[Hit], *, embedder: Embedder, chat: ChatModel | None = None) -> Prompt:
    """The prompt within the chat model's context, or within BUDGET_TOKENS where there is none."""
    nonce = f"----- {secrets.token_hex(8)} -----"
    if chat is None:
        return build(query.text, hits, nonce=nonce, budget=BUDGET_TOKENS, count_tokens=embedder.count_tokens)

    def count(texts: Sequence[str]) -> list[int]:
        return [chat.count_tokens([Message(role="user", content=text)]) for text in texts]

    return build(query.text, hits, nonce=nonce, budget=chat.context_tokens - ANSWER_TOKENS, count_tokens=count)


def ask(view: View, query: Query, *, embedder: Embedder, chat: ChatModel | None = None) -> Answer:
    """Answer from the documents; NothingFound where they do not."""
    return answer(query, retrieve(view, query, embedder=embedder), embedder=embedder, chat=chat)


def answer(query: Query, hits: Sequence[Hit], *, embedder: Embedder, chat: ChatModel | None = None) -> Answer:
    """Answer from passages that were retrieved; NothingFound where they do not."""
    if chat is None:
        return extract(query, hits, embedder=embedder)
    made = prompt_for(query, hits, embedder=embedder, chat=chat)
    text = "".join(stream(made, chat)).strip()
    if not made.used or text.startswith(REFUSAL):
        raise NothingFound(REFUSAL)
    return Answer(question=query.text, text=text, citations=cited(text, made.used), passages=made.used, model=chat.spec)


def stream(made: Prompt, chat: ChatModel) -> Iterator[str]:
    """The chat model's answer, piece by piece."""
    messages = [Message(role="system", content=made.system), Message(role="user", content=made.user)]
    return chat.stream(messages, max_tokens=ANSWER_TOKENS)


def cited(text: str, used: Sequence[Hit]) -> tuple[Citation, ...]:
    """The passages that an answer cites; a number that was never given cites nothing."""
    numbers = dict.fromkeys(int(number) for number in re.findall(r"\[(\d{1,3})\]", text))
    return tuple(
        Citation(
            number=n,
            hit=used[n - 1],
            start=used[n - 1].chunk.start,
            end=used[n - 1].chunk.end,
            quote=used[n - 1].chunk.text,
        )
        for n in numbers
        if 1 <= n <= len(used)
    )


@dataclass(frozen=True, slots=True)
class _Sentence:
    hit: Hit
    start: int
    text: str


def extract(query: Query, hits: Sequence[Hit], *, embedder: Embedder) -> Answer:
    """The sentences nearest to the question, in the documents' own words; NothingFound if none is near enough.

    Nearness is the cosine of sentence and question, with the share of the question's rarer words that the sentence
    and its passage hold: a high fused score alone says order, not worth.
    """
    if not hits or not _answers(query, hits):
        raise NothingFound(_looked_at(hits))
    sentences = [sentence for hit in hits[:WINDOW] for sentence in _sentences(hit)]
    limit = embedder.max_tokens
    counts = embedder.count_tokens([each.text for each in sentences])
    sentences = [each for each, count in zip(sentences, counts, strict=True) if count <= limit]
    if not sentences:
        raise NothingFound(_looked_at(hits))
    question = embedder.embed([query.text], role="query")[0]
    cosines = embedder.embed([each.text for each in sentences], role="document") @ question
    words = _words(query.text)
    rank = {hit.chunk.id: place for place, hit in enumerate(hits)}
    worth = [
        float(cosine) + 0.25 * _share(words, each.text) - 0.02 * rank[each.hit.chunk.id]
        for cosine, each in zip(cosines, sentences, strict=True)
    ]
    order = np.argsort(-np.asarray(worth), kind="stable")
    near = [sentences[i] for i in order if worth[i] >= worth[order[0]] - 0.15]
    best = list({" ".join(each.text.split()): each for each in reversed(near)}.values())[::-1][:SENTENCES]
    numbers = {chunk: number for number, chunk in enumerate(dict.fromkeys(each.hit.chunk.id for each in best), start=1)}
    text = "\n".join(f"{' '.join(each.text.split())} [{numbers[each.hit.chunk.id]}]" for each in best)
    citations = tuple(
        Citation(
            number=numbers[each.hit.chunk.id],
            hit=each.hit,
            start=each.start,
            end=each.start + len(each.text),
            quote=each.text,
        )
        for each in best
    )
    return Answer(question=query.text, text=text, citations=citations, passages=tuple(hits), model=None)


MIN_CHARS = 12
"""Shorter pieces are labels and numbers, not statements."""
MIN_COSINE = 0.30
SURE_COSINE = 0.45
MIN_SHARE = 0.5


def _answers(query: Query, hits: Sequence[Hit]) -> bool:
    """Whether any passage is near enough to be an answer: surely by cosine, or less so but with the words too."""
    words = _words(query.text)
    for hit in hits:
        cosine = hit.legs["dense"].score if "dense" in hit.legs else 0.0
        share = _share(words, hit.chunk.indexed_text)
        if cosine >= SURE_COSINE or (cosine >= MIN_COSINE and share >= MIN_SHARE):
            return True
        if query.mode == "keyword" and share >= MIN_SHARE:
            return True
    return False


def _looked_at(hits: Sequence[Hit]) -> str:
    if not hits:
        return f"{REFUSAL} Nothing was found."
    names = ", ".join(dict.fromkeys(hit.chunk.document for hit in hits[:3]))
    return f"{REFUSAL} Nearest, but not near enough: {names}"


def _sentences(hit: Hit) -> Iterator[_Sentence]:
    text, position = hit.chunk.text, 0
    for end in [*(match.end() for match in _PIECE_END.finditer(text)), len(text)]:
        piece = text[position:end]
        stripped = piece.strip()
        if len(stripped) >= MIN_CHARS and not _is_heading(stripped, hit):
            yield _Sentence(hit, hit.chunk.start + position + len(piece) - len(piece.lstrip()), stripped)
        position = end


_PIECE_END = re.compile(rf"{SENTENCE_END.pattern}|\n(?=\|)|(?m:^#{{1,6}}[ \t][^\n]*\n)")
"""A table is quoted by its rows, and a heading is no part of what stands below it."""


def _is_heading(text: str, hit: Hit) -> bool:
    words = " ".join(text.strip("#= -").split()).lower()
    marked = re.fullmatch(r"#{1,6}[ \t][^\n]*", text) is not None and hit.chunk.type == "markdown"
    return marked or words in {part.lower() for part in (hit.chunk.title, *hit.chunk.section)}


_COMMON = frozenset(
    "a an and are as at be been by can could did do does for from had has have how i if in is it its me my of on "
    "or our shall should so such than that the their them then there these they this those to us was we were what "
    "when where which who whom whose why will with would you your".split()
)


def _words(text: str) -> frozenset[str]:
    return frozenset(_stem(word) for word in re.findall(r"\w+", text.lower()) if word not in _COMMON)


def _stem(word: str) -> str:
    return word[:6] if word.isascii() else word


def _share(words: frozenset[str], text: str) -> float:
    """The share of the words that a text has."""
    return len(words & _words(text)) / len(words) if words else 0.0
