"""`python -m benchmarks [--small] [name ...]`: every measure, one table on the screen and in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benchmarks import latency, measures, volumes
from benchmarks.table import Row, page, show

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"


def plan(people: int = 10_000, *, small: bool = False) -> dict[str, Callable[[], list[Row]]]:
    """The measures by name, with so many customers, users and charges; small ones are for trying them out."""
    rounds = 2 if small else 5
    jobs = 50_000 if small else 1_000_000
    sites = 2 if small else 10
    people = 500 if small else people
    return {
        "pricing": lambda: volumes.pricing(jobs, rounds),
        "report": lambda: volumes.report(jobs, rounds),
        "extraction": lambda: measures.extraction(people, rounds),
        "transfer": lambda: measures.transfer(people, rounds),
        "charging": lambda: measures.charging(people, rounds),
        "quiet": lambda: measures.quiet(people, sites, rounds, budget=10 if small else 2400),
        "latency": lambda: latency.latency(5 if small else 50, small=small),
    }


def main() -> None:
    """Run the measures that are named, or all; only a run of all of them writes the page, never a small one."""
    measured = plan()
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(measured))
    parser.add_argument("--small", action="store_true", help="a twentieth of the sizes, two rounds, no page")
    parser.add_argument("--people", type=int, default=10_000, help="customers, users and charges; 10000 by default")
    asked = parser.parse_args()
    small: bool = asked.small
    people: int = asked.people
    if unknown := set(asked.names) - set(measured):
        parser.error(f"no measure is called {', '.join(sorted(unknown))}; there are {', '.join(measured)}")
    console, load = Console(), os.getloadavg()[0]
    if load > 1:
        console.print(f"The load of this machine is {load:.1f}: something else is at work, and figures will be off.")
    rows: list[Row] = []
    for name, measure in plan(people, small=small).items():
        if not asked.names or name in asked.names:
            console.print(f"{name} ...")
            rows += measure()
    show(rows, console)
    if not small and not asked.names:
        PAGE.write_text(page(rows, 5, load), "utf-8")
        console.print(f"written: {PAGE}")


if __name__ == "__main__":
    main()
