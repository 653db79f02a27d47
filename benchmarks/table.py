"""The table: one line per figure, on the screen and in docs/benchmarks.md.

What belongs here: how figures are shown, and what bounds a goal that was missed. What does not: measuring.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

HEAD = """# Benchmarks

Written by `make bench` on {day}: {cores} cores ({machine}), Python {python}, load {load:.1f} at the start. Every ratio
is from this one run, the bridge and its peer in turn on the same sandbox; medians of {rounds}. To repeat it:
`make bench`, with nothing else at work on the machine; `python -m benchmarks --small` is a quick look that writes no
page, and `python -m benchmarks pricing report` runs the measures that are named.

| figure | goal | reached | met | what was timed |
|---|---|---|---|---|
"""


class Row(NamedTuple):
    """One line of the table. `met` is None where nothing was measured; `bound` is what bounds a missed goal."""

    figure: str
    goal: str
    reached: str
    met: bool | None
    how: str
    bound: str = ""


def show(rows: Sequence[Row], console: Console) -> None:
    """Print the table, and what bounds the goals that were missed."""
    table = Table("figure", "goal", "reached", "met", "what was timed")
    for row in rows:
        table.add_row(row.figure, row.goal, row.reached, _met(row), row.how)
    console.print(table)
    for row in rows:
        if row.met is False:
            console.print(f"{row.figure}: {row.bound}")


def page(rows: Sequence[Row], rounds: int, load: float) -> str:
    """The page, Markdown."""
    text = HEAD.format(
        day=datetime.now(UTC).date(),
        cores=os.cpu_count(), machine=platform.machine(), python=platform.python_version(), load=load, rounds=rounds,
    )  # fmt: skip
    text += "".join(
        f"| {row.figure} | {row.goal.replace('|', '/')} | {row.reached} | {_met(row)} | {row.how} |\n" for row in rows
    )
    missed = [row for row in rows if row.met is False]
    if missed:
        text += "\n## What bounds the goals that were missed\n\n"
        text += "".join(f"- **{row.figure}** ({row.reached}, goal {row.goal}): {row.bound}\n" for row in missed)
    return text


def _met(row: Row) -> str:
    return "not measured" if row.met is None else "yes" if row.met else "no"
