"""The properties of a user as text, and the rules for names, passwords, PINs, cards and licences.

What belongs here: sections 4.1 to 4.3 of `papercut-api.md`, with the switches of 9.2. What does not: the methods that
read and set them (`users`).
"""

from __future__ import annotations

from collections.abc import Callable

from pipeline.sandbox import wire
from pipeline.sandbox.papercut.records import HISTORY, Records, User
from pipeline.sandbox.papercut.server import Server
from pipeline.sandbox.papercut.values import RefusedError, flag, money

_TEXTS = {
    "department": "department",
    "office": "office",
    "notes": "notes",
    "email": "email",
    "full-name": "full_name",
    "home": "home_directory",
    "username-alias": "secondary_user_name",
    "primary-card-number": "card_number",
    "secondary-card-number": "card_number2",
    "card-number": "card_number",
    "card-number2": "card_number2",
}
_FLAGS = {"disabled-print": "disabled_printing", "disabled-net": "disabled_net"}
_NUMBERS = {
    "print-stats.job-count": "total_jobs",
    "print-stats.page-count": "total_pages",
    "net-stats.data-mb": "net_total_megabytes",
    "net-stats.time-hours": "net_total_time_hours",
}
_SETTINGS = {
    "unauthenticated": "false",
    "dont-hold-jobs-in-release-station": "false",
    "dont-apply-printer-filter-rules": "false",
    "printer-cost-adjustment-rate-percent": "-1",
    "dont-archive": "false",
    "auto-release-jobs": "false",
}
_READ_ONLY = {
    "account-selection.mode": "AUTO_CHARGE_TO_PERSONAL_ACCOUNT",
    "account-selection.can-charge-personal": "true",
    "account-selection.can-charge-shared-from-list": "false",
    "account-selection.can-charge-shared-by-pin": "false",
    "other-emails": "",
    "auto-shared-account": "",
    "delegated-users": "",
    "delegated-groups": "",
}
_SPECIAL: dict[str, Callable[[User], str]] = {
    "balance": lambda user: wire.java_double(user.account["balance"]),
    "overdraft-amount": lambda user: wire.java_double(user.account["overdraft"]),
    "restricted": lambda user: shown(user.account["restricted"]),
    "internal": lambda user: shown(user.row["internal"]),
    "disabled-net": lambda user: shown(user.row["disabled_net"]),
}


def shown(value: str) -> str:
    """A flag of the tables as properties show it: `true` or `false`."""
    return str(value == "Y").lower()


def read_property(records: Records, user: User, prop: str) -> str:
    """One property as text.

    Raises:
        RefusedError: an unknown property; `pin`, `card-pin` and `password` can only be set.
    """
    if prop in _TEXTS:
        return str(user.row[_TEXTS[prop]] or "")
    if prop in _NUMBERS:
        return str(user.row[_NUMBERS[prop]])
    if prop in _SPECIAL:
        return _SPECIAL[prop](user)
    if prop == "disabled-print":
        return str(records.disabled(user)).lower()
    known = _SETTINGS | _READ_ONLY
    if prop not in known:
        raise RefusedError("unknown_property", prop)
    return user.settings.get(prop, known[prop])


def truth(text: str) -> bool:
    """Whether a property value means true, in any case."""
    return text.strip().lower() == "true"


def write_property(server: Server, user: User, prop: str, value: str) -> None:
    """Set one property from text; a number or a truth value is its text too.

    Raises:
        RefusedError: an unknown or read-only property, or a value against the rules.
    """
    records = server.records
    if prop in _TEXTS:
        _set_text(server, user, _TEXTS[prop], value)
    elif prop in _FLAGS:
        user.row.update({_FLAGS[prop]: flag(truth(value)), "disabled_printing_until": None})
        records.changed("tbl_user", user.row, _FLAGS[prop], "disabled_printing_until")
    elif prop in _NUMBERS:
        user.row[_NUMBERS[prop]] = float(money(value)) if prop.startswith("net-") else int(money(value))
        records.changed("tbl_user", user.row, _NUMBERS[prop])
    elif prop in _SETTINGS:
        user.settings[prop] = value.lower() if value.lower() in {"true", "false"} else value
    elif prop in _READ_ONLY:
        raise RefusedError("read_only", prop)
    else:
        _set_special(server, user, prop, value)


