"""The methods about users and their balances.

What belongs here: sections 3.1 and 3.2 of `papercut-api.md`, method by method. What does not: what a property means
(`properties`); printers, groups, shared accounts, configuration (`system`).
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from pipeline.sandbox.database import Row
from pipeline.sandbox.papercut.properties import (
    check_card,
    check_licence,
    check_name,
    check_password,
    check_pin,
    read_property,
    write_property,
)
from pipeline.sandbox.papercut.server import NoSuchMethodError, Server, method, page, pairs, strings
from pipeline.sandbox.papercut.values import RefusedError, flag, money

# 3.1 Users


@method("isUserExists", "S")
def user_exists(server: Server, name: str) -> bool:
    """Whether a user that is not deleted has this name."""
    return name.lower() in server.records.users


@method("addNewUser", "S")
def add_user(server: Server, name: str) -> None:
    """A user of the directory; every name is in the sandbox's directory."""
    server.records.add_user(name, {})


@method("addNewInternalUser", "SSSSSS", "SSSSSSB")
def add_internal_user(server: Server, name: str, password: str, *others: str) -> None:
    """An internal user, checked in the order name, password, PIN, card, licence.

    The wire has positions only: full name, e-mail, card, PIN, and in newer versions whether to send an e-mail.
    """
    full_name, email, card, pin, *send_email = others
    if server.switch("create_arity", "both") not in ("both", 6 + len(send_email), str(6 + len(send_email))):
        raise NoSuchMethodError
    if server.switch("internal_disabled", "allow") == "fault":
        raise RefusedError("internal_disabled")
    check_name(server, name)
    if name.lower() in server.records.users:
        raise RefusedError("user_exists", name)
    check_password(server, password)
    check_pin(server, pin)
    check_card(server, card)
    check_licence(server)
    given = {"full_name": full_name, "email": email, "card_number": card, "internal": True}
    user = server.records.revive_user(name) if server.switch("recreate", "new_row") == "revive" else None
    if user:
        texts = {column: str(text) for column, text in given.items() if text and column != "internal"}
        user.row.update(texts)
        server.records.changed("tbl_user", user.row, *texts)
    else:
        user = server.records.add_user(name, given)
    user.password, user.pin = password, pin
    credit = server.switch("initial_credit", "off")
    if credit != "off":
        server.records.post(user.account, money(credit), "Initial credit", "INITIAL")


@method("renameUserAccount", "SS")
def rename_user(server: Server, name: str, new: str) -> None:
    """Another name for a user."""
    check_name(server, new)
    server.records.rename_user(server.records.user(name), new)


@method("deleteExistingUser", "S", "SB")
def delete_user(server: Server, name: str, *redact: bool) -> None:
    """A soft delete; redaction empties the personal fields."""
    server.records.delete_user(server.records.user(name), redact=any(redact))


@method("lookUpUserNameByCardNo", "S")
def user_by_card(server: Server, number: str) -> str:
    """The user with this card, or an empty string."""
    user = server.records.find_card(number)
    return user.name if user else ""


@method("lookUpUserNameByIDNo", "S")
def user_by_id(server: Server, number: str) -> str:
    """As by card: the ID number is the primary card number."""
    return user_by_card(server, number)


@method("lookUpUserNameByEmail", "S")
def user_by_email(server: Server, email: str) -> str:
    """The first user with this address, or an empty string."""
    user = server.records.find("email", email)
    return user.name if user else ""


@method("lookUpUserNameBySecondaryUserName", "S")
def user_by_alias(server: Server, alias: str) -> str:
    """The first user with this alias, or an empty string."""
    user = server.records.find("secondary_user_name", alias)
    return user.name if user else ""


@method("lookUpUsersByFullName", "S")
def users_by_full_name(server: Server, full_name: str) -> list[str]:
    """Every user with this full name."""
    wanted = full_name.casefold()
    users = server.records.users.values()
    return sorted(user.name for user in users if str(user.row["full_name"]).casefold() == wanted)


@method("listUserAccounts", "II")
def list_users(server: Server, offset: int, limit: int) -> list[str]:
    """One page of user names, sorted; deleted ones are not in it."""
    return page(sorted(server.records.users), offset, limit)


@method("listUserAccounts", "SS")
def list_users_by_text(server: Server, *_: str) -> list[str]:
    """Numbers sent as strings: a fault, or an empty list as one connector reports (switch `string_int`)."""
    if server.switch("string_int", "fault") == "fault":
        raise NoSuchMethodError
    return []


@method("getTotalUsers", "")
def count_users(server: Server) -> int:
    """How many users there are."""
    return len(server.records.users)


@method("getUserProperty", "SS")
def get_property(server: Server, name: str, prop: str) -> str:
    """One property as text."""
    return read_property(server.records, server.records.user(name), prop)


@method("getUserProperties", "SV")
def get_properties(server: Server, name: str, props: list[str]) -> list[str]:
    """Several properties, in the order asked."""
    user = server.records.user(name)
    return [read_property(server.records, user, prop) for prop in strings(props)]


@method("setUserProperty", "SSS")
def set_property(server: Server, name: str, prop: str, value: str) -> None:
    """One property from text."""
    write_property(server, server.records.user(name), prop, value)


@method("setUserProperties", "SV")
def set_properties(server: Server, name: str, values: list[list[str]]) -> None:
    """Several properties, one after the other."""
    user = server.records.user(name)
    for prop, value in pairs(values):
        write_property(server, user, prop, value)


