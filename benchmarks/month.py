"""The month report of many jobs in one process: prints the times and the peak of memory as JSON.

What belongs here: a month of made-up jobs with their ledger lines, written as CSV by the bridge and by DuckDB's COPY.
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

from benchmarks.pricing import NOW, RULES, TIME, made, priced, world
from benchmarks.worlds import paired, peak_mb, timed
from pipeline.domain import cells, report, schemas

MONTH = "2026-10"


def _prepare(count: int, folder: Path) -> None:
    """The jobs and their ledger lines as files, so that making them costs this process no memory."""
    given = world()
    jobs = made(count, str(folder))
    lines = priced(jobs, given).with_columns(
        n=pl.lit(0, pl.Int64), happened_at=pl.lit(NOW, TIME), remote_id=pl.lit(None, pl.Int64), detail=pl.lit("")
    )
    lines.write_parquet(folder / "lines.parquet")
    given.customers.write_parquet(folder / "customers.parquet")


def _sheets(folder: Path) -> dict[str, pl.DataFrame]:
    jobs, lines, customers = (pl.read_parquet(folder / f"{name}.parquet") for name in ("jobs", "lines", "customers"))
    return report.monthly(jobs, lines, customers, schemas.empty("reconciliation"), RULES, MONTH, "GBP")


def _ours(folder: Path) -> None:
    for name, sheet in _sheets(folder).items():
        _written(folder / f"{name}.csv", sheet)


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
        "input_mb": sum((folder / f"{name}.parquet").stat().st_size for name in ("jobs", "lines")) / 2**20,
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
