"""The measures of much data, each in a process of its own for its peak of memory: pricing and the month report.

What belongs here: what is compared, and the rows of the table. What does not: the data and the calls (`pricing.py`,
`month.py`).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from benchmarks.table import Goal, Row

LARGE = 10  # how many times as many jobs the large round prices


def pricing(jobs: int, rounds: int) -> list[Row]:
    """Jobs priced and allocated against bare Polars, the memory it takes, and ten times as many."""
    both = _measured("pricing", "both", jobs, rounds)
    fresh = _measured("pricing", "ours", jobs, 1)
    memory, once = fresh["peak_mb"], fresh["ours"][0]
    large = _measured("pricing", "ours", jobs * LARGE, 1)["ours"][0]
    ours, bare = statistics.median(both["ours"]), statistics.median(both["bare"])
    return [
        Row(
            f"{jobs:,} jobs priced and allocated: time / the same scan, join and group-by in bare Polars",
            (Goal("<=", 3, form=".1f", value=ours / bare),),
            f"{ours:.2f} s against {bare:.2f} s; both read the jobs from the same Parquet file. The peer filters, joins"
            " user names, customers, accounts and credits, keeps a running total per person in order of time, and"
            " groups by person: 10,000 rows out. printbridge gives a ledger line with its reference for every job",
            "what a line needs and a group does not: " + ", ".join(f"{k} {v:.2f} s" for k, v in both["parts"].items()),
        ),
        Row(
            f"{jobs:,} jobs priced: peak memory",
            (Goal("<", 1536, "MiB", value=memory),),
            "the whole process that reads and prices them, without the peer",
            "the jobs, their lines and the copies that a sort makes of them",
        ),
        Row(
            f"{jobs * LARGE:,} jobs / {jobs:,} jobs",
            (Goal("<=", 11, "times as much", ".1f", large / once),),
            f"{large:.1f} s against {once:.2f} s, each one round in a process of its own, the first touch of memory"
            " included",
            "the kernel handing out and taking back pages, which grows faster than the rows; work in user space does"
            " not",
        ),
    ]


def report(jobs: int, rounds: int) -> list[Row]:
    """The month's jobs as CSV against DuckDB's COPY of the same cells, and the memory of the month's CSV files."""
    both = _measured("month", "both", jobs, rounds)
    memory = _measured("month", "ours", jobs, 1)["peak_mb"]
    ours, copy = statistics.median(both["ours"]), statistics.median(both["copy"])
    return [
        Row(
            f"month report, {jobs:,} jobs: CSV time / DuckDB COPY of the same rows",
            (Goal("<=", 2, form=".2f", value=ours / copy),),
            f"{ours:.2f} s against {copy:.2f} s: the sheet of jobs to a file; printbridge also makes each cell safe for"
            " spreadsheets and writes money in major units, DuckDB copies a table of the finished cells",
            f"making cells safe {both['safe']:.2f} s, amounts {both['amounts']:.2f} s, writing the rest",
        ),
        Row(
            f"month report, {jobs:,} jobs: peak memory",
            (Goal("<", 1024, "MiB", value=memory),),
            "the whole process that reads jobs and ledger from the warehouse, makes every sheet, and writes every CSV"
            " file and the page",
            f"{both['sheet_mb']:.0f} MB of the sheet, what one part of the month takes, and DuckDB's engine",
        ),
    ]


def _measured(module: str, what: str, jobs: int, rounds: int) -> dict[str, Any]:
    command = [sys.executable, "-m", f"benchmarks.{module}", what, str(jobs), str(rounds)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
