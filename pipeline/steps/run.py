"""What the steps of one run have in common: the run itself, and what a step makes.

What belongs here: these two values. What does not: the steps.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

Number = int | float | str


@dataclass(frozen=True)
class Run:
    """One run of one site.

    Attributes:
        id: its name in every history.
        dry: whether it must not write to a service.
        reread_days: how many days of jobs are read again, 0 for what is new.
        invites: whether everybody who waits to be invited by hand is asked for in this run.
        say: writes a sentence into the log of the run, for a person.
    """

    id: str
    dry: bool = False
    reread_days: int = 0
    invites: bool = False
    say: Callable[[str], None] = logging.getLogger("printbridge").warning


@dataclass(frozen=True)
class Made:
    """What a step made.

    Attributes:
        frame: the table, or the part of it, that it stored.
        numbers: what is worth a plot or a look, by name; the same names in every run.
    """

    frame: pl.DataFrame
    numbers: dict[str, Number] = field(default_factory=dict[str, Number])


def numbered(names: Iterable[str], found: Mapping[str, int]) -> dict[str, int]:
    """A number under every name, 0 where none was found: a plot has a point for each run."""
    return {name: found.get(name, 0) for name in names}
