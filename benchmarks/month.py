"""The month report of many jobs in one process: prints the times and the peak of memory as JSON.

What belongs here: a month of made-up jobs with their ledger lines, written as CSV by printbridge and by DuckDB's COPY.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import duckdb
import polars as pl

from benchmarks.pricing import NOW, RULES, made, priced, world
from benchmarks.worlds import paired, peak_mb, timed
from pipeline.domain import tables
from pipeline.reports import cells
from pipeline.reports import sheets as report
from pipeline.reports.page import page
from pipeline.reports.title import Title
from pipeline.store import jobs
from pipeline.store.sql import Connection, insert, read
from pipeline.store.warehouse import Warehouse

MONTH = "2026-10"


def _prepare(count: int, folder: Path) -> None:
    """A warehouse with the jobs, their ledger lines and three events of each, made in a process of its own."""
    given = world()
    lines = priced(made(count, str(folder)), given)
    store = Warehouse(folder / "warehouse.duckdb")

    def fill(con: Connection) -> None:
        insert(con, "print_jobs", pl.read_parquet(folder / "jobs.parquet"))
        insert(con, "nexudus_customers", given.customers)
        insert(con, "charge", lines.drop("state", "reason"))
        con.register("lines", lines)
        con.execute(
            "INSERT INTO charge_event SELECT ref, 0, state, $now, 'run', 'pipeline', NULL, coalesce(reason, rule)"
            " FROM lines",
            {"now": NOW},
        )
        for n, state in ((1, "sending"), (2, "confirmed")):
            con.execute(
                "INSERT INTO charge_event SELECT ref, $n, $state, $now, 'run', 'pipeline', NULL, ''"
                " FROM lines WHERE state = 'priced'",
                {"n": n, "state": state, "now": NOW},
            )
        con.unregister("lines")

    store.commit(fill)
    store.close()


def _sheets(folder: Path) -> dict[str, pl.DataFrame]:
    """As the step makes them, from the warehouse; the engine is given back as there."""
    store = Warehouse(folder / "warehouse.duckdb")
    with store.connect() as con:
        customers = read(con, "nexudus_customers")
        of = report.Month(MONTH, RULES, customers, tables.empty("reconciliation"), "GBP")
        start, end = report.month_bounds(MONTH, RULES.timezone)
        parts = [report.part(printed, lines, of) for printed, lines in jobs.parts(con, RULES.name, start, end)]
    store.close()
    return {**report.sheets(parts, of), "year_to_date": report.year_to_date(parts, of)}


def _ours(folder: Path) -> None:
    """Every CSV file and the page; the workbook, whose memory is constant, would take a minute more."""
    sheets = _sheets(folder)
    for name, sheet in sheets.items():
        _written(folder / f"{name}.csv", sheet)
    page(sheets, sheets, Title("site", MONTH, (RULES.timezone,)))


def _written(path: Path, sheet: pl.DataFrame) -> None:
    with path.open("wb") as file:
        cells.write_csv(sheet, file)


def _both(folder: Path, rounds: int) -> dict[str, object]:
    sheet = _sheets(folder)["jobs"]
    safe = cells.safe_cells(sheet)
    with duckdb.connect() as con:
        con.register("cells", pl.read_csv(cells.to_csv(sheet), infer_schema=False))
        con.execute("CREATE TABLE finished AS SELECT * FROM cells")
        con.unregister("cells")
        mine, copy = paired(
            lambda: _written(folder / "jobs.csv", sheet),
            lambda: con.execute(f"COPY finished TO '{folder / 'copy.csv'}' (HEADER)"),
            rounds,
        )
    return {
        "ours": mine, "copy": copy,
        "safe": statistics.median(timed(lambda: cells.safe_cells(sheet))[0] for _ in range(rounds)),
        "amounts": statistics.median(timed(lambda: cells.with_amounts(safe))[0] for _ in range(rounds)),
        "sheet_mb": sheet.estimated_size("mb"),
    }  # fmt: skip


def main() -> None:
    """`ours|both COUNT ROUNDS`; `make COUNT FOLDER` is called by the other two."""
    what, count, last = sys.argv[1:]
    if what == "make":
        _prepare(int(count), Path(last))
        return
    with tempfile.TemporaryDirectory(prefix="printbridge-bench-") as path:
        folder = Path(path)
        command = [sys.executable, "-m", "benchmarks.month", "make", count, path]
        subprocess.run(command, check=True)
        found = _both(folder, int(last)) if what == "both" else {"seconds": timed(lambda: _ours(folder))[0]}
    sys.stdout.write(json.dumps({**found, "peak_mb": peak_mb()}))


if __name__ == "__main__":
    main()
