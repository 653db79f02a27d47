"""`python -m tests.campaign`, or `make bench-safety`: the proofs of money safety, and one table of figures.

What belongs here: what is asked for, and the table. What does not: the campaigns (`campaigns.py`); a process of a pool
does not load this file. Without names every campaign runs; `python -m tests.campaign model users` runs two.
"""

from __future__ import annotations

import argparse
import sys

from rich.console import Console
from rich.table import Table

from tests.campaign.campaigns import CAMPAIGNS
from tests.campaign.scale import Scale


def main() -> int:
    """Run the campaigns that are named, or all of them; 1 if a figure is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.campaign", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *CAMPAIGNS], help="campaigns; none: all")
    parser.add_argument("--seed", type=int, default=20261120)
    parser.add_argument("--jobs", type=int, default=20_000, help="of the simulation; 100000 for a long night")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50_000, help="of the stateful story")
    parser.add_argument("--rounds", type=int, default=200, help="of overlapping processes")
    parser.add_argument("--worlds", type=int, default=5_000, help="of the user sync")
    parser.add_argument("--sample", type=int, default=0, help="of the small changes, with quick tests only; 0: all")
    parser.add_argument("--minutes", type=float, default=180, help="end each campaign after this time")
    given = parser.parse_args()
    scale = Scale(
        given.seed, given.jobs, given.kills, given.steps, given.rounds, given.worlds, given.sample, given.minutes
    )
    console = Console(width=150)
    table = Table("test", "figure wanted", "figure reached", "seed", title="Money safety")
    missed = False
    for name in given.names or CAMPAIGNS:
        row = CAMPAIGNS[name](scale, lambda text: console.print(text, highlight=False))
        table.add_row(row.test, row.wanted, row.reached, str(scale.seed), style="" if row.good else "red")
        missed |= not row.good
        if not row.good:
            console.print(f"replay: python -m tests.campaign {name} --seed {scale.seed}")
    console.print(table)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
