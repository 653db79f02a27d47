"""The methods about groups, shared accounts, printers, configuration, jobs and tasks.

What belongs here: sections 3.3 to 3.6 of `papercut-api.md`, as far as an operator or a charging connector uses them.
What does not: users and balances (`users`). Imports from server files and reports have no method: they fault.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

from pipeline.sandbox import wire
from pipeline.sandbox.database import Row
from pipeline.sandbox.papercut.properties import shown, truth
from pipeline.sandbox.papercut.rows import TEMPLATE_PRINTER
from pipeline.sandbox.papercut.server import Server, method, page, pairs, strings
from pipeline.sandbox.papercut.values import RefusedError, flag, money

_ACCOUNT_TEXTS = {"comment-option": "comments", "invoice-option": "invoicing", "notes": "notes", "pin": "pin"}
_ACCOUNT_FLAGS = {"disabled": "disabled", "restricted": "restricted"}
_PRINTER_TEXTS = {f"custom-field-{n}": f"custom{n}" for n in range(1, 7)} | {"cost-model": "charge_type"}
_PRINTER_NUMBERS = {
    "print-stats.job-count": "total_jobs",
    "print-stats.page-count": "total_pages",
    "printer-id": "printer_id",
}

# 3.3 Groups


@method("addNewGroup", "S")
def add_group(server: Server, name: str) -> None:
    """A new group."""
    server.records.add_group(name)


@method("removeGroup", "S")
def remove_group(server: Server, name: str) -> None:
    """A group and its memberships are gone."""
    group = server.records.group(name)
    for member in list(group.members):
        leave_group(server, member, name)
    server.records.database.delete("tbl_group", {"group_id": group.row["group_id"]})
    del server.records.groups[name]


@method("isGroupExists", "S")
def group_exists(server: Server, name: str) -> bool:
    """Whether a group has this name."""
    return name in server.records.groups


@method("syncGroup", "S")
def sync_group(server: Server, name: str) -> bool:
    """Nothing to fetch: whether the group exists."""
    return group_exists(server, name)


@method("listUserGroups", "II")
def list_groups(server: Server, offset: int, limit: int) -> list[str]:
    """One page of group names, the special ones among them."""
    return page(sorted(server.records.groups), offset, limit)


@method("getUserGroups", "S")
def user_groups(server: Server, name: str) -> list[str]:
    """The groups of a user, the special ones among them."""
    user = server.records.user(name).name
    return sorted(group for group in server.records.groups if user in server.records.members(group))


@method("getGroupMembers", "SII")
def group_members(server: Server, name: str, offset: int, limit: int) -> list[str]:
    """One page of a group's users."""
    return page(server.records.members(name), offset, limit)


@method("addUserToGroup", "SS")
def join_group(server: Server, user: str, name: str) -> None:
    """One more member."""
    row, group = server.records.user(user).row, server.records.group(name)
    if row["user_name"] not in group.members:
        group.members.add(row["user_name"])
        link = {"user_id": row["user_id"], "group_id": group.row["group_id"]}
        server.records.database.insert("tbl_user_group", link)


@method("removeUserFromGroup", "SS")
def leave_group(server: Server, user: str, name: str) -> None:
    """One member less."""
    row, group = server.records.user(user).row, server.records.group(name)
    group.members.discard(row["user_name"])
    link = {"user_id": row["user_id"], "group_id": group.row["group_id"]}
    server.records.database.delete("tbl_user_group", link)


@method("getGroupQuota", "S")
def get_quota(server: Server, name: str) -> dict[str, Any]:
    """The credit that a group gives per period."""
    row = server.records.group(name).row
    return {
        "QuotaAmount": row["schedule_amount"],
        "QuotaPeriod": row["schedule_period"],
        "QuotaMaxAccumulation": row["max_accum_balance"],
    }


@method("setGroupQuota", "SDSD")
def set_quota(server: Server, name: str, amount: float, period: str, most: float) -> None:
    """Kept, never given out: no period ends in the sandbox."""
    row = server.records.group(name).row
    row.update(schedule_amount=amount, schedule_period=period, max_accum_balance=most)
    server.records.changed("tbl_group", row, "schedule_amount", "schedule_period", "max_accum_balance")


# 3.4 Shared accounts


@method("listSharedAccounts", "II")
def list_accounts(server: Server, offset: int, limit: int) -> list[str]:
    r"""One page of shared accounts, sub-accounts as `parent\sub`."""
    return page(sorted(map(_account_name, server.records.shared.values())), offset, limit)


@method("listUserSharedAccounts", "SII", "SIIB")
def list_user_accounts(server: Server, user: str, offset: int, limit: int, *_: bool) -> list[str]:
    """The shared accounts of a user: here every user may use all of them."""
    server.records.user(user)
    return list_accounts(server, offset, limit)


