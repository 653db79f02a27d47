"""What was printed in an ezeep organisation, what was refunded, and both as the rows of a report.

What belongs here: jobs, who may print, refunds, the CSV. What does not: asking for a report (`reporting`), telling of a
job (`webhooks`). Of a real report no column is known: the header, the words in it and the forms of a refund are
inventions of the sandbox (`ezeep-api.md` 4.1).
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, NamedTuple

from pipeline.sandbox.core import LATEST
from pipeline.sandbox.ezeep.calls import instant, stamp
from pipeline.sandbox.ezeep.directory import Directory
from pipeline.sandbox.ezeep.switches import choice

Json = dict[str, Any]

HEADER = ("Date", "User", "Printer", "Pages", "Color", "Duplex", "Paper", "Copies", "Document", "Status")
STATUSES = ("succeeded", "failed")
REFUNDS = ("missing", "negative")
"""What a refund leaves in later reports: fewer pages, or no row when none is left; or a row with negative pages."""

MOST_PAGES = 1_000_000
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass
class Job:
    """One job, as it was printed."""

    job_id: str
    user_id: str | None
    username: str
    user_name: str
    printer: str
    printer_id: str
    pages: int
    color_pages: int
    paper: str
    duplex: bool
    copies: int
    document: str
    status: str
    at: datetime
    entered: datetime
    """When the service learnt of it."""
    taken_back: int = 0
    """Pages refunded."""
    hidden: int = 0
    """Those of them that reports leave out."""

    def state(self) -> Json:
        """The job in the shape of `GET /state`."""
        return {
            "job_id": self.job_id,
            "username": self.username,
            "printer": self.printer,
            "pages": self.pages,
            "color_pages": self.color_pages,
            "paper": self.paper,
            "duplex": self.duplex,
            "copies": self.copies,
            "document": self.document,
            "status": self.status,
            "at": stamp(self.at),
            "refunded": self.taken_back == self.pages,
            "refunded_pages": self.taken_back,
        }


class Row(NamedTuple):
    """A line of a report: a job, and how many pages of it."""

    job: Job
    at: datetime
    entered: datetime
    pages: int


class Extract(NamedTuple):
    """Which rows a report has, and how they are written."""

    start: datetime | None = None
    end: datetime | None = None
    """Exclusive."""
    offset_hours: int = 0
    delimiter: str = ","
    blank_email: bool = False
    obfuscated_document: bool = False


class Jobs:
    """The jobs of one organisation.

    Args:
        directory: who may print.
        printers: the names known from the start; a printer that somebody prints on is known from then on.
    """

    def __init__(self, directory: Directory, printers: list[Json]) -> None:
        self._directory = directory
        self._printers = printers
        self.all: dict[str, Job] = {}
        self._given_back: list[Row] = []

    def print(self, request: Json) -> Job:
        """Print.

        Args:
            request: `username` (an e-mail address), `printer`, `pages` (all that came out), `color_pages`, `paper`
                ("A4"), `at` (now), `duplex`, `copies`, `document`, `status` (`succeeded` or `failed`); with `force`
                a person prints who could not.

        Raises:
            ValueError: the person could not print, or the job could not be.
        """
        email, now = str(request.get("username") or ""), self._directory.core.clock.now()
        user = self._directory.find(email)
        if not request.get("force"):
            self._check(email)
        pages, color = _count(request, "pages", 1, least=1), _count(request, "color_pages", 0, least=0)
        status = str(request.get("status") or STATUSES[0])
        if color > pages or status not in STATUSES:
            message = f"a job has at most as many color_pages as pages, and a status of {' or '.join(STATUSES)}"
            raise ValueError(message)
        printer = self._printer(str(request.get("printer") or "printer"))
        at = instant(str(request["at"])) if request.get("at") else now
        if not EARLIEST <= at <= LATEST:
            message = f"nobody prints at {at.isoformat()}"
            raise ValueError(message)
        job = Job(
            job_id=self._directory.new_id("job"),
            user_id=user.id if user else None,
            username=user.email if user else email,
            user_name=user.name if user else "",
            printer=printer["name"],
            printer_id=printer["id"],
            pages=pages,
            color_pages=color,
            paper=str(request.get("paper") or "A4"),
            duplex=bool(request.get("duplex", False)),
            copies=_count(request, "copies", 1, least=1),
            document=str(request.get("document") or "document.pdf"),
            status=status,
            at=at,
            entered=now,
        )
        self.all[job.job_id] = job
        return job

    def refund(self, request: Json) -> Job:
        """Take pages of a job back, as staff may arrange it; ezeep itself has no such thing that is known.

        Args:
            request: `job_id`; `pages`, for a part; `how`, see `REFUNDS`.

        Raises:
            ValueError: no such job, no such form, or more pages than are left.
        """
        job, how = self.all.get(str(request.get("job_id"))), str(request.get("how") or REFUNDS[0])
        if job is None or how not in REFUNDS:
            message = (
                f"a refund names a job of this site and is {' or '.join(REFUNDS)}: {request.get('job_id')!r}, {how!r}"
            )
            raise ValueError(message)
        left = job.pages - job.taken_back
        pages = _count(request, "pages", left, least=1)
        if pages > left:
            message = f"of job {job.job_id} {left} pages are left, not {pages}"
            raise ValueError(message)
        job.taken_back += pages
        if how == "missing":
            job.hidden += pages
        else:
            now = self._directory.core.clock.now()
            self._given_back.append(Row(job, now, now, -pages))
        return job

    def csv(self, extract: Extract) -> str:
        """The jobs so far as the text of a report; jobs are in it as late as `ezeep_report_lag_seconds` says."""
        lag = timedelta(seconds=float(choice(self._directory.core, "ezeep_report_lag_seconds")))
        known = self._directory.core.clock.now() - lag
        rows = [Row(job, job.at, job.entered, job.pages - job.hidden) for job in self.all.values()]
        rows = [row for row in rows + self._given_back if row.pages and row.entered <= known]
        rows = [row for row in rows if _is_within(row.at, extract)]
        written = io.StringIO()
        lines = csv.writer(written, delimiter=extract.delimiter, lineterminator="\r\n")
        lines.writerow(HEADER)
        lines.writerows(_line(row, extract) for row in sorted(rows, key=lambda row: row.at))
        return written.getvalue()

    def keep(self) -> tuple[dict[str, Job], list[Row], list[Json]]:
        """The jobs as they are now, for `put_back`."""
        return dict(self.all), list(self._given_back), list(self._printers)

    def put_back(self, kept: tuple[dict[str, Job], list[Row], list[Json]]) -> None:
        """Let there be only the jobs that were kept."""
        self.all, self._given_back, self._printers[:] = kept

    def _check(self, email: str) -> None:
        user = self._directory.find(email)
        if user is None:
            why = "is no user"
        elif not user.is_verified:
            why = "has not logged in yet"
        elif not user.groups:
            why = "is in no group, so sees no printer"
        else:
            return
        message = f'{email or "nobody"} cannot print: {why}; "force": true prints nevertheless'
        raise ValueError(message)

    def _printer(self, name: str) -> Json:
        found = next((printer for printer in self._printers if printer["name"] == name), None)
        if found is None:
            found = {"id": self._directory.new_id("printer"), "name": name}
            self._printers.append(found)
        return found


def _count(request: Json, name: str, default: int, *, least: int) -> int:
    value = request.get(name)
    number = default if value is None else value
    if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= MOST_PAGES:
        message = f"{name} is a whole number from {least} to {MOST_PAGES}, not {number!r}"
        raise ValueError(message)
    return number


def _is_within(at: datetime, extract: Extract) -> bool:
    return (extract.start is None or at >= extract.start) and (extract.end is None or at < extract.end)


def _line(row: Row, extract: Extract) -> tuple[object, ...]:
    job, zone = row.job, timezone(timedelta(hours=extract.offset_hours))
    local = row.at.astimezone(zone).replace(microsecond=0)
    return (
        stamp(row.at.replace(microsecond=0), "seconds") if zone == UTC else local.isoformat(),
        "" if extract.blank_email else job.username,
        job.printer,
        row.pages,
        _word(job.color_pages > 0),
        _word(job.duplex),
        job.paper,
        job.copies,
        "*" * len(job.document) if extract.obfuscated_document else job.document,
        job.status,
    )


def _word(value: object) -> str:
    return "yes" if value else "no"
