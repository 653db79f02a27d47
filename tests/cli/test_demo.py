"""The demo as a person runs it, on a shorter month: real sandbox, real runs, and tables that are read from them."""

from __future__ import annotations

import io
import os
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from pipeline.cli import demo
from pipeline.cli.demo_mess import GUEST
from pipeline.errors import ConfigError
from pipeline.home import Home
from pipeline.sandbox.invented.edits import administration
from pipeline.sandbox.invented.world import make_world
from pipeline.store.warehouse import Warehouse

SHORT = (datetime(2026, 10, 3, 4, tzinfo=UTC), datetime(2026, 10, 6, 4, tzinfo=UTC))


def run(folder: Path, customers: int = 60) -> tuple[int, str]:
    """The exit code of a demo and what it printed."""
    output = io.StringIO()
    code = demo.run_demo(folder, console=Console(file=output, width=120), customers=customers)
    return code, output.getvalue()


def row(text: str, name: str) -> list[str]:
    """The cells of a row of the tables, by site."""
    line = next((line for line in text.splitlines() if re.match(rf"│ {re.escape(name)} +│", line)), None)
    assert line, f"no table has a row {name!r}:\n{text}"
    return [cell.strip() for cell in line.strip("│").split("│")][1:]


class Told(dict[str, str]):
    """The last table: what happened, in part, to what became of it."""

    def __missing__(self, part: str) -> str:
        (found,) = [told for what, told in self.items() if part in what]
        return found


def told_mess(text: str) -> Told:
    """The rows of the last table, whose cells go over several lines."""
    rows, table = [], text.partition("The mess of life")[2]
    for line in re.findall(r"^│(.*)│$", table, re.MULTILINE):
        cells = [cell.strip() for cell in line.split("│")]
        if cells[1]:
            rows.append(cells)
        else:
            rows[-1] = [f"{before} {more}".strip() for before, more in zip(rows[-1], cells, strict=True)]
    return Told({what: told for what, _, told in rows})


def _may_be_ours(user: dict[str, Any]) -> bool:
    """Whether a user is neither from a directory, nor the guest of the mess, nor the administrator of ezeep."""
    if "email" in user and "username" not in user:
        return user["email"] != "office@example.com"
    return user["internal"] and user["username"] != GUEST


def test_a_month_ends_with_nothing_unexplained(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}

    class Watched(demo.Month):
        """A month that asks the servers for their truth at its end."""

        def live(self) -> None:
            super().live()
            seen.update(self.control.get("state").json())

    monkeypatch.setattr(demo, "Month", Watched)
    monkeypatch.setattr(demo, "PAUSES", SHORT)
    monkeypatch.chdir(folder)
    before = dict(os.environ)
    code, text = run(Path("demo"))  # as `make demo` names it
    assert (code, row(text, "unexplained difference")) == (0, ["0"] * len(demo.SITES)), text
    assert dict(os.environ) == before, "the environment of the caller is left as it was"
    warehouse = Warehouse(Home(folder / "demo" / "data").warehouse)
    synced = warehouse.read("print_user_sync")
    compared = warehouse.read("reconciliation")
    left_out = warehouse.read("print_accounts").drop_nulls("reason")
    for position, site in enumerate(demo.SITES):
        made = synced.filter(site=site, action="create", outcome="done").height
        assert made > 0
        assert row(text, "created")[position] == str(made)
        assert row(text, "left out: suspended")[position] == str(left_out.filter(site=site, reason="suspended").height)
        assert row(text, "printed")[position] == str(compared.filter(site=site)["printed_cents"].sum())
        pages = sorted((folder / "demo" / "data" / "exports").rglob(f"*{site}*.html"))
        assert pages, f"there is no report of {site}"
        assert str(pages[0].relative_to(folder)) in text
        internal = [user for user in seen["sites"][site]["users"] if _may_be_ours(user)]
        assert row(text, "created")[position] == str(len(internal) + int(row(text, "removed")[position]))
        assert row(text, "jobs in all")[position] == str(len(seen["sites"][site]["jobs"]))
    sold = sum(sale["Quantity"] for sale in seen["nexudus"]["coworkerproducts"] if not sale.get("Deleted"))
    assert sum(map(int, row(text, "money in Nexudus"))) == sold > 0, "the table does not say what Nexudus holds"
    for name in ("charged", "paid by credit", "free", "held"):
        assert len(row(text, name)) == len(demo.SITES)
    mess = told_mess(text)
    assert "pin" in mess["a PIN that is a number"]
    assert "full_name" in mess["a name with"]
    assert "PaperCutFreePrinting is null where yes or no belongs" in mess["a flag that is null"]
    assert "Active is" in mess["a flag that is a word"]
    assert "renamed to" in mess["renamed a user"]
    assert "printbridge adopt" in mess["wrote over the notes"]
    assert "printbridge held assign" in mess["a guest printed"]
    assert "issue a credit note in Nexudus" in mess["refunded a job"]
    assert "FAILED" not in text
    assert (folder / "demo" / ".env").stat().st_mode & 0o077 == 0, "the file with the secrets is readable by others"
    assert "PRINTBRIDGE_CONFIG=demo/bridge.toml printbridge dev" in text


def test_a_run_that_fails_is_told_and_ends_with_1(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidding(*arguments: Any, **options: Any) -> Any:
        """A space whose API user may not make sales."""
        made = make_world(*arguments, **options)
        made["switches"]["denied_roles"] = ["CoworkerProduct-Create"]
        return made

    monkeypatch.setattr(demo, "PAUSES", SHORT[1:])
    monkeypatch.setattr(demo, "make_world", forbidding)
    code, text = run(folder / "demo", 90)
    assert code == 1
    assert "FAILED: nexudus_print_charges" in text
    assert "CoworkerProduct-Create" in text, "the text does not name the role to give"


def test_a_folder_with_something_else_is_left_alone(folder: Path) -> None:
    (folder / "thesis.txt").write_text("years of work", "utf-8")
    with pytest.raises(ConfigError, match="something other than a demo"):
        run(folder)
    assert [path.name for path in folder.iterdir()] == ["thesis.txt"]


def test_an_administrator_changes_flags_credits_names_and_addresses() -> None:
    world = make_world(300, demo.SITES, clock=demo.BEGIN.isoformat())
    edits = administration(world, 5)
    assert edits == administration(world, 5)
    assert len(edits) == 5
    changed = {name for turn in edits for edit in turn for name in edit["set"] if "id" in edit}
    assert changed == {"Active", "PaperCutPayAsYouPrint", "Email", "FullName", "AccessPincode", "RemainingUses"}
    assert any("id" not in edit for edit in edits[0]), "nobody is given credits"
