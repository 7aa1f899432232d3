"""Two ways to do one thing, timed in turns in one run: on a busy machine only the ratio says something."""

import gc
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

Timed = Callable[[], float]
"""Does its work once and says how many seconds the part that counts took."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Ours against the bare way, and the ratio of their medians that we want to stay under."""

    name: str
    ours: Timed
    bare: Timed
    target: float


def seconds(action: Callable[[], object]) -> float:
    """How long one call takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def process(*command: str) -> Timed:
    """A whole process, from start to end; one that fails ends the benchmark."""

    def run() -> float:
        return seconds(lambda: subprocess.run(command, check=True, capture_output=True, stdin=subprocess.DEVNULL))

    return run


def compare(pairs: Sequence[Pair], *, rounds: int, warmups: int = 1) -> None:
    """Time every pair A B A B, `rounds` times after `warmups`, and print the table."""
    # The benchmark's own data would slow the collector down for whoever makes more objects.
    gc.collect()
    gc.freeze()
    rows: list[tuple[str, ...]] = [("", "ours", "bare", "ratio", "middle half", "target")]
    for pair in pairs:
        for _ in range(warmups):
            pair.ours()
            pair.bare()
        taken = [(pair.ours(), pair.bare()) for _ in range(rounds)]
        rows.append(_row(pair, taken))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _row(pair: Pair, taken: Sequence[tuple[float, float]]) -> tuple[str, ...]:
    ours, bare = median(each for each, _ in taken), median(each for _, each in taken)
    low, _, high = quantiles([one / other for one, other in taken], n=4)
    spread = f"{low:.2f} to {high:.2f}"
    return (
        pair.name,
        f"{ours * 1e3:.4g} ms",
        f"{bare * 1e3:.4g} ms",
        f"{ours / bare:.2f}",
        spread,
        f"{pair.target:g} {'met' if ours / bare <= pair.target else 'MISSED'}",
    )
