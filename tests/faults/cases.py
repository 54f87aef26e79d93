"""The cases by name: what is broken, what is promised then, and how often it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.bench import Trial

CASES: dict[str, Case] = {}


@dataclass(frozen=True)
class Case:
    """what: is done, for the table; promise: what must hold, a sentence. tries: in full; short: in the short form."""

    name: str
    what: str
    promise: str
    tries: int
    short: int
    run: Callable[[Trial], None]


def case(name: str, tries: int, short: int, what: str, promise: str) -> Callable[[Callable[[Trial], None]], Callable[[Trial], None]]:
    """Makes a function of a Trial a case."""

    def add(run: Callable[[Trial], None]) -> Callable[[Trial], None]:
        CASES[name] = Case(name, what, promise, tries, short, run)
        return run

    return add
