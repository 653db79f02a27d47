"""`python -m benchmarks`: every measure, one table on the screen and in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks import measures
from benchmarks.measures import Row

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"

HEAD = """# Benchmarks

Written by `make bench`; every ratio is from one run, the bridge and its peer in turn on the same sandbox. Medians of
{rounds} rounds on {cores} ({python}).

| measure | figure | goal | detail |
|---|---|---|---|
"""


def main() -> None:
    """Run the measures; `--small` is for trying them out."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--small", action="store_true", help="a tenth of the sizes, one round")
    small: bool = parser.parse_args().small
    rounds, share = (1, 10) if small else (5, 1)
    console = Console()
    rows: list[Row] = []
    plan: list[tuple[str, Callable[[], list[Row]]]] = [
        ("pricing", lambda: measures.pricing(1_000_000 // share, rounds)),
        ("extraction", lambda: measures.extraction(10_000 // share, rounds)),
        ("quiet", lambda: measures.quiet(10_000 // share, 10 if not small else 2, rounds)),
        ("transfer", lambda: measures.transfer(600 // share, rounds)),
        ("charging", lambda: measures.charging(2_000 // share, rounds)),
    ]
    for name, measure in plan:
        console.print(f"{name} ...")
        rows += measure()
    table = Table("measure", "figure", "goal", "detail")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    if not small:
        head = HEAD.format(rounds=rounds, cores=platform.machine(), python=f"Python {platform.python_version()}")
        PAGE.write_text(head + "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n", "utf-8")


if __name__ == "__main__":
    main()
