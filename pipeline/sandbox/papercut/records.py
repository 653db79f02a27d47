"""What one PaperCut server knows: users, accounts, groups and the ledger, kept as rows of its own tables.

What belongs here: the records and the rules about them that hold whoever asks. What does not: printers and what all
rows have in common (`rows`), print jobs, XML-RPC, fault texts. Memory is the truth; every change is noted in the
database at once. Source: `papercut-api.md` 4 and 5.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from pipeline.sandbox.core import Core
from pipeline.sandbox.database import Database, Row
from pipeline.sandbox.papercut.rows import API_USER, TEMPLATE_PRINTER, Rows
from pipeline.sandbox.papercut.values import RefusedError, flag, money

TEMPLATE_ACCOUNT = "!!template account!!"
ALL_USERS = "!!All Users!!"
INTERNAL_USERS = "!!Internal Users!!"
HISTORY = {"department": "DEPARTMENT", "office": "OFFICE"}
"""The columns of a user whose former values `tbl_user_field_history` keeps, and their names there."""


@dataclass
class User:
    """A user with the personal account that pays for prints. `settings` are properties that no published table holds.

    `others` are further personal accounts by type, in lower case, on a server that has several.
    """

    row: Row
    account: Row
    password: str = ""
    pin: str = ""
    settings: dict[str, str] = field(default_factory=dict[str, str])
    others: dict[str, Row] = field(default_factory=dict[str, Row])

    @property
    def name(self) -> str:
        """The user name, lower-case."""
        return self.row["user_name"]


@dataclass
class Group:
    """A group and the names of its members; special groups (`!!…!!`) have no list."""

    row: Row
    members: set[str] = field(default_factory=set[str])


class Records(Rows):
    """The records of one site.

    Args:
        config: PaperCut's configuration keys, shared with the server that owns them.
    """

    def __init__(self, core: Core, database: Database, config: dict[str, str]) -> None:
        super().__init__(core, database, config)
        self.users: dict[str, User] = {}
        self.deleted: list[User] = []
        self.shared: dict[str, Row] = {}
        self.groups: dict[str, Group] = {}
        self.transactions: list[tuple[Row, datetime]] = []
        self.owners: dict[int, User] = {}
        self.history: dict[tuple[int, str], list[Row]] = {}
        self.personal = ["USER"]
        for name in (ALL_USERS, INTERNAL_USERS):
            self.add_group(name)
        self._add_account("SHARED", TEMPLATE_ACCOUNT)
        self.add_printer("", TEMPLATE_PRINTER)

    # Users

    def user(self, name: str) -> User:
        """The user with this name, in any case.

        Raises:
            RefusedError: no such user.
        """
        user = self.users.get(name.lower())
        if not user:
            raise RefusedError("unknown_user", name)
        return self.kept(user)

    def kept(self, user: User) -> User:
        """The same user, remembered as it is now in case the request fails."""
        if self.undo.open:
            self.undo.keep(user.row, user.account, user.settings, user.others, *user.others.values())
            password, pin = user.password, user.pin
            self.undo.add(lambda: user.__dict__.update(password=password, pin=pin))
        return user

    def find_card(self, number: str) -> User | None:
        """The user who has this card number, primary or secondary."""
        cards = ("card_number", "card_number2")
        found = (user for user in self.users.values() if number in map(user.row.get, cards))
        user = next(found, None) if number else None
        return user and self.kept(user)

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
        account = self._add_account(self.personal[0], name, balance=money(given.get("balance", 0)))
        account["restricted"] = flag(given.get("restricted"))
        row: Row = {
            "user_id": self.next_id("user"),
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
            **self.stamp("created"),
            **self.stamp("modified"),
        }
        user = User(row, account, str(given.get("password", "")), str(given.get("pin", "")))
        self.database.insert("tbl_user", row)
        self._own(user, account)
        self.users[name] = user
        self.undo.add(lambda: self.users.pop(name))
        self.give_accounts(user, self.personal)
        for column in HISTORY:
            self.note_field(user, column, "")
        return user

    def give_accounts(self, user: User, kinds: list[str]) -> None:
        """Let a user's first personal account be of the first type, and add one of each further type."""
        user.account["account_type"] = kinds[0]
        self.changed("tbl_account", user.account, "account_type")
        for kind in kinds[1:]:
            if kind.lower() not in user.others:
                user.others[kind.lower()] = account = self._add_account(kind, user.name)
                self._own(user, account)

    def _own(self, user: User, account: Row) -> None:
        number = account["account_id"]
        self.database.insert("tbl_user_account", {"user_id": user.row["user_id"], "account_id": number})
        self.owners[number] = user
        self.undo.add(lambda: self.owners.pop(number))

    def note_field(self, user: User, column: str, before: str) -> None:
        """Keep the history of a department or office after it changed; a period ends where the next one starts."""
        number, now = user.row["user_id"], self.local(self.core.clock.now())
        past = self.history.setdefault((number, column), [])
        if user.row[column] == before:
            return
        length, table = len(past), "tbl_user_field_history"
        if past and past[-1]["end_date"] is None:
            last = past[-1]
            self.database.amend(table, {name: last[name] for name in last if name != "end_date"}, {"end_date": now})
            past[-1] = last | {"end_date": now}
            self.undo.add(lambda: past.__setitem__(length - 1, last))
        if user.row[column]:
            entry = {"user_id": number, "field_type": HISTORY[column], "field_value": user.row[column]}
            past.append({**entry, "start_date": now, "end_date": None})
            self.database.insert(table, past[-1])
            self.undo.add(past.pop)

    def rename_user(self, user: User, name: str) -> None:
        """Give a user another name; everything else stays (3.1)."""
        name = name.lower()
        if name != user.name and name in self.users:
            raise RefusedError("user_exists", name)
        old = user.name
        del self.users[old]
        self.undo.add(lambda: (self.users.pop(name), self.users.update({old: user})))
        for group in self.groups.values():
            if user.name in group.members:
                self.undo.keep(group.members)
                group.members.symmetric_difference_update({user.name, name})
        user.row["user_name"] = user.account["account_name"] = user.account["account_name_lower"] = name
        self.users[name] = user
        self.changed("tbl_user", user.row, "user_name")
        self.changed("tbl_account", user.account, "account_name", "account_name_lower")

    def delete_user(self, user: User, *, redact: bool) -> None:
        """Mark a user as deleted: the row, its account and the history stay (4.3)."""
        name = user.name
        del self.users[name]
        self.deleted.append(user)
        self.undo.add(lambda: (self.deleted.pop(), self.users.update({name: user})))
        for group in self.groups.values():
            self.undo.keep(group.members)
            group.members.discard(user.name)
        self.mark_deleted("tbl_user", user.row)
        self.mark_deleted("tbl_account", user.account)
        if redact:
            personal = ("full_name", "email", "notes", "card_number", "card_number2", "secondary_user_name")
            user.row.update(dict.fromkeys(personal, ""), user_name=f"redacted-{user.row['user_id']}")
            self.changed("tbl_user", user.row, "user_name", *personal)

    def revive_user(self, name: str) -> User | None:
        """The deleted user of this name, brought back with account and balance, or None."""
        user = next((user for user in reversed(self.deleted) if user.name == name.lower()), None)
        if user:
            self.kept(user)
            self.deleted.remove(user)
            self.users[user.name] = user
            self.undo.add(lambda: (self.users.pop(name.lower()), self.deleted.append(user)))
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
        self.undo.keep(account)
        return account

    def add_shared_account(self, name: str) -> Row:
        """A new shared account, with its parent when that does not exist yet."""
        if name.lower() in self.shared:
            raise RefusedError("account_exists", name)
        self.undo.keep(self.shared)
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
        self.undo.keep(self.shared)
        parent, _, sub = new.partition("\\")
        account.update(account_name=parent, account_name_lower=parent.lower(), sub_name=sub, sub_name_lower=sub.lower())
        self.shared[new.lower()] = self.shared.pop(name.lower())
        self.changed("tbl_account", account, "account_name", "account_name_lower", "sub_name", "sub_name_lower")

    def delete_shared_account(self, name: str) -> None:
        """Mark a shared account as deleted."""
        self.mark_deleted("tbl_account", self.shared_account(name))
        self.undo.keep(self.shared)
        del self.shared[name.lower()]

    def post(self, account: Row, amount: Decimal, comment: str, kind: str = "ADJUST", **details: Any) -> None:
        """Change a balance and write the ledger row that says why. Always succeeds, even below zero (4.6).

        Args:
            account: the row to change.
            amount: positive adds, negative subtracts.
            comment: kept to 255 characters.
            kind: the transaction type, renamed by the switch `txn_types`.
            details: `by`, `at` (aware) and `job_id`, where they differ from an adjustment through the API now;
                `balance`: exactly what it becomes.
        """
        at = details.get("at") or self.core.clock.now()
        account["balance"] = details.get("balance", account["balance"] + amount)
        self.changed("tbl_account", account, "balance")
        names: dict[str, str] = self.core.switch("txn_types", {})
        row: Row = {
            "account_transaction_id": self.next_id("transaction"),
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
        self.undo.add(self.transactions.pop)

    def set_balance(self, account: Row, balance: Decimal, comment: str) -> None:
        """Bring a balance to a value, as one ledger row of the difference."""
        self.post(account, balance - account["balance"], comment, "SET", balance=balance)

    def available(self, account: Row) -> Decimal:
        """What the account may still spend: its balance and its own overdraft (4.6)."""
        own = account["use_global_overdraft"] == "N"
        return account["balance"] + (account["overdraft"] if own else Decimal(0))

    # Groups

    def group(self, name: str) -> Group:
        """The group with this exact name."""
        if name not in self.groups:
            raise RefusedError("unknown_group", name)
        self.undo.keep(self.groups, self.groups[name].row, self.groups[name].members)
        return self.groups[name]

    def add_group(self, name: str) -> None:
        """A new empty group."""
        if name in self.groups:
            raise RefusedError("group_exists", name)
        self.undo.keep(self.groups)
        row: Row = {
            "group_id": self.next_id("group"),
            "group_name": name,
            "initial_settings_enabled": "N",
            "initially_restricted": "N",
            "initial_credit": 0.0,
            "schedule_period": "NONE",
            "schedule_amount": 0.0,
            "allow_accum": "Y",
            "max_accum_balance": 0.0,
            **self.stamp("created"),
            **self.stamp("modified"),
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

    def _add_account(self, kind: str, name: str, sub: str = "", *, balance: Decimal | None = None) -> Row:
        row: Row = {
            "account_id": self.next_id("account"),
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
            **self.stamp("created"),
            **self.stamp("modified"),
        }
        self.database.insert("tbl_account", row)
        return row