def _set_text(server: Server, user: User, column: str, value: str) -> None:
    if column.startswith("card_number"):
        if value == "" and server.switch("clear_card", "empty_or_space") == "space_only":
            return
        value = value.strip()
        check_card(server, value, user)
    _keep_text(server, user, column, value)


def is_text(prop: str) -> bool:
    """Whether a property is a text that no rule but that of card numbers restricts."""
    return prop in _TEXTS


def set_text(server: Server, user: User, prop: str, value: str) -> None:
    """Set a text property to exactly this, as somebody in the screens, or an import, may."""
    _keep_text(server, user, _TEXTS[prop], value)


def _keep_text(server: Server, user: User, column: str, value: str) -> None:
    before = str(user.row[column] or "")
    user.row[column] = value
    server.records.changed("tbl_user", user.row, column)
    if column in HISTORY:
        server.records.note_field(user, column, before)


def _set_special(server: Server, user: User, prop: str, value: str) -> None:
    records = server.records
    match prop:
        case "balance":
            records.set_balance(user.account, money(value), "")
        case "restricted":
            user.account["restricted"] = flag(truth(value))
            records.changed("tbl_account", user.account, "restricted")
        case "overdraft-amount":
            user.account["overdraft"] = money(value)
            records.changed("tbl_account", user.account, "overdraft")
        case "password":
            check_password(server, value)
            user.password = value
        case "pin" | "card-pin":
            check_pin(server, value)
            user.pin = value
        case "internal":
            _set_internal(server, user, value)
        case _:
            raise RefusedError("unknown_property", prop)


def _set_internal(server: Server, user: User, value: str) -> None:
    style = server.switch("set_internal", "ignore")
    if style == "fault":
        raise RefusedError("read_only", "internal")
    if style == "honour":
        user.row["internal"] = flag(truth(value))
        server.records.changed("tbl_user", user.row, "internal")


def check_name(server: Server, name: str) -> None:
    r"""Internal names: printable, no `/` or `\`, at most 50 characters; `@` by the switch `at_name` (4.2)."""
    refused = "/\\" if server.switch("at_name", "accept_but_no_sign_in") != "fault" else "/\\@"
    if not name.strip() or len(name) > 50 or not name.isprintable() or any(char in refused for char in name):
        raise RefusedError("bad_name", name)


def check_password(server: Server, password: str) -> None:
    """The switch `password_min`: 0, a length, or `config` for the length in PaperCut's configuration."""
    least = server.switch("password_min", 0)
    if least == "config":
        least = server.config.get("internal-users.self-registration.min-password-length") or 0
    least = int(least) if str(least).isdecimal() else 0
    if not password or len(password) < least:
        raise RefusedError("short_password", str(max(least, 1)))


def check_pin(server: Server, pin: str) -> None:
    """The switch `pin_rule`: `any`, `digits`, or an exact length. An empty PIN is none."""
    rule = str(server.switch("pin_rule", "any"))
    if pin and ((rule == "digits" and not pin.isdigit()) or (rule.isdigit() and len(pin) != int(rule))):
        raise RefusedError("bad_pin")


def check_card(server: Server, number: str, owner: User | None = None) -> None:
    """The switch `duplicate_card`: `allow` or `fault`."""
    if server.switch("duplicate_card", "allow") == "fault" and server.records.find_card(number) not in (None, owner):
        raise RefusedError("duplicate_card")


def check_licence(server: Server) -> None:
    """The switch `licence_limit`: none or a number; `licence_over` says `fault` or `allow_and_warn` above it."""
    limit = server.switch("licence_limit", None)
    full = limit not in (None, "none") and len(server.records.users) >= int(limit)
    if full and server.switch("licence_over", "fault") == "fault":
        raise RefusedError("licence_limit", str(limit))