@method("disablePrintingForUser", "SI")
def disable_printing(server: Server, name: str, minutes: int) -> None:
    """No printing for some minutes; -1: until enabled again."""
    user = server.records.user(name)
    until = server.core.clock.now() + timedelta(minutes=max(minutes, 0))
    user.row["disabled_printing"] = "Y"
    user.row["disabled_printing_until"] = None if minutes < 0 else server.records.local(until)
    server.records.changed("tbl_user", user.row, "disabled_printing", "disabled_printing_until")


@method("resetUserCounts", "SS")
def reset_counts(server: Server, name: str, reset_by: str) -> None:
    """The user's totals back to zero."""
    row = server.records.user(name).row
    row.update(total_jobs=0, total_pages=0, total_sheets=0, reset_by=reset_by)
    row["reset_date"] = server.records.local(server.core.clock.now())
    server.records.changed("tbl_user", row, "total_jobs", "total_pages", "total_sheets", "reset_by", "reset_date")


@method("getUserOverdraftMode", "S")
def get_overdraft_mode(server: Server, name: str) -> str:
    """`individual` or `default`."""
    return "default" if server.records.user(name).account["use_global_overdraft"] == "Y" else "individual"


@method("setUserOverdraftMode", "SS")
def set_overdraft_mode(server: Server, name: str, mode: str) -> None:
    """`individual` or `default`."""
    account = server.records.user(name).account
    account["use_global_overdraft"] = flag(mode.lower() != "individual")
    server.records.changed("tbl_account", account, "use_global_overdraft")


@method("reapplyInitialUserSettings", "S")
@method("clearUserAdvancedPrinterSettings", "S")
@method("setUserAccountSelectionAutoChargePersonal", "S", "SB")
def leave_as_is(server: Server, name: str, *_: bool) -> None:
    """Settings that change nothing here: the user already has the first value of each."""
    server.records.user(name)


# 3.2 Balances


@method("getUserAccountBalance", "S", "SS")
def get_balance(server: Server, name: str, *account: str) -> Decimal:
    """The balance, as a double; without an account's name that of all personal accounts together."""
    if not any(account):
        user = server.records.user(name)
        total: Decimal = user.account["balance"]
        for other in user.others.values():
            total += other["balance"]
        return total
    return _account(server, name, *account)["balance"]


@method("adjustUserAccountBalance", "SDS", "SDSS")
def adjust_balance(server: Server, name: str, amount: float, comment: str, *account: str) -> None:
    """Add to the balance, or subtract; always succeeds."""
    server.records.post(_account(server, name, *account), money(amount), comment)


@method("adjustUserAccountBalanceByCardNumber", "SDS", "SDSS")
def adjust_balance_by_card(server: Server, number: str, amount: float, comment: str, *account: str) -> bool:
    """As above for the holder of a card; false: no such card."""
    user = server.records.find_card(number)
    if user:
        adjust_balance(server, user.name, amount, comment, *account)
    return user is not None


@method("adjustUserAccountBalanceIfAvailable", "SDSS")
def adjust_if_available(server: Server, name: str, amount: float, comment: str, account: str) -> bool:
    """As above when the credit suffices; false: it does not."""
    return adjust_leaving(server, name, amount, 0.0, comment, account)


@method("adjustUserAccountBalanceIfAvailableLeaveRemaining", "SDDSS")
def adjust_leaving(server: Server, name: str, amount: float, leave: float, *others: str) -> bool:
    """As above when at least `leave` remains (then comment and account); false: it would not."""
    comment, account = others
    row = _account(server, name, account)
    enough = server.records.available(row) + money(amount) >= money(leave)
    if enough or amount >= 0:
        server.records.post(row, money(amount), comment)
    return enough or amount >= 0


@method("setUserAccountBalance", "SDS", "SDSS")
def set_balance(server: Server, name: str, balance: float, comment: str, *account: str) -> None:
    """Bring the balance to a value."""
    server.records.set_balance(_account(server, name, *account), money(balance), comment)


@method("adjustUserAccountBalanceByGroup", "SDS", "SDSS")
def adjust_group(server: Server, group: str, amount: float, comment: str, *account: str) -> None:
    """Add to the balance of every member."""
    for name in server.records.members(group):
        adjust_balance(server, name, amount, comment, *account)


@method("adjustUserAccountBalanceByGroupUpTo", "SDDS", "SDDSS")
def adjust_group_up_to(server: Server, group: str, amount: float, limit: float, comment: str, *account: str) -> None:
    """Add to the balance of every member, up to a limit."""
    for name in server.records.members(group):
        row = _account(server, name, *account)
        room = max(money(limit) - row["balance"], Decimal(0))
        server.records.post(row, min(money(amount), room), comment)


@method("setUserAccountBalanceByGroup", "SDS", "SDSS")
def set_group_balance(server: Server, group: str, balance: float, comment: str, *account: str) -> None:
    """Bring the balance of every member to a value."""
    for name in server.records.members(group):
        set_balance(server, name, balance, comment, *account)


@method("useCard", "SS")
def use_card(server: Server, name: str, *_: str) -> str:
    """A top-up card; the sandbox has none."""
    return "INVALID_CARD_NUMBER" if user_exists(server, name) else "UNKNOWN_USER"


def _account(server: Server, name: str, account: str = "") -> Row:
    """The user's account of this type (`USER-001`); a blank name is the first one, which is the built-in one."""
    user = server.records.user(name)
    if not account or account.upper() == user.account["account_type"]:
        return user.account
    if account.lower() not in user.others:
        raise RefusedError("unknown_account", account)
    return user.others[account.lower()]
