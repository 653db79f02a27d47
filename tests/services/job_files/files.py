"""Folders of job files as tests need them: a source over them, lines, and files of a day.

What belongs here: making them. What does not: expectations.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from pipeline.services.printing import JobSource
from pipeline.settings import SiteSettings
from pipeline.site import job_source

SAMPLES = Path(__file__).parents[2] / "fixtures" / "printlogger"
SINCE = datetime(2026, 11, 1, tzinfo=UTC)


def folder(
    path: Path, source: str = "print_log", *, since: datetime = SINCE, timezone: str = "Europe/London", **jobs: object
) -> JobSource:
    return job_source(
        SiteSettings.model_validate(
            {
                "business_id": 1,
                "timezone": timezone,
                "pricing_model": "free_unlimited",
                "charge_from": since,
                "papercut": {"url": "https://papercut.example:9192/rpc/api/xmlrpc", "token_env": "T"},
                "jobs": {"source": source, "path": path, **jobs},
            }
        )
    )


def line(
    time: str = "3:04:05 PM",
    user: str = "Anna@Example.com",
    *,
    day: str = "2026-11-05",
    account: str = "",
    document: str = "Letter",
    pages: str = "4",
    cost: str = "4.00",
) -> str:
    """A line of a print log, as `papercut-api.md` 5.3 lays it out."""
    fields = [
        day,
        time,
        "PRINTSRV",
        "Ground floor",
        user,
        account,
        "PC-7",
        document,
        pages,
        "1",
        "2",
        cost,
        "Y",
        "N",
        "19kb",
    ]
    return "\t".join(fields) + "\r\n"


def write(path: Path, text: str, *, day: int = 5, hour: int = 12, encoding: str = "utf-8") -> None:
    """Write a file, last changed at that moment of November 2026."""
    path.write_bytes(text.encode(encoding))
    touch(path, day=day, hour=hour)


def touch(path: Path, *, day: int, hour: int = 12) -> None:
    moment = datetime(2026, 11, day, hour, tzinfo=UTC).timestamp()
    os.utime(path, (moment, moment))


def log(path: Path, day: int = 5) -> Path:
    return path / f"printlog_2026_11_{day:02}.log"


HEADER = (
    "PaperCut Print Logger - http://www.papercut.com/\n"
    "Time,User,Pages,Copies,Printer,Document Name,Client,Paper Size,Language,Height,Width,Duplex,Grayscale,Size\n"
)
