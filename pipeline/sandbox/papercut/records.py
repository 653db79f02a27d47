"""What one PaperCut server knows: users, accounts, groups, printers and the ledger, kept as rows of its own tables.

What belongs here: the records and the rules about them that hold whoever asks. What does not: print jobs, XML-RPC,
fault texts. Memory is the truth; every change is noted in the database at once. Source: `papercut-api.md` 4 and 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.sandbox.core import Core
from pipeline.sandbox.database import Database, Row
from pipeline.sandbox.papercut.values import RefusedError, flag, money

API_USER = "[api]"
TEMPLATE_PRINTER = "!!template printer!!"
TEMPLATE_ACCOUNT = "!!template account!!"
ALL_USERS = "!!All Users!!"
INTERNAL_USERS = "!!Internal Users!!"


@dataclass
class User:
    """A user with the built-in personal account. `settings` are properties that no published table holds."""

    row: Row
    account: Row
    password: str = ""
    pin: str = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def name(self) -> str:
        """The user name, lower-case."""
        return self.row["user_name"]


@dataclass
class Group:
    """A group and the names of its members; special groups (`!!…!!`) have no list."""

    row: Row
    members: set[str] = field(default_factory=set[str])


class Records:
    """The records of one site.

    Args:
        config: PaperCut's configuration keys, shared with the server that owns them.
    """

    def __init__(self, core: Core, database: Database, config: dict[str, str]) -> None:
        self.core = core
        self.database = database
        self.config = config
        self.zone = ZoneInfo(config.get("timezone", "UTC"))
        self.users: dict[str, User] = {}
        self.deleted: list[User] = []
        self.shared: dict[str, Row] = {}
        self.printers: dict[str, Row] = {}
        self.groups: dict[str, Group] = {}
        self.transactions: list[tuple[Row, datetime]] = []
        self.owners: dict[int, User] = {}
        self._ids = {table: count(1001) for table in ("user", "account", "printer", "group", "transaction")}
        for name in (ALL_USERS, INTERNAL_USERS):
            self.add_group(name)
        self._add_account("SHARED", TEMPLATE_ACCOUNT)
        self.add_printer("", TEMPLATE_PRINTER)

    def local(self, moment: datetime) -> datetime:
        """`moment` as the tables keep it: the server's local time without a zone."""
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def changed(self, table: str, row: Row, *columns: str) -> None:
        """Note that `columns` of this row have new values."""
        row.update(self._stamp("modified"))
        key = next(iter(row))  # every row begins with its primary key
        self.database.update(table, key, row, *columns, "modified_date", "modified_by", "modified_ticks")

    # Users

    def user(self, name: str) -> User:
        """The user with this name, in any case.

        Raises:
            RefusedError: no such user.
        """
        user = self.users.get(name.lower())
        if not user:
            raise RefusedError("unknown_user", name)
        return user

    def find_card(self, number: str) -> User | None:
        """The user who has this card number, primary or secondary."""
        cards = ("card_number", "card_number2")
        return (
            next((user for user in self.users.values() if number in map(user.row.get, cards)), None) if number else None
        )

    def find(self, column: str, text: str) -> User | None:
        """The first user whose column of `tbl_user` has this text, in any case."""
        wanted = text.casefold()
        found = (user for user in self.users.values() if str(user.row[column] or "").casefold() == wanted)
        return next(found, None) if wanted else None

    def add_user(self, name: str, given: dict[str, Any]) -> User:
        """A new user from the fields of the world file; what is left out is empty, an unrestricted external user."""
        name = name.lower()
        if name in self.users:
            raise RefusedError("user_exists", name)
        account = self._add_account("USER", name, balance=money(given.get("balance", 0)))
        account["restricted"] = flag(given.get("restricted"))
        row: Row = {
            "user_id": next(self._ids["user"]),
            "user_name": name,
            "full_name": given.get("full_name", ""),
            "email": given.get("email", ""),
            "notes": given.get("notes", ""),
            "department": given.get("department", ""),
            "office": given.get("office", ""),
            "card_number": given.get("card_number", ""),
            "card_number2": given.get("card_number2", ""),
            "secondary_user_name": "",
            "home_directory": "",
            "internal": flag(given.get("internal")),
            "disabled_printing": flag(given.get("disabled_print")),
            "disabled_printing_until": None,
            "disabled_net": "N",
            "total_jobs": 0,
            "total_pages": 0,
            "total_sheets": 0,
            "net_total_megabytes": 0.0,
            "net_total_time_hours": 0.0,
            "deleted": "N",
            **self._stamp("created"),
            **self._stamp("modified"),
        }
        user = User(row, account, str(given.get("password", "")), str(given.get("pin", "")))
        self.database.insert("tbl_user", row)
        self.database.insert("tbl_user_account", {"user_id": row["user_id"], "account_id": account["account_id"]})
        self.users[name] = self.owners[account["account_id"]] = user
        return user

    def rename_user(self, user: User, name: str) -> None:
        """Give a user another name; everything else stays (3.1)."""
        name = name.lower()
        if name != user.name and name in self.users:
            raise RefusedError("user_exists", name)
        del self.users[user.name]
        for group in self.groups.values():
            if user.name in group.members:
                group.members.symmetric_difference_update({user.name, name})
        user.row["user_name"] = user.account["account_name"] = user.account["account_name_lower"] = name
        self.users[name] = user
        self.changed("tbl_user", user.row, "user_name")
        self.changed("tbl_account", user.account, "account_name", "account_name_lower")

    def delete_user(self, user: User, *, redact: bool) -> None:
        """Mark a user as deleted: the row, its account and the history stay (4.3)."""
        del self.users[user.name]
        for group in self.groups.values():
            group.members.discard(user.name)
        self.deleted.append(user)
        self._mark_deleted("tbl_user", user.row)
        self._mark_deleted("tbl_account", user.account)
        if redact:
            personal = ("full_name", "email", "notes", "card_number", "card_number2", "secondary_user_name")
            user.row.update(dict.fromkeys(personal, ""), user_name=f"redacted-{user.row['user_id']}")
            self.changed("tbl_user", user.row, "user_name", *personal)

    def revive_user(self, name: str) -> User | None:
        """The deleted user of this name, brought back with account and balance, or None."""
        user = next((user for user in reversed(self.deleted) if user.name == name.lower()), None)
        if user:
            self.deleted.remove(user)
            self.users[user.name] = user
            for table, row in (("tbl_user", user.row), ("tbl_account", user.account)):
                row.update(deleted="N", deleted_date=None)
                self.changed(table, row, "deleted", "deleted_date")
        return user

    def disabled(self, user: User) -> bool:
        """Whether the user may not print now."""
        until = user.row["disabled_printing_until"]
        return user.row["disabled_printing"] == "Y" and (until is None or self.local(self.core.clock.now()) < until)

    # Accounts and the ledger

    def shared_account(self, name: str) -> Row:
        r"""The shared account with this name (`parent\sub` for a sub-account)."""
        account = self.shared.get(name.lower())
        if not account:
            raise RefusedError("unknown_account", name)
        return account

    def add_shared_account(self, name: str) -> Row:
        """A new shared account, with its parent when that does not exist yet."""
        if name.lower() in self.shared:
            raise RefusedError("account_exists", name)
        parent, _, sub = name.partition("\\")
        parent_id = None
        if sub:
            parent_id = (self.shared.get(parent.lower()) or self.add_shared_account(parent))["account_id"]
        account = self._add_account("SHARED", parent, sub)
        account["parent_id"] = parent_id
        self.shared[name.lower()] = account
        return account

    def rename_shared_account(self, name: str, new: str) -> None:
        """Give a shared account another name."""
        account = self.shared_account(name)
        if new.lower() in self.shared:
            raise RefusedError("account_exists", new)
        parent, _, sub = new.partition("\\")
        account.update(account_name=parent, account_name_lower=parent.lower(), sub_name=sub, sub_name_lower=sub.lower())
        self.shared[new.lower()] = self.shared.pop(name.lower())
        self.changed("tbl_account", account, "account_name", "account_name_lower", "sub_name", "sub_name_lower")

    def delete_shared_account(self, name: str) -> None:
        """Mark a shared account as deleted."""
        self._mark_deleted("tbl_account", self.shared_account(name))
        del self.shared[name.lower()]

    def post(self, account: Row, amount: Decimal, comment: str, kind: str = "ADJUST", **details: Any) -> None:
        """Change a balance and write the ledger row that says why. Always succeeds, even below zero (4.6).

        Args:
            account: the row to change.
            amount: positive adds, negative subtracts.
            comment: kept to 255 characters.
            kind: the transaction type, renamed by the switch `txn_types`.
            details: `by`, `at` (aware) and `job_id`, where they differ from an adjustment through the API now.
        """
        at = details.get("at") or self.core.clock.now()
        account["balance"] += amount
        self.changed("tbl_account", account, "balance")
        names: dict[str, str] = self.core.switch("txn_types", {})
        row: Row = {
            "account_transaction_id": next(self._ids["transaction"]),
            "transaction_date": self.local(at),
            "transacted_by": details.get("by", API_USER),
            "account_id": account["account_id"],
            "usage_log_type": "PRINT" if details.get("job_id") else None,
            "usage_log_id": details.get("job_id"),
            "amount": amount,
            "balance": account["balance"],
            "txn_comment": comment[:255],
            "is_credit": flag(amount > 0),
            "transaction_type": names.get(kind, kind),
        }
        self.database.insert("tbl_account_transaction", row)
        self.transactions.append((row, at))

    def set_balance(self, account: Row, balance: Decimal, comment: str) -> None:
        """Bring a balance to a value, as one ledger row of the difference."""
        self.post(account, balance - account["balance"], comment, "SET")

    def available(self, account: Row) -> Decimal:
        """What the account may still spend: its balance and its own overdraft (4.6)."""
        own = account["use_global_overdraft"] == "N"
        return account["balance"] + (account["overdraft"] if own else Decimal(0))

    # Groups and printers

    def group(self, name: str) -> Group:
        """The group with this exact name."""
        if name not in self.groups:
            raise RefusedError("unknown_group", name)
        return self.groups[name]

    def add_group(self, name: str) -> None:
        """A new empty group."""
        if name in self.groups:
            raise RefusedError("group_exists", name)
        row: Row = {
            "group_id": next(self._ids["group"]),
            "group_name": name,
            "initial_settings_enabled": "N",
            "initially_restricted": "N",
            "initial_credit": 0.0,
            "schedule_period": "NONE",
            "schedule_amount": 0.0,
            "allow_accum": "Y",
            "max_accum_balance": 0.0,
            **self._stamp("created"),
            **self._stamp("modified"),
        }
        self.database.insert("tbl_group", row)
        self.groups[name] = Group(row)

    def members(self, name: str) -> list[str]:
        """The sorted names of a group's users, also for the special groups."""
        group = self.group(name)
        if name == ALL_USERS:
            return sorted(self.users)
        if name == INTERNAL_USERS:
            return sorted(user.name for user in self.users.values() if user.row["internal"] == "Y")
        return sorted(group.members)

    def printer(self, server: str, name: str) -> Row:
        r"""The printer `server\name`, in any case; the template has no server."""
        row = self.printers.get(f"{server}\\{name}".lower())
        if not row:
            raise RefusedError("unknown_printer", f"{server}\\{name}")
        return row

    def add_printer(self, server: str, name: str, given: dict[str, Any] | None = None) -> Row:
        """A new printer, from the fields of the world file."""
        given = given or {}
        row: Row = {
            "printer_id": next(self._ids["printer"]),
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
            "deleted": "N",
            **{f"custom{n}": "" for n in range(1, 7)},
            **self._stamp("created"),
            **self._stamp("modified"),
        }
        self.database.insert("tbl_printer", row)
        cost = {"printer_id": row["printer_id"], "attrib_name": "cost.simple", "attrib_value": str(row["default_cost"])}
        self.database.insert("tbl_printer_attribute", cost)
        self.printers[f"{server}\\{name}".lower()] = row
        return row

    def _add_account(self, kind: str, name: str, sub: str = "", *, balance: Decimal | None = None) -> Row:
        row: Row = {
            "account_id": next(self._ids["account"]),
            "account_type": kind,
            "account_name": name,
            "account_name_lower": name.lower(),
            "sub_name": sub,
            "sub_name_lower": sub.lower(),
            "parent_id": None,
            "pin": "",
            "balance": balance or Decimal(0),
            "overdraft": Decimal(0),
            "restricted": "N",
            "use_global_overdraft": "Y",
            "disabled": "N",
            "invoicing": "USER_CHOICE_OFF",
            "comments": "USER_CHOICE_OFF",
            "notes": "",
            "deleted": "N",
            **self._stamp("created"),
            **self._stamp("modified"),
        }
        self.database.insert("tbl_account", row)
        return row

    def _mark_deleted(self, table: str, row: Row) -> None:
        row.update(deleted="Y", deleted_date=self.local(self.core.clock.now()))
        self.changed(table, row, "deleted", "deleted_date")

    def _stamp(self, verb: str) -> Row:
        now = self.core.clock.now()
        ticks = {"modified_ticks": int(now.timestamp() * 1000)} if verb == "modified" else {}
        return {f"{verb}_date": self.local(now), f"{verb}_by": API_USER, **ticks}
