"""The files in which PaperCut and its Print Logger write jobs as they happen, and a second export of them.

What belongs here: the daily tab-separated print log, the CSV folder with a header line, and the same jobs once more
with other names. What does not: deciding which jobs are written. Source: `papercut-api.md` 5.3 to 5.5.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, cast

from pipeline.sandbox.core import Core
from pipeline.sandbox.database import Row
from pipeline.sandbox.switches import LOG_FIELDS

CSV_TITLE = "PaperCut Print Logger - http://www.papercut.com/"
CSV_HEADER = (
    "Time", "User", "Pages", "Copies", "Printer", "Document Name", "Client", "Paper Size", "Language", "Height",
    "Width", "Duplex", "Grayscale", "Size",
)  # fmt: skip
JOB_LOG_HEADER = (
    "Date", "Username", "Printer Name", "Document", "Total Printed Pages", "Simplex Pages", "Duplex Pages",
    "Grayscale", "Total Color Pages",
)  # fmt: skip
"""The layout that three public scripts read: a title, an empty line, then this."""

ALL_TIME = "papercut-print-log-all-time.csv"
TIMES = {
    "iso": "%Y-%m-%d %H:%M:%S",
    "12h": "%Y-%m-%d %I:%M:%S %p",
    "day_first": "%d/%m/%Y %H:%M:%S",
    "month_first": "%m/%d/%Y %I:%M:%S %p",
}
"""The forms of the time in a second export."""


_PRINTER = ("server_name", "printer_name")
_JOB = (
    "client_machine", "document_name", "total_pages", "total_color_pages", "copies", "usage_cost", "duplex",
    "gray_scale", "document_size_kb", "paper_size", "printer_language",
)  # fmt: skip


class Entry(NamedTuple):
    """One job as the files show it: local time, user, account, and what they need of its rows in the database."""

    at: datetime
    user: str
    account: str
    printer: Row
    job: Row


class PrintFiles:
    """The print files of one site.

    Args:
        core: the switches are `text_log_layout` (a list of field names), `csv_layout` (`cost`, `print_logger`, which
            has no cost column, or `job_log`, see `JOB_LOG_HEADER`) and `print_file_encoding` (`utf-8`).
        print_log_folder: where `printlog_yyyy_mm_dd.log` goes; empty: no such file.
        csv_folder: where `papercut-print-log-yyyy-mm-dd.csv` goes; empty: no such file.
    """

    def __init__(self, core: Core, print_log_folder: str = "", csv_folder: str = "") -> None:
        self._core = core
        self._log = Path(print_log_folder) if print_log_folder else None
        self._csv = Path(csv_folder) if csv_folder else None
        self._lines: list[tuple[Path, bytes, bytes]] = []
        self._noted: list[Entry] = []
        self._written: list[Entry] = []

    def note(self, at: datetime, user: str, account: str, printer: Row, job: Row) -> None:
        """Note one job, by its local time `at`, its user and account, and its rows; `flush` writes it."""
        if not (self._log or self._csv):
            return
        entry = Entry(at, user, account, {name: printer[name] for name in _PRINTER}, {name: job[name] for name in _JOB})
        self._noted.append(entry)
        if self._log:
            self._add(self._log / f"printlog_{at:%Y_%m_%d}.log", self._log_line(entry))
        if self._csv:
            self._add(self._csv / f"papercut-print-log-{at:%Y-%m-%d}.csv", self._csv_line(entry), self._csv_head())

    def flush(self) -> None:
        """Write what was noted; a new file begins with its head."""
        for path, line, head in self._lines:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = line if path.exists() else head + line
            with path.open("ab") as file:
                file.write(text)
        self._written += self._noted
        self.forget()

    def mark(self) -> tuple[int, int]:
        """How much is noted now."""
        return len(self._lines), len(self._noted)

    def forget(self, mark: tuple[int, int] = (0, 0)) -> None:
        """Write nothing of what was noted, or nothing of what was noted since a mark."""
        del self._lines[mark[0] :]
        del self._noted[mark[1] :]

    def export(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Write all jobs once more, as somebody does who exports again after names were changed or redacted.

        Args:
            request: `kind`: `csv`, one new file `file` (the Print Logger's all-time file) beside the daily ones, or
                `log`: the daily files are written anew; `printers`, `documents`, `users`: {old: new}, or one text for
                all of them; `time`: a word of `TIMES` or a format of strftime; `order`: `reverse`, the last job first.

        Returns:
            The names of the files.

        Raises:
            ValueError, TypeError: no such kind of file here, or a value of the wrong kind.
        """
        kind = str(request.get("kind", "csv"))
        folder = {"csv": self._csv, "log": self._log}.get(kind)
        if folder is None:
            message = f"this site writes no files of the kind {kind!r}"
            raise ValueError(message)
        entries = [_changed(entry, request) for entry in self._written]
        entries = entries[::-1] if request.get("order") == "reverse" else entries
        form = str(request.get("time", ""))
        files: dict[str, str] = {}
        for entry in entries:
            name = (
                Path(str(request.get("file") or ALL_TIME)).name
                if kind == "csv"
                else f"printlog_{entry.at:%Y_%m_%d}.log"
            )
            line = self._csv_line(entry, form) if kind == "csv" else self._log_line(entry, form)
            files[name] = files.get(name, self._csv_head() if kind == "csv" else "") + line
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_bytes(self._encoded(text))
        return {"files": sorted(files)}

    def _add(self, path: Path, line: str, head: str = "") -> None:
        self._lines.append((path, self._encoded(line), self._encoded(head)))

    def _encoded(self, text: str) -> bytes:
        return text.encode(self._core.switch("print_file_encoding", "utf-8"), "replace")

    def _log_line(self, entry: Entry, form: str = "") -> str:
        fields = _log_fields(entry, form)
        names: list[str] = list(self._core.switch("text_log_layout", LOG_FIELDS))
        return "\t".join(fields.get(name, "") for name in names) + "\r\n"

    def _csv_head(self) -> str:
        layout = self._core.switch("csv_layout", "cost")
        if layout == "job_log":
            return f"Print Logs - Summary\r\n\r\n{','.join(JOB_LOG_HEADER)}\r\n"
        return f"{CSV_TITLE}\r\n{','.join([*CSV_HEADER, *(['Cost'] if layout == 'cost' else [])])}\r\n"

    def _csv_line(self, entry: Entry, form: str = "") -> str:
        layout, job = self._core.switch("csv_layout", "cost"), entry.job
        time = entry.at.strftime(TIMES.get(form or "iso", form))
        if layout == "job_log":
            double = job["total_pages"] if job["duplex"] == "Y" else 0
            pages = [
                job["total_pages"],
                job["total_pages"] - double,
                double,
                job["gray_scale"],
                job["total_color_pages"],
            ]
            return f"{_csv([time, entry.user, entry.printer['printer_name'], job['document_name'], *pages])}\r\n"
        cost = [_number(job["usage_cost"])] if layout == "cost" else []
        return _logger_line(time, entry, cost)


