"""The reporting service of ezeep: a report is asked for, polled and downloaded (`ezeep-api.md` 4.1).

What belongs here: the functions behind its paths, and reports that are being made. What does not: what is in a report
(`jobs`). Only asking for one is documented; polling and downloading are inventions of the sandbox.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pipeline.sandbox.ezeep.answers import INVENTION, AbsentError, InvalidError, reply
from pipeline.sandbox.ezeep.calls import Call, flag, moment, stamp, text
from pipeline.sandbox.ezeep.jobs import Extract
from pipeline.sandbox.ezeep.routes import serves
from pipeline.sandbox.ezeep.switches import choice
from pipeline.sandbox.nexudus.answers import Answer

if TYPE_CHECKING:
    from pipeline.sandbox.ezeep.site import EzeepSite

Json = dict[str, Any]

PATH = "/reporting/reports"
SCOPES = ("printing", "reporting")
PRIVACY = ("file_name_obfuscated", "user_email_blank", "user_name_blank")
DELIMITERS = (",", ";")
MOST_HOURS = 23


@dataclass
class Report:
    """A report that was asked for. Its content is that of the moment in which it was asked for."""

    asked: Json
    content: str
    key: str
    """Part of the address of the download, which needs no token, as addresses signed for a while do not."""
    polls: int
    """How often it is still pending."""


@serves("api", "POST", PATH, "reports", SCOPES)
def ask(site: EzeepSite, call: Call) -> Answer:
    """Ask for a report."""
    content = call.content()
    start, end = moment(content, "start"), moment(content, "end")
    if end <= start:
        raise InvalidError("end", "The end is exclusive and comes after the start.")
    hours = content.get("timestamp_offset", 0)
    if isinstance(hours, bool) or not isinstance(hours, int) or abs(hours) > MOST_HOURS:
        raise InvalidError("timestamp_offset", "A valid integer is required.")
    delimiter = text(content, "csv_delimiter", required=False) or DELIMITERS[0]
    if delimiter not in DELIMITERS:
        raise InvalidError("csv_delimiter", "The delimiter is , or ;.")
    default = choice(site.core, "ezeep_report_privacy") == "blank"
    privacy = {name: flag(content, name, default=default) for name in PRIVACY}
    extract = Extract(start, end, hours, delimiter, privacy["user_email_blank"], privacy["file_name_obfuscated"])
    asked: Json = {
        "report_id": site.directory.new_id("report"),
        "created": stamp(site.core.clock.now()),
        "csv_delimiter": delimiter,
        "start": content["start"],
        "end": content["end"],
        "format": "csv",
        "status": "pending",
        "timestamp_offset": hours,
        **privacy,
        "user_id": site.directory.new_id("caller"),
    }
    polls = int(choice(site.core, "ezeep_report_polls"))
    site.reports[asked["report_id"]] = Report(asked, site.jobs.csv(extract), secrets.token_hex(16), polls)
    return reply(202, asked)


@serves("api", "GET", PATH + "/{id}", "reports", SCOPES)
def poll(site: EzeepSite, call: Call) -> Answer:
    """A report as it is: pending, then with the address of its content."""
    report = _report(site, call)
    if report.polls > 0:
        report.polls -= 1
    elif report.asked["status"] == "pending":
        report.asked["status"] = choice(site.core, "ezeep_report_outcome")
    shown = dict(report.asked)
    if shown["status"] == "succeeded":
        shown["download_url"] = f"{call.address}{PATH}/{shown['report_id']}/{report.key}"
    return reply(200, shown, invention="polling of a report and download_url")


@serves("api", "GET", PATH + "/{id}/{key}", "reports/download", scopes=None)
def download(site: EzeepSite, call: Call) -> Answer:
    """The content of a report that succeeded."""
    report = _report(site, call)
    if report.asked["status"] != "succeeded" or call.parameters["key"] != report.key:
        raise AbsentError
    label = {INVENTION: "download of a report and its columns"}
    return Answer(200, report.content.encode("utf-8", "replace"), "text/csv; charset=utf-8", label)


def _report(site: EzeepSite, call: Call) -> Report:
    if call.parameters["id"] not in site.reports:
        raise AbsentError
    return site.reports[call.parameters["id"]]
