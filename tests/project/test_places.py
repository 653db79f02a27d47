"""What may stand only in one place: writes, SQL, the clock, exceptions from the checks."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pipeline.store.schema import BOOKS
from tests.project.sources import (
    SOURCES,
    calls,
    inside,
    modules,
    parsed,
    text,
    tree,
    within,
)

WRITES = {
    "papercut": {"create_user", "set_properties", "adjust_balance", "delete_user", "rename_user"},
    "ezeep": {"invite", "send_again", "change_user", "delete_user", "make_group", "set_groups"},
}
"""The methods of the clients of print systems that change something."""

BEHIND = ("client", "system")
"""The modules of a print system that may call them."""

TO_SERVICES = {"nexudus": {"create", "update", "delete"}, "printing": {"apply", "mark", "resend"}}
"""What changes something in Nexudus, and in a print system."""

SQL = re.compile(
    r"\bSELECT\s.+?\bFROM\b|\bINSERT\s+INTO\b|\bDELETE\s+FROM\b|\bUPDATE\s+\w+\s+SET\b|\bMERGE\s+INTO\b"
    r"|\b(?:CREATE|ALTER|DROP|TRUNCATE)\s+(?:TABLE|VIEW|INDEX|SCHEMA|SEQUENCE|MACRO)\b",
    re.IGNORECASE | re.DOTALL,
)


def writes(given: Mapping[str, str]) -> list[str]:
    """Where a service is written to outside of `effects`; a print system makes its own calls behind `apply`."""
    found: list[str] = []
    for module, source in given.items():
        if inside(module, "pipeline.sandbox"):
            continue
        inner = {name for name in WRITES if inside(module, *(f"pipeline.services.{name}.{part}" for part in BEHIND))}
        for function, call in calls(source):
            written = {name for name, methods in WRITES.items() if function.attr in methods}
            its_own = bool(written) and _receiver(function) != "book"  # a workbook has properties, too
            ours = function.attr in TO_SERVICES.get(_receiver(function), ())
            if (its_own and not written & inner) or (ours and not inside(module, "pipeline.effects")):
                found.append(f"{module}:{call.lineno} {ast.unparse(function)}")
    return found


def sql(given: Mapping[str, str]) -> list[str]:
    """Where a statement of SQL stands outside of `store`; the sandbox has a database of its own."""
    return [
        f"{module}:{node.lineno} {node.value.strip()[:40]}"
        for module, source in given.items()
        if not inside(module, "pipeline.store", "pipeline.sandbox")
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value)
    ]


def test_only_effects_write_to_the_services() -> None:
    wrong = writes(modules())
    assert not wrong, f"{wrong} write to a service; move that to pipeline/effects"


def test_all_sql_is_in_the_store() -> None:
    wrong = sql(modules())
    assert not wrong, f"{wrong} is SQL; move it to pipeline/store"


@pytest.mark.parametrize(
    ("rule", "module", "planted"),
    [
        (writes, "pipeline.steps.charge", "site.nexudus.delete('coworkerproducts', 1)"),
        (writes, "pipeline.operations.access", "nexudus.update('coworkers', {})"),
        (writes, "pipeline.operations.adopt", "site.printing.mark('c1@example.com', 1)"),
        (writes, "assets.load", "sites['london'].printing.apply(change, secrets)"),
        (writes, "pipeline.effects.users", "client.delete_user('c1@example.com')"),
        (writes, "pipeline.operations.invitations", "client.invite('c1@example.com', '2026-12-01T00:00:00')"),
        (writes, "pipeline.services.ezeep.findings", "client.make_group('printbridge', '1')"),
        (writes, "pipeline.services.papercut.findings", "client.set_properties('c1@example.com', {})"),
        (sql, "pipeline.steps.decide", "con.execute('select ref from charge')"),
        (sql, "pipeline.operations.held", "con.sql(f'SELECT * FROM {table}')"),
        (sql, "pipeline.cli.main", "con.execute('INSERT INTO charge VALUES (1)')"),
        (sql, "assets.checks", "query(con, 'DELETE\\nFROM charge')"),
        (sql, "pipeline.effects.sales", "con.execute('UPDATE charge SET amount_cents = 0')"),
        (sql, "pipeline.services.digests", "con.execute('CREATE TABLE kept (n BIGINT)')"),
        (sql, "pipeline.reports.sheets", "con.execute('ALTER TABLE charge DROP amount_cents')"),
    ],
)
def test_a_planted_write_or_statement_is_noticed(
    rule: Callable[[Mapping[str, str]], list[str]], module: str, planted: str
) -> None:
    given = modules()
    assert len(rule({**given, module: f"{given[module]}\n{planted}\n"})) == len(rule(given)) + 1


def _receiver(function: ast.Attribute) -> str:
    """The last name in front of a method."""
    return ast.unparse(function.value).split(".")[-1]


READS = {
    "papercut": {"users", "total_users", "user_exists", "properties", "balance", "config_value", "printers",
                 "printer_cost", "close", "call", "host"},
    "ezeep": {"users", "user", "invitations", "organizations", "groups", "members", "member", "printers", "close"},
}  # fmt: skip


@pytest.mark.parametrize(("system", "name"), [("papercut", "PaperCutClient"), ("ezeep", "EzeepClient")])
def test_every_write_of_a_client_is_in_the_list(system: str, name: str) -> None:
    """A new write method must be named in WRITES, or the test above does not see it."""
    client = next(
        node
        for node in tree(Path(f"pipeline/services/{system}/client.py")).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    methods = {node.name for node in client.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"}
    assert methods - READS[system] == WRITES[system]


def test_the_raw_calls_stay_inside_the_clients() -> None:
    for path in SOURCES:
        if not within(path, "pipeline/services", "pipeline/sandbox", "pipeline/cli/demo.py", "pipeline/clock.py"):
            raw = [call.lineno for function, call in calls(text(path)) if function.attr in {"call", "request"}]
            assert not raw, f"{path}:{raw}: use a method of the client instead of its choke point"


def test_money_and_ownership_are_only_ever_appended() -> None:
    tables = "|".join(BOOKS.keys() - {"memory"})  # what a newer value followed is forgotten: it is neither
    statement = re.compile(
        rf"\b(?:UPDATE|DELETE\s+FROM|REPLACE\s+INTO|MERGE\s+INTO|TRUNCATE(?:\s+TABLE)?|DROP\s+TABLE|ALTER\s+TABLE)"
        rf"\s+(?:{tables})\b",
        re.IGNORECASE,
    )
    for path in SOURCES:
        if not within(path, "pipeline/sandbox"):
            # A numbered step of a migration may give a book another column, and change no row of it.
            rest = re.sub(r"ALTER TABLE \w+ ADD COLUMN", "", text(path)) if path.name == "schema.py" else text(path)
            assert not statement.search(rest), f"{path} changes rows of an append-only table"
    for path in SOURCES:
        for function, call in calls(text(path)):
            if function.attr == "replace":
                named = {str(each.value) for each in call.args if isinstance(each, ast.Constant)}
                assert not named & set(tables.split("|")), f"{path}:{call.lineno} replaces an append-only table"


def test_the_time_comes_from_one_place() -> None:
    homes = {Path("pipeline/clock.py"), Path("pipeline/sandbox/core.py")}
    asking = {
        ("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today"), ("time", "time"),
        ("time", "time_ns"), ("time", "localtime"), ("time", "gmtime"),
    }  # fmt: skip
    for path in SOURCES:
        if path not in homes:
            made = [(call.lineno, (_receiver(function), function.attr)) for function, call in calls(text(path))]
            lines = [line for line, called in made if called in asking]
            assert not lines, f"{path}:{lines} asks the system for the time; take it from pipeline/clock.py"


@pytest.mark.parametrize(
    "words",
    [
        "verify=False", "CERT_NONE", "check_hostname = False", "ServerProxy", "performUserAndGroupSyncAdvanced",
        "adjustUserAccountBalanceByGroup", "setUserAccountBalanceByGroup", "addAdminAccessUser",
        "reapplyInitialUserSettings", "resetUserCounts", "RetryPolicy", "import_module", "__import__",
    ],
)  # fmt: skip
def test_what_is_forbidden_is_not_there(words: str) -> None:
    """Unchecked certificates, calls that act on many users at once, retries of runs that write, imports by name."""
    found = [str(path) for path in SOURCES if not within(path, "pipeline/sandbox") and words in text(path)]
    assert not found, f"{found}: {words} is forbidden"


@pytest.mark.parametrize(
    ("mark", "most"), [("# noqa", 16), ("# type: ignore", 0), ("# pyright: ignore", 1), ("pragma: no cover", 0)]
)
def test_exceptions_from_the_checks_do_not_grow(mark: str, most: int) -> None:
    found = {str(path): text(path).count(mark) for path in SOURCES}
    total = sum(found.values())
    assert total <= most, f"{total} times {mark!r}, {most} are allowed: { ({k: v for k, v in found.items() if v}) }"