def _changed(entry: Entry, request: Mapping[str, Any]) -> Entry:
    """A job with the names of a second export."""
    printer = {**entry.printer, "printer_name": _new(request.get("printers"), entry.printer["printer_name"])}
    job = {**entry.job, "document_name": _new(request.get("documents"), entry.job["document_name"])}
    return entry._replace(printer=printer, job=job, user=_new(request.get("users"), entry.user))


def _new(names: Any, old: str) -> str:
    """The new name for an old one: from a map, the same for all, or as it was."""
    return str(cast("dict[str, object]", names).get(old, old)) if isinstance(names, dict) else str(names or old)


def _log_fields(entry: Entry, form: str) -> dict[str, str]:
    at, job = entry.at, entry.job
    twelve = f"{at.hour % 12 or 12}:{at:%M:%S} {'AM' if at.hour < 12 else 'PM'}"
    return {
        "date": f"{at:%Y-%m-%d}",
        "time": at.strftime("%H:%M:%S" if form == "24h" else form) if form else twelve,
        "server": entry.printer["server_name"],
        "printer": entry.printer["printer_name"],
        "user": entry.user,
        "account": entry.account,
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


def _logger_line(time: str, entry: Entry, cost: list[str]) -> str:
    """One line of the Print Logger: the document always quoted, a comma at the end."""
    job = entry.job
    start: list[Any] = [time, entry.user, job["total_pages"], job["copies"], entry.printer["printer_name"]]
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
    exact = f"{cost.normalize():f}"
    return f"{cost:.2f}" if len(exact.partition(".")[2]) <= 2 else exact
