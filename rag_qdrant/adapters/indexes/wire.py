"""Filters, scopes, queries and arrays as bytes and back: JSON with the arrays behind it, and no pickle."""

import json
import struct
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from rag_qdrant.domain.access import Administrator, Managers, Readers
from rag_qdrant.domain.documents import IndexMeta
from rag_qdrant.domain.filters import And, In, Not, Or, Range
from rag_qdrant.domain.retrieval import Query

_CLASSES = {cls.__name__: cls for cls in (In, Range, And, Or, Not, Readers, Managers, Administrator, Query, IndexMeta)}
_HEAD = struct.Struct("!I")


class Json:
    """A value of JSON's own types that is sent without a look inside: payloads, of which there are many."""

    def __init__(self, value: Any) -> None:
        self.value = value


def pack(value: Any) -> bytes:
    """One message: a value of JSON's types, tuples, sets, float32 arrays and the classes above."""
    arrays: list[np.ndarray[Any, np.dtype[np.float32]]] = []
    text = json.dumps(_encoded(value, arrays), ensure_ascii=False, separators=(",", ":")).encode(
        "utf-8", "surrogatepass"
    )
    return b"".join((_HEAD.pack(len(text)), text, *(np.ascontiguousarray(array).tobytes() for array in arrays)))


def unpack(message: bytes) -> Any:
    """The value again; a class that is not known is a ValueError."""
    (length,) = _HEAD.unpack_from(message)
    end = _HEAD.size + length
    value = json.loads(message[_HEAD.size : end].decode("utf-8", "surrogatepass"))
    return _decoded(value, memoryview(message)[end:])


def _encoded(value: Any, arrays: list[np.ndarray[Any, np.dtype[np.float32]]]) -> Any:  # noqa: C901 - one case a type
    match value:
        case Json():
            return {"$j": value.value}
        case None | str() | bool() | int() | float():
            return value
        case np.ndarray():
            start = sum(array.nbytes for array in arrays)
            arrays.append(value.astype(np.float32, copy=False))
            return {"$a": [start, *value.shape]}
        case dict() | Mapping():
            return {name: _encoded(each, arrays) for name, each in value.items()}
        case list():
            return [_encoded(each, arrays) for each in value]
        case tuple():
            return {"$t": [_encoded(each, arrays) for each in value]}
        case frozenset():
            return {"$s": sorted(value)}
        case _ if type(value).__name__ in _CLASSES:
            named = {each.name: _encoded(getattr(value, each.name), arrays) for each in fields(value)}
            return {"$c": type(value).__name__, "f": named}
        case _:
            raise TypeError(f"cannot send a {type(value).__name__}")


def _decoded(value: Any, tail: memoryview) -> Any:  # noqa: C901 - one case a type
    match value:
        case list():
            return [_decoded(each, tail) for each in value]
        case {"$a": [int(start), *shape]}:
            count = int(np.prod(shape))
            return np.frombuffer(tail, np.float32, count, start).reshape(shape)
        case {"$j": plain}:
            return plain
        case {"$t": items}:
            return tuple(_decoded(each, tail) for each in items)
        case {"$s": items}:
            return frozenset(items)
        case {"$c": name, "f": named}:
            if name not in _CLASSES:
                raise ValueError(f"no class {name!r} may come over the wire")
            return _CLASSES[name](**{field: _decoded(each, tail) for field, each in named.items()})
        case dict():
            return {name: _decoded(each, tail) for name, each in value.items()}
        case _:
            return value
