"""The files in which PaperCut and its Print Logger write jobs as they happen.

What belongs here: the daily tab-separated print log, and the CSV folder with a header line. What does not: deciding
which jobs are written. Source: `papercut-api.md` 5.3 to 5.5.
"""

from __future__ import annotations

import csv
import io
from datetime import datetime
from pathlib import Path
from typing import Any

from pipeline.sandbox.core import Core
from pipeline.sandbox.database import Row

LOG_FIELDS = (
    "date", "time", "server", "printer", "user", "account", "client", "document", "pages", "color_pages", "copies",
    "cost", "duplex", "grayscale", "size",
)  # fmt: skip
"""The default columns of the print log; those after `copies` are unknown (switch `text_log_layout`)."""

CSV_TITLE = "PaperCut Print Logger - http://www.papercut.com/"
CSV_HEADER = (
    "Time", "User", "Pages", "Copies", "Printer", "Document Name", "Client", "Paper Size", "Language", "Height",
    "Width", "Duplex", "Grayscale", "Size",
)  # fmt: skip


class PrintFiles:
    """The print files of one site.

    Args:
        core: the switches are `text_log_layout` (a list of field names), `csv_layout` (`cost`, or `print_logger`, which
            has no cost column) and `print_file_encoding` (`utf-8`).
        print_log_folder: where `printlog_yyyy_mm_dd.log` goes; empty: no such file.
        csv_folder: where `papercut-print-log-yyyy-mm-dd.csv` goes; empty: no such file.
    """

    def __init__(self, core: Core, print_log_folder: str = "", csv_folder: str = "") -> None:
        self._core = core
        self._log = Path(print_log_folder) if print_log_folder else None
        self._csv = Path(csv_folder) if csv_folder else None

    def write(self, at: datetime, user: str, account: str, printer: Row, job: Row) -> None:
        """Add one job, named by its local time `at`, its user and account, and its rows in the database."""
        if self._log:
            fields = _log_fields(at, user, account, printer, job)
            names: list[str] = list(self._core.switch("text_log_layout", LOG_FIELDS))
            line = "\t".join(fields.get(name, "") for name in names) + "\r\n"
            self._append(self._log / f"printlog_{at:%Y_%m_%d}.log", line)
        if self._csv:
            with_cost = self._core.switch("csv_layout", "cost") == "cost"
            head = f"{CSV_TITLE}\r\n{','.join([*CSV_HEADER, *(['Cost'] if with_cost else [])])}\r\n"
            line = _csv_line(at, user, printer, job, [_number(job["usage_cost"])] if with_cost else [])
            self._append(self._csv / f"papercut-print-log-{at:%Y-%m-%d}.csv", line, head)

    def _append(self, path: Path, line: str, head: str = "") -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = line if path.exists() else head + line
        with path.open("ab") as file:
            file.write(text.encode(self._core.switch("print_file_encoding", "utf-8"), "replace"))


def _log_fields(at: datetime, user: str, account: str, printer: Row, job: Row) -> dict[str, str]:
    return {
        "date": f"{at:%Y-%m-%d}",
        "time": f"{at.hour % 12 or 12}:{at:%M:%S} {'AM' if at.hour < 12 else 'PM'}",
        "server": printer["server_name"],
        "printer": printer["printer_name"],
        "user": user,
        "account": account,
        "client": job["client_machine"],
        "document": job["document_name"].replace("\t", " "),
        "pages": str(job["total_pages"]),
        "color_pages": str(job["total_color_pages"]),
        "copies": str(job["copies"]),
        "cost": _number(job["usage_cost"]),
        "duplex": job["duplex"],
        "grayscale": job["gray_scale"],
        "size": str(job["document_size_kb"]),
    }


def _csv_line(at: datetime, user: str, printer: Row, job: Row, cost: list[str]) -> str:
    """One line of the Print Logger: the document always quoted, a comma at the end."""
    start: list[Any] = [f"{at:%Y-%m-%d %H:%M:%S}", user, job["total_pages"], job["copies"], printer["printer_name"]]
    end: list[Any] = [
        job["client_machine"],
        job["paper_size"].upper(),
        job["printer_language"],
        "",
        "",
        "DUPLEX" if job["duplex"] == "Y" else "NOT DUPLEX",
        "GRAYSCALE" if job["gray_scale"] == "Y" else "NOT GRAYSCALE",
        f"{job['document_size_kb']}kb",
        *cost,
    ]
    document = '"' + job["document_name"].replace('"', '""') + '"'
    return f"{_csv(start)},{document},{_csv(end)},\r\n"


def _csv(values: list[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def _number(cost: Any) -> str:
    return f"{cost:.2f}" if cost == round(cost, 2) else f"{cost.normalize():f}"
