"""Canaries: a recognisable value is planted in place of every secret, everything is run, and nothing shows it.

What belongs here: where secrets must not be, and the few columns where e-mail addresses may. What does not: how a
single client hides what it is told (`test_nexudus_client.py`, `test_papercut_client.py`).
"""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Generator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.harness import Harness, telling
from tests.worlds import credit, customer, world

PIN, NEW_PIN, CARD, KEY_FOB = "58231904", "67340195", "CANARY-CARD-77", "CANARY-FOB-88"
TOKEN, PASSWORD = "canary-papercut-token", "canary-nexudus-password"
DOCUMENT, CLIENT = "canary-document.docx", "canary-client-machine"
EMAIL = "canary.person@example.com"

EMAIL_COLUMNS = {
    "nexudus_customers.email", "nexudus_customers.email_key", "print_users.username", "print_users.email",
    "print_jobs.username", "print_accounts.email_key", "print_accounts.email", "print_accounts.username",
    "print_charges.username", "print_charges.email_key", "user_sync_plan.username", "user_sync_plan.new_username",
    "user_sync_plan.email_key", "user_sync_plan.email", "print_user_sync.username", "charge.username",
    "charge.email_key", "return_event.username", "ownership_event.username", "ownership_event.email_key",
    "access_event.email_key",
}  # fmt: skip
"""The columns that need an e-mail or a user name made of one."""


@dataclass
class Traces:
    """What printbridge leaves behind."""

    harness: Harness
    secrets: dict[str, str]
    printed: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    outcomes: str = ""


