"""What all records of a PaperCut server have in common, and its printers, which depend on nothing else.

What belongs here: ids, time stamps, noting changes, printers. What does not: users, accounts, groups (`records`).
Source: `papercut-api.md` 5.1.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.sandbox.core import Core
from pipeline.sandbox.database import Database, Row
from pipeline.sandbox.papercut.undo import Undo
from pipeline.sandbox.papercut.values import RefusedError, flag

API_USER = "[api]"
TEMPLATE_PRINTER = "!!template printer!!"
FIRST_ID = 1001
ID_KINDS = ("user", "account", "printer", "group", "transaction")
SERVER_UUID = "server_uuid"
"""The sandbox's own configuration key for the identity of the server, which the printers of a site show."""


class Rows:
    """Rows of one site.

    Args:
        core: clock, switches.
        database: where changes are noted.
        config: PaperCut's configuration keys, shared with the server that owns them.
    """

    def __init__(self, core: Core, database: Database, config: dict[str, str]) -> None:
        self.core = core
        self.database = database
        self.config = config
        self.undo = Undo()
        self.zone = ZoneInfo(config.get("timezone", "UTC"))
        self.ids: dict[str, int] = dict.fromkeys(ID_KINDS, FIRST_ID)
        self.printers: dict[str, Row] = {}

    def next_id(self, kind: str) -> int:
        """The next id of a kind; a database that is restored gives the same ones again."""
        self.ids[kind] += 1
        return self.ids[kind] - 1

    def local(self, moment: datetime) -> datetime:
        """`moment` as the tables keep it: the server's local time without a zone."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def changed(self, table: str, row: Row, *columns: str) -> None:
        """Note that `columns` of this row have new values."""
        row.update(self.stamp("modified"))
        key = next(iter(row))  # every row begins with its primary key
        self.database.update(table, key, row, *columns, "modified_date", "modified_by", "modified_ticks")

    def mark_deleted(self, table: str, row: Row) -> None:
        """Delete softly: the row stays and says so."""
        row.update(deleted="Y", deleted_date=self.local(self.core.clock.now()))
        self.changed(table, row, "deleted", "deleted_date")

    def stamp(self, verb: str) -> Row:
        """The columns that say when and by whom a row was `created` or `modified`."""
        now = self.core.clock.now()
        ticks = {"modified_ticks": int(now.timestamp() * 1000)} if verb == "modified" else {}
        return {f"{verb}_date": self.local(now), f"{verb}_by": API_USER, **ticks}

    # Printers

    def printer(self, server: str, name: str) -> Row:
        r"""The printer `server\name`, in any case; the template has no server."""
        row = self.printers.get(f"{server}\\{name}".lower())
        if not row:
            raise RefusedError("unknown_printer", f"{server}\\{name}")
        self.undo.keep(self.printers, row)
        return row

    def add_printer(self, server: str, name: str, given: dict[str, Any] | None = None) -> Row:
        """A new printer, from the fields of the world file."""
        given = given or {}
        self.undo.keep(self.printers)
        row: Row = {
            "printer_id": self.next_id("printer"),
            "server_name": server,
            "printer_name": name,
            "display_name": given.get("display_name", name),
            "location": given.get("location", ""),
            "notes": given.get("notes", ""),
            "device_type": given.get("device_type", "PRINTER"),
            "charge_type": "SIMPLE",
            "default_cost": float(given.get("cost_simple", 0)),
            "disabled": flag(given.get("disabled")),
            "total_jobs": 0,
            "total_pages": 0,
            "total_sheets": 0,
            "server_uuid": self.config.get(SERVER_UUID) if server else None,
            "deleted": "N",
            **{f"custom{n}": "" for n in range(1, 7)},
            **self.stamp("created"),
            **self.stamp("modified"),
        }
        self.database.insert("tbl_printer", row)
        cost = {"printer_id": row["printer_id"], "attrib_name": "cost.simple", "attrib_value": str(row["default_cost"])}
        self.database.insert("tbl_printer_attribute", cost)
        self.printers[f"{server}\\{name}".lower()] = row
        return row
