"""The table: one line per figure, on the screen and in docs/benchmarks.md.

What belongs here: how figures are shown, and what bounds a goal that was missed. What does not: measuring.
"""

from __future__ import annotations

import operator
import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal, NamedTuple

from rich.console import Console
from rich.table import Table

HEAD = """# Benchmarks

Written by `make bench` on {day}: {cores} cores ({machine}), Python {python}, load {load:.1f} at the start. Every ratio
is from this one run, printbridge and its peer in turn on the same sandbox; medians of {rounds}. To repeat it:
`make bench`, with nothing else at work on the machine; `python -m benchmarks --small` is a quick look that writes no
page, and `python -m benchmarks pricing report` runs the measures that are named.

| figure | goal | reached | met | what was timed |
|---|---|---|---|---|
"""


class Goal(NamedTuple):
    """One comparison, which says itself what is wanted and what was reached.

    Attributes:
        sign: how the value must compare; `=` for an exact number.
        limit: with what.
        unit: what stands behind both numbers.
        form: how the value is printed.
        value: what was measured; None where nothing was.
    """

    sign: Literal["<", "<=", ">=", "="]
    limit: float
    unit: str = ""
    form: str = ",.0f"
    value: float | None = None

    def __str__(self) -> str:
        """What is wanted."""
        return f"{self.sign} {self.limit:,g} {self.unit}".removeprefix("= ").strip()

    @property
    def reached(self) -> str:
        """What was reached."""
        return "not measured" if self.value is None else f"{self.value:{self.form}} {self.unit}".strip()

    @property
    def met(self) -> bool | None:
        """Whether the value compares as it must."""
        return None if self.value is None else COMPARED[self.sign](self.value, self.limit)


COMPARED: dict[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">=": operator.ge, "=": operator.eq,
}  # fmt: skip


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        figure: what was measured.
        goals: what is wanted of it, each with what was reached.
        how: how it was measured.
        bound: what bounds a goal that is missed.
        remark: more about what was reached.
    """

    figure: str
    goals: tuple[Goal, ...]
    how: str
    bound: str = ""
    remark: str = ""

    @property
    def goal(self) -> str:
        """What is wanted."""
        return "; ".join(map(str, self.goals))

    @property
    def reached(self) -> str:
        """What was reached."""
        return "; ".join(goal.reached for goal in self.goals) + (f" ({self.remark})" if self.remark else "")

    @property
    def met(self) -> bool | None:
        """Whether every goal was met; None where nothing was measured."""
        return None if any(goal.met is None for goal in self.goals) else all(goal.met for goal in self.goals)


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