class Everything(logging.Handler):
    """Keeps every log record of every logger as text, down to DEBUG."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(logging.Formatter("%(name)s %(message)s").format(record))


@pytest.fixture(scope="module")
def traces() -> Generator[Traces, None, None]:
    """Runs through Dagster that succeed and that fail in every way that has a secret near it."""
    people = [
        customer(101, Email=EMAIL, PaperCutPayAsYouPrint=True, AccessPincode=PIN, AccessCardId=CARD,
                 KeyFobNumber=KEY_FOB),
        customer(102),
    ]  # fmt: skip
    given = world(people, [credit(402, 102, 100)])
    site = given["sites"]["london"]
    site["config"] |= {"auth.webservices.auth-token": TOKEN}
    site["printers"] = [{"server": "srv", "name": "p1"}]
    given["nexudus"]["password"] = PASSWORD
    log = Everything()
    root, level = logging.getLogger(), logging.getLogger().level
    out = io.StringIO()
    with telling(given, card_number="access_card") as harness:
        root.addHandler(log)
        root.setLevel(logging.DEBUG)
        try:
            with redirect_stdout(out), redirect_stderr(out):
                outcomes = _live(harness)
        finally:
            root.removeHandler(log)
            root.setLevel(level)
        uri = harness.ready["sites"]["london"]["jobs_uri"]
        secrets = {
            "PIN": PIN, "new PIN": NEW_PIN, "card number": CARD, "key fob": KEY_FOB, "document name": DOCUMENT,
            "client machine": CLIENT, "PaperCut token": harness.ready["sites"]["london"]["token"],
            "Nexudus password": harness.ready["nexudus_password"],
            "database password": re.split("[:@]", uri.partition("//")[2])[1],
        }  # fmt: skip
        yield Traces(harness, secrets, out.getvalue() + "\n".join(log.lines), _files(harness), outcomes)


def _live(harness: Harness) -> str:
    """A day in which much goes wrong; the outcomes as text."""
    right = {"NEXUDUS_PASSWORD": harness.ready["nexudus_password"], "TOKEN_LONDON": TOKEN}
    seen = [harness.run()]
    for name in (EMAIL, "c102@example.com"):
        harness.print_job(name, 40, document=DOCUMENT, client=CLIENT)
    harness.print_job(EMAIL, "12.5", document=DOCUMENT, client=CLIENT)
    harness.advance(minutes=31)
    harness.edit("coworkers", 101, AccessPincode=NEW_PIN, FullName="New Name")
    harness.fault("nexudus", "POST coworkerproducts", "status", code=500, effect=True)
    harness.fault("london", "api.setUserProperties", "html_200")
    seen.append(harness.run())
    harness.advance(minutes=16)
    harness.fault("london", "api.setUserProperties", "drop_after")
    seen.append(harness.sync(checks=True))
    harness.switch(fault_text_bad_name=f"rejected {TOKEN} for {PIN}")
    harness.fault("nexudus", "GET coworkers", "truncate", times=20)
    harness.advance(hours=2)
    seen.append(harness.sync(checks=True))
    harness.heal()
    harness.papercut("setConfigValue", "internal-users.self-registration.min-password-length", "9")
    harness.edit("coworkers", 101, AccessPincode=PIN)
    seen.append(harness.sync(checks=True))
    harness.reconfigure(NEXUDUS_PASSWORD="canary-wrong-password", TOKEN_LONDON="canary-wrong-token")
    harness.add("coworkers", customer(103, PaperCutPayAsYouPrint=True))
    seen.append(harness.run())
    harness.reconfigure(**right)
    seen.append(harness.sync(checks=True))
    seen.append(harness.reconcile())
    seen.append(harness.run({"site": "london", "month": "2026-11"}, "monthly_report"))
    return "\n".join(map(repr, seen))


def _files(harness: Harness) -> dict[str, bytes]:
    """Every file of the state folder, whole: the warehouse, Dagster's event log and storage, exports, locks."""
    home = harness.state_folder.path
    return {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def test_the_canaries_reached_the_servers(traces: Traces) -> None:
    user = traces.harness.users()[EMAIL]
    assert (user["pin"], user["card_number"]) == (PIN, CARD), "the canary PIN and card never passed through printbridge"
    assert traces.secrets["PaperCut token"] == TOKEN
    assert len(traces.secrets["Nexudus password"]) >= 8
    assert len(traces.secrets["database password"]) >= 8
    assert traces.harness.sales(), "a sale should have been made"
    assert any("exports" in name for name in traces.files), "a report should have been written"
    assert any(name.startswith("history") for name in traces.files), "Dagster's event log should be there"


def _shown(traces: Traces, text: bytes) -> list[str]:
    """Which secrets a text shows, plain or as UTF-16."""
    every = {**traces.secrets, "wrong password": "canary-wrong-password", "wrong token": "canary-wrong-token"}
    return [what for what, value in every.items() if value.encode() in text or value.encode("utf-16-le") in text]


def test_no_file_of_the_state_folder_holds_a_secret(traces: Traces) -> None:
    hits = {name: shown for name, content in traces.files.items() if (shown := _shown(traces, content))}
    assert hits == {}, "secrets stand in files of the state folder"


def test_no_table_of_the_warehouse_holds_a_secret(traces: Traces) -> None:
    """The file is compressed, so the tables are also read as text."""
    hits: dict[str, list[str]] = {}
    for name, text in _columns(traces).items():
        if shown := _shown(traces, text.encode()):
            hits[name] = shown
    assert hits == {}, "secrets stand in columns of the warehouse"


def test_nothing_printed_or_logged_holds_a_secret(traces: Traces) -> None:
    assert len(traces.printed) > 1000, "the log of the runs should be there"
    assert _shown(traces, traces.printed.encode()) == [], "secrets were printed or logged"


def test_no_outcome_or_metadata_holds_a_secret(traces: Traces) -> None:
    assert "UnsafeError" in traces.outcomes or "ConfigError" in traces.outcomes, "some runs should have failed"
    assert _shown(traces, traces.outcomes.encode()) == [], "secrets stand in metadata or error texts"


def test_an_email_stands_only_in_the_columns_that_need_it(traces: Traces) -> None:
    found = {name for name, text in _columns(traces).items() if EMAIL in text.lower() or "c102@" in text}
    assert found <= EMAIL_COLUMNS, f"an e-mail address stands in {sorted(found - EMAIL_COLUMNS)}"


def test_no_email_stands_in_dagsters_records_or_in_the_log(traces: Traces) -> None:
    places = {
        name: content
        for name, content in traces.files.items()
        if not name.startswith(("warehouse.duckdb", "exports", "backups"))
    }
    hits = [name for name, content in places.items() if EMAIL.encode() in content.lower()]
    assert hits == [], "Dagster's storage is shown in the UI: no e-mail may stand there"
    lines = [line for line in traces.printed.splitlines() if EMAIL in line.lower()]
    assert lines == [], "a log line holds an e-mail"


def _columns(traces: Traces) -> dict[str, str]:
    """Every column of the warehouse as one text."""
    with traces.harness.sites.store.connect() as con:
        tables = [row[0] for row in con.execute("SELECT table_name FROM duckdb_tables()").fetchall()]
        frames = {table: con.table(table).pl() for table in tables}
    return {
        f"{table}.{column}": " ".join(map(str, frame[column].unique()))
        for table, frame in frames.items()
        for column in frame.columns
    }


def test_files_are_private(traces: Traces) -> None:
    home = traces.harness.state_folder.path
    open_ = [str(path.relative_to(home)) for path in [home, *home.rglob("*")] if path.stat().st_mode & 0o077]
    assert open_ == [], "others can read these: everything is made under umask 077"


def test_home_is_where_everything_is(traces: Traces) -> None:
    beside = {path.name for path in Path(traces.harness.config).parent.iterdir()}
    assert beside == {"bridge.toml", "data", "sandbox"}, "the bridge wrote outside its state folder"