@method("isSharedAccountExists", "S")
def account_exists(server: Server, name: str) -> bool:
    """Whether a shared account has this name."""
    return name.lower() in server.records.shared


@method("addNewSharedAccount", "S")
def add_account(server: Server, name: str) -> None:
    """A new shared account."""
    server.records.add_shared_account(name)


@method("renameSharedAccount", "SS")
def rename_account(server: Server, name: str, new: str) -> None:
    """Another name for a shared account."""
    server.records.rename_shared_account(name, new)


@method("deleteExistingSharedAccount", "S")
def delete_account(server: Server, name: str) -> None:
    """A soft delete."""
    server.records.delete_shared_account(name)


@method("getSharedAccountAccountBalance", "S")
def get_account_balance(server: Server, name: str) -> Decimal:
    """The balance, as a double."""
    return server.records.shared_account(name)["balance"]


@method("adjustSharedAccountAccountBalance", "SDS")
def adjust_account(server: Server, name: str, amount: float, comment: str) -> None:
    """Add to the balance, or subtract."""
    server.records.post(server.records.shared_account(name), money(amount), comment)


@method("setSharedAccountAccountBalance", "SDS")
def set_account_balance(server: Server, name: str, balance: float, comment: str) -> None:
    """Bring the balance to a value."""
    server.records.set_balance(server.records.shared_account(name), money(balance), comment)


@method("getSharedAccountProperty", "SS")
def get_account_property(server: Server, name: str, prop: str) -> str:
    """One property as text."""
    row = server.records.shared_account(name)
    if prop in _ACCOUNT_TEXTS:
        return str(row[_ACCOUNT_TEXTS[prop]] or "")
    if prop in _ACCOUNT_FLAGS:
        return shown(row[_ACCOUNT_FLAGS[prop]])
    if prop in {"balance", "overdraft-amount"}:
        return wire.java_double(row[prop.removesuffix("-amount")])
    if prop == "account-id":
        return str(row["account_id"])
    if prop in {"access-users", "access-groups"}:
        return ""
    raise RefusedError("unknown_property", prop)


@method("getSharedAccountProperties", "SV")
def get_account_properties(server: Server, name: str, props: list[str]) -> list[str]:
    """Several properties, in the order asked."""
    return [get_account_property(server, name, prop) for prop in strings(props)]


@method("setSharedAccountProperty", "SSS")
def set_account_property(server: Server, name: str, prop: str, value: str) -> None:
    """One property from text."""
    row = server.records.shared_account(name)
    if prop == "balance":
        server.records.set_balance(row, money(value), "")
        return
    if prop in _ACCOUNT_TEXTS:
        column, content = _ACCOUNT_TEXTS[prop], value
    elif prop in _ACCOUNT_FLAGS:
        column, content = _ACCOUNT_FLAGS[prop], flag(truth(value))
    elif prop == "overdraft-amount":
        column, content = "overdraft", money(value)
    else:
        raise RefusedError("unknown_property", prop)
    row[column] = content
    server.records.changed("tbl_account", row, column)


@method("setSharedAccountProperties", "SV")
def set_account_properties(server: Server, name: str, values: list[list[str]]) -> None:
    """Several properties, one after the other."""
    for prop, value in pairs(values):
        set_account_property(server, name, prop, value)


def _account_name(row: Row) -> str:
    return "\\".join(filter(None, (row["account_name"], row["sub_name"])))


# 3.5 Printers


@method("listPrinters", "II")
def list_printers(server: Server, offset: int, limit: int) -> list[str]:
    r"""One page of `server\printer`, and the bare template entry."""
    rows = server.records.printers.values()
    names = sorted(f"{row['server_name']}\\{row['printer_name']}".removeprefix("\\") for row in rows)
    return page(names, offset, limit)


@method("getPrinterProperty", "SSS")
def get_printer_property(server: Server, host: str, printer: str, prop: str) -> str:
    """One property as text."""
    row = server.records.printer(host, printer)
    if prop in _PRINTER_TEXTS or prop in _PRINTER_NUMBERS:
        return str(row[(_PRINTER_TEXTS | _PRINTER_NUMBERS)[prop]])
    if prop == "disabled":
        return shown(row["disabled"])
    raise RefusedError("unknown_property", prop)


@method("getPrinterProperties", "SSV")
def get_printer_properties(server: Server, host: str, printer: str, props: list[str]) -> list[str]:
    """Several properties, in the order asked."""
    return [get_printer_property(server, host, printer, prop) for prop in strings(props)]


@method("setPrinterProperty", "SSSS")
def set_printer_property(server: Server, host: str, printer: str, prop: str, value: str) -> None:
    """One property from text."""
    if prop not in _PRINTER_TEXTS and prop != "disabled":
        raise RefusedError("unknown_property", prop)
    row = server.records.printer(host, printer)
    column = _PRINTER_TEXTS.get(prop, prop)
    row[column] = flag(truth(value)) if prop == "disabled" else value
    server.records.changed("tbl_printer", row, column)


