"""Which source of print jobs a site reads.

What belongs here: the choice, from the configuration. What does not: reading (`database.py`, `folder.py`).
"""

from __future__ import annotations

from pathlib import Path

from pipeline.joblogs import JobSource
from pipeline.joblogs.csv_report import CsvReport
from pipeline.joblogs.database import PaperCutDatabase
from pipeline.joblogs.folder import JobFolder
from pipeline.joblogs.print_log import PrintLog
from pipeline.settings import SiteSettings, secret


def open_source(site: SiteSettings) -> JobSource:
    """The source that a site's configuration names. Nothing is read or connected yet.

    Raises:
        ConfigError: the secret is not set, its driver is not installed, or a name of a column or encoding is unknown.
    """
    jobs = site.jobs
    if jobs.source == "database":
        variable = jobs.uri_env or ""
        return PaperCutDatabase(secret(variable), uri_env=variable, timezone=site.timezone, since=site.charge_from)
    layout = PrintLog(jobs.columns) if jobs.source == "print_log" else CsvReport(jobs.columns)
    return JobFolder(
        jobs.path or Path(), layout=layout, timezone=site.timezone, encoding=jobs.encoding, since=site.charge_from
    )