@method("setPrinterProperties", "SSV")
def set_printer_properties(server: Server, host: str, printer: str, values: list[list[str]]) -> None:
    """Several properties, one after the other."""
    for prop, value in pairs(values):
        set_printer_property(server, host, printer, prop, value)


@method("enablePrinter", "SS")
def enable_printer(server: Server, host: str, printer: str) -> None:
    """The printer accepts jobs again."""
    _disable_printer(server, host, printer, "N", None)


@method("disablePrinter", "SSI")
def disable_printer(server: Server, host: str, printer: str, minutes: int) -> None:
    """The printer refuses jobs; the end of the minutes is written, but only `enablePrinter` ends it here."""
    _disable_printer(server, host, printer, "Y", None if minutes < 0 else minutes)


@method("renamePrinter", "SSSS")
def rename_printer(server: Server, host: str, printer: str, new_host: str, new_printer: str) -> None:
    """Another name for a printer."""
    records = server.records
    row = records.printer(host, printer)
    del records.printers[f"{host}\\{printer}".lower()]
    row.update(server_name=new_host, printer_name=new_printer, display_name=new_printer)
    records.printers[f"{new_host}\\{new_printer}".lower()] = row
    records.changed("tbl_printer", row, "server_name", "printer_name", "display_name")


@method("deletePrinter", "SS")
def delete_printer(server: Server, host: str, printer: str) -> None:
    """A soft delete; `[All Printers]` is every printer of the server."""
    server.records.undo.keep(server.records.printers)
    for row in list(server.records.printers.values()):
        named = row["printer_name"].lower() == printer.lower() or printer == "[All Printers]"
        if row["server_name"].lower() == host.lower() and named and row["printer_name"] != TEMPLATE_PRINTER:
            server.records.undo.keep(row)
            row.update(deleted="Y", deleted_date=server.records.local(server.core.clock.now()))
            server.records.changed("tbl_printer", row, "deleted", "deleted_date")
            del server.records.printers[f"{host}\\{row['printer_name']}".lower()]


@method("getPrinterCostSimple", "SS")
def get_printer_cost(server: Server, host: str, printer: str) -> float:
    """The price of a page."""
    return server.records.printer(host, printer)["default_cost"]


@method("setPrinterCostSimple", "SSD")
def set_printer_cost(server: Server, host: str, printer: str, cost: float) -> None:
    """Another price of a page."""
    row = server.records.printer(host, printer)
    row["default_cost"] = cost
    server.records.changed("tbl_printer", row, "default_cost")


def _disable_printer(server: Server, host: str, printer: str, disabled: str, minutes: int | None) -> None:
    row = server.records.printer(host, printer)
    until = None if minutes is None else server.core.clock.now() + timedelta(minutes=minutes)
    row.update(disabled=disabled, disabled_until=until and server.records.local(until))
    server.records.changed("tbl_printer", row, "disabled", "disabled_until")


# 3.6 System


@method("processJob", "S")
def process_job(server: Server, details: str) -> None:
    """One job, logged and charged."""
    server.jobs.process(details)


@method("getConfigValue", "S")
def get_config(server: Server, key: str) -> str:
    """A configuration key; an unknown one is an empty string, never a fault."""
    return server.config.get(key, "")


@method("setConfigValue", "SS")
def set_config(server: Server, key: str, value: str) -> None:
    """A configuration key, in force at once."""
    server.records.undo.keep(server.config)
    server.config[key] = value


@method("getTaskStatus", "")
def task_status(server: Server) -> dict[str, Any]:
    """The last background task; every task of the sandbox is done at once."""
    return {"completed": True, "message": server.task_message}


@method("performGroupSync", "")
@method("performUserAndGroupSync", "")
@method("performUserAndGroupSyncAdvanced", "BB")
@method("addNewUsers", "")
def sync(server: Server, *_: bool) -> None:
    """A synchronisation with an empty directory."""
    server.task_message = "Sync complete."


@method("performOnlineBackup", "")
def online_backup(server: Server) -> None:
    """A backup of nothing."""
    server.task_message = "Backup complete."


@method("changeInternalAdminPassword", "S")
def change_admin_password(server: Server, password: str) -> bool:
    """The password of the built-in administrator."""
    server.records.undo.keep(server.config)
    server.config["admin-password"] = password
    return True


@method("addAdminAccessUser", "S")
@method("addAdminAccessGroup", "S")
def add_admin(server: Server, name: str) -> None:
    """One more administrator."""
    server.records.undo.keep(server.admins)
    server.admins.add(name)


@method("removeAdminAccessUser", "S")
@method("removeAdminAccessGroup", "S")
def remove_admin(server: Server, name: str) -> None:
    """One administrator less."""
    server.records.undo.keep(server.admins)
    server.admins.discard(name)
