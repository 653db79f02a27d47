"""Findings about a set-up: what an answer of PaperCut, Nexudus or this machine means, and where it is put right.

What belongs here: pure judgements, in the words of the screens (`rules.md` 2.1, C1 to C17). What does not: asking
(`doctor.py`) and showing (`console.py`). What no interface tells is a warning that names the screen, and an empty
answer proves nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

import polars as pl

from pipeline.domain import records
from pipeline.domain.users import LENGTH_KEY, MIN_PASSWORD

Status = Literal["pass", "warn", "fail"]

ADDRESSES_KEY = "auth.webservices.allowed-addresses"
USES = 5  # the charge period "uses" of a Nexudus rate
WARN_SKEW, FAIL_SKEW = timedelta(minutes=5), timedelta(hours=1)
SHOWN = 5

NOT_PROVEN = "not proven, look here: "
EDITOR = "Options > Config Editor"
SYNC = "Options > User/Group Sync"
CHARGING = "Printers > printer > Charging: whole numbers for every print type"
SCREENS = {
    "C1": ("the product", "About: it must be PaperCut NG or PaperCut MF"),
    "C2": ("the sync source", f"{SYNC}: Primary sync source must be blank"),
    "C3": ("internal users", f"{SYNC}: tick Enable internal users"),
    "C4": ("confirmation e-mails", f"{SYNC}: untick Also email confirmation message to user"),
    "C5": ("authentication at", "Printers > each printer > Advanced configuration: tick Unauthenticated printer"),
    "C9": (
        "the currency",
        "Options > General > Display Options: tick Display currency sign and Use custom currency sign, Custom sign"
        " Credits, Display after number",
    ),
}
"""What no known interface tells, and the screen that does."""
LEFT_OUT = {
    "plus_alias": ("a + in the e-mail", "correct the e-mail"),
    "no_email": ("no e-mail", "enter one"),
    "bad_email": ("an e-mail that cannot be a user name", "correct it: at most 50 characters, no / or \\"),
    "no_pin": ("no PIN", "Access > PIN: enter one"),
    "pin_clash": ("the PIN of an older customer", "Access > PIN: give each their own"),
    "name_clash": ("the user name of an older customer", "correct one of the e-mails"),
}
"""What in a customer's record keeps its owner from printing (C17), and the remedy."""


@dataclass(frozen=True)
class Finding:
    """What one check saw.

    Attributes:
        check: its number in `rules.md` 2.1, or a word.
        status: pass, warn (not proven, or worth a look) or fail (the bridge would not work, or would work wrongly).
        seen: what was seen, with the numbers.
        remedy: where it is put right; empty where nothing is to be done.
        site: the site.
    """

    check: str
    status: Status
    seen: str
    remedy: str = ""
    site: str = ""


# --- PaperCut --------------------------------------------------------------------------------------------------------


def screens(printers: Sequence[str], ours: int) -> Iterator[Finding]:
    """C1 to C5 and C9, for a person to look at; but internal users of ours prove C3."""
    for check, (what, screen) in SCREENS.items():
        if check == "C3" and ours:
            yield Finding(check, "pass", f"internal users are enabled: {ours} of them are ours")
        else:
            seen = f"{what} {some(printers, 'printer')}" if check == "C5" else what
            yield Finding(check, "warn", seen, NOT_PROVEN + screen)


def addresses(value: str) -> Finding:
    """C7, from the list as PaperCut has it: a space makes an address void (`papercut-api.md` 1.5)."""
    where = f"{EDITOR} > {ADDRESSES_KEY}: the address of this machine, commas between addresses, no spaces"
    if not value:
        return Finding("C7", "warn", f"{ADDRESSES_KEY} reads as empty", NOT_PROVEN + where)
    count = counted(len(value.split(",")), "address", "addresses")
    if any(character.isspace() for character in value):
        return Finding("C7", "fail", f"{ADDRESSES_KEY} has a space in its {count}", where)
    return Finding("C7", "pass", f"{ADDRESSES_KEY} has {count} without spaces, and lets this machine in")


def password_length(value: str) -> Finding:
    """C8, from the setting as PaperCut has it."""
    where = f"{EDITOR} > {LENGTH_KEY}: {MIN_PASSWORD} or more, then Update"
    if not value:
        return Finding("C8", "warn", f"{LENGTH_KEY} reads as empty", NOT_PROVEN + where)
    if not value.isdecimal() or int(value) < MIN_PASSWORD:
        return Finding("C8", "fail", f"the minimum password length is {value!r}, not {MIN_PASSWORD} or more", where)
    return Finding("C8", "pass", f"the minimum password length is {value}")


def prices(read: Mapping[str, Decimal], unread: Sequence[str]) -> Iterator[Finding]:
    """C10, from the simple page price of each printer, and the printers that gave none."""
    broken = [f"{name}: {price.normalize():f}" for name, price in read.items() if price != price.to_integral_value()]
    if broken:
        yield Finding("C10", "fail", f"the page price is no whole number at {some(broken, 'printer')}", CHARGING)
    if unread or not read:
        yield Finding("C10", "warn", f"no simple page price at {some(unread, 'printer')}", NOT_PROVEN + CHARGING)
    if read and not broken:
        yield Finding("C10", "pass", f"the simple page price is a whole number at {counted(len(read), 'printer')}")


def licence(seats: int, users: int, wanted: int) -> Finding:
    """C11, from the seats in the settings (0: not told), the users in PaperCut and the customers that should print."""
    seen = f"PaperCut has {counted(users, 'user')}; {counted(wanted, 'customer')} should print"
    if not seats:
        remedy = f"{NOT_PROVEN}About > Licensed users; set licence_users to that number to have it kept"
        return Finding("C11", "warn", f"{seen}; licence_users is not set", remedy)
    seen = f"{seen}; the licence has {counted(seats, 'seat')}"
    if max(users, wanted) > seats:
        return Finding("C11", "fail", seen, "buy more seats, or let fewer customers print; no seat is ever exceeded")
    if max(users, wanted) * 10 > seats * 9:
        return Finding("C11", "warn", seen, "order more seats, before new customers are refused")
    return Finding("C11", "pass", seen)


def user_names(form: str) -> Finding:
    """Whether user names hold an @, which some servers cut (`papercut-api.md` 4.2)."""
    if form == "user_domain":
        return Finding("names", "pass", 'user names have no @ (username = "user_domain")')
    seen = 'user names are e-mails (username = "email"), as with the Nexudus Bridge'
    remedy = (
        "let one customer sign in to PaperCut: where it cuts names at @, set username to user_domain before go-live"
    )
    return Finding("names", "warn", seen, remedy)


# --- Nexudus ---------------------------------------------------------------------------------------------------------


def skew(seconds: float | None) -> Finding:
    """The clock of Nexudus less that of this machine: validity of credits and maturity of jobs depend on it."""
    if seconds is None:
        return Finding("clock", "warn", "Nexudus sent no time", f"{NOT_PROVEN}the clock of this machine")
    late = timedelta(seconds=abs(seconds))
    status: Status = "fail" if late > FAIL_SKEW else "warn" if late > WARN_SKEW else "pass"
    seen = f"the clock of this machine is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} Nexudus"
    return Finding("clock", status, seen, "" if status == "pass" else "let this machine set its clock by NTP")


def product(record: Mapping[str, Any], business_id: int) -> Finding:
    """C12, from the product as Nexudus has it."""
    where = "Inventory > Products > product"
    shown = f"product {record['Id']} ({record.get('Name')})"
    if records.cents(record.get("Price")) != 1:
        return Finding("C12", "fail", f"{shown} is priced {record.get('Price')}, not 0.01", f"{where}: Price 0.01")
    if record.get("Archived"):
        return Finding("C12", "fail", f"{shown} is archived", f"{where}: unarchive it, or name another")
    if record.get("BusinessId") != business_id:
        seen = f"{shown} belongs to location {record.get('BusinessId')}, not to {business_id}"
        return Finding("C12", "warn", seen, f"{where}: use a product of the location that sells the prints")
    return Finding("C12", "pass", f"{shown} is priced 0.01")


def credit(record: Mapping[str, Any]) -> Finding:
    """C13, from the printing credit (an ExtraService) as Nexudus has it."""
    wrong: list[str] = []
    if not record.get("IsPrintingCredit"):
        wrong.append("is no printing credit")
    if record.get("ChargePeriod") != USES:
        wrong.append(f"is charged by period {record.get('ChargePeriod')}, not for every use ({USES})")
    if records.cents(record.get("Price")) != 100:
        wrong.append(f"is priced {record.get('Price')}, not 1")
    shown = f"credit {record['Id']} ({record.get('Name')})"
    if wrong:
        where = "Inventory > Prices > rate for printing: Price 1 for every use; Inventory > Printing credits"
        return Finding("C13", "fail", f"{shown} {' and '.join(wrong)}", where)
    return Finding("C13", "pass", f"{shown} is a printing credit with price 1 for every use")


def only_credit(listed: Sequence[Mapping[str, Any]], tied: Sequence[int]) -> Iterator[Finding]:
    """C14, from every rate of the account: one printing credit, and no other."""
    printing = [each for each in listed if each["IsPrintingCredit"]]
    others = [f"{each['Id']} ({each.get('Name')})" for each in printing if each["Id"] not in tied]
    where = "Inventory > Printing credits: only one can be tied to printing; give customers no others"
    if others:
        yield Finding("C14", "warn", f"not counted: {some(others, 'other printing credit')}", where)
    if len(tied) > 1:
        yield Finding("C14", "warn", f"credit_ids names {len(tied)} printing credits", where)
    if not others and len(tied) == 1:
        yield Finding("C14", "pass", f"printing credit {tied[0]} is the only one")


def model(pricing_model: str) -> Iterator[Finding]:
    """C15 and C16: what the pricing model needs in Nexudus as a whole."""
    if pricing_model == "credits_and_pay_per_print":
        yield Finding("C15", "pass", "both a product and a printing credit are named; see C12 to C14")
    if pricing_model == "free_unlimited":
        yield Finding("C16", "pass", "printing is free: no inventory item is needed")


def people(accounts: pl.DataFrame) -> Iterator[Finding]:
    """C17, from PrintAccounts: what in the customers' records keeps them from printing."""
    accounts = accounts.sort("coworker_id")
    for reason, (what, remedy) in LEFT_OUT.items():
        ids = accounts.filter(reason=reason)["coworker_id"].cast(pl.String).to_list()
        if ids:
            where = f"Operations > Members and contacts > customer: {remedy}"
            yield Finding("C17", "warn", f"{what}, so cannot print: {some(ids, 'customer')}", where)
    if accounts.filter(pl.col("reason").is_in(list(LEFT_OUT))).is_empty():
        able = accounts.filter(pl.col("reason").is_null()).height
        yield Finding("C17", "pass", f"PINs and e-mails are usable; {able} of {accounts.height} e-mails may print")


# --- print jobs and files --------------------------------------------------------------------------------------------


def jobs(rows: pl.DataFrame, problems: Sequence[str], source: str, days: int, now: datetime) -> Iterator[Finding]:
    """The job source, from what it gave for the last days: readable, in the right time zone, with whole costs (C10)."""
    if problems:
        remedy = "correct these rows; every other row is read"
        yield Finding("jobs", "fail", f"{some(problems, 'row')} cannot be read", remedy)
    if rows.is_empty():
        seen = f"the {source} is readable and holds no job of the last {days} days"
        yield Finding("jobs", "warn", seen, "print a page, wait a minute, and run `printbridge doctor` again")
        return
    newest = cast("datetime", rows["printed_at"].max())
    yield Finding("jobs", "pass", f"the {source} holds {counted(rows.height, 'job')} of the last {days} days")
    if newest - now > WARN_SKEW:
        seen = f"the newest job is from {newest:%Y-%m-%d %H:%M} UTC, which is in the future"
        yield Finding("jobs", "fail", seen, "set the site's timezone to that of the PaperCut server")
    broken = rows.filter(pl.col("cost") != pl.col("cost").floor())
    if broken.height:
        printers = some(sorted(broken["printer"].unique()), "printer")
        seen = f"the cost is no whole number for {counted(broken.height, 'job')} at {printers}"
        yield Finding("C10", "fail", seen, CHARGING)
    if unpriced := rows["cost"].null_count():
        seen = f"{counted(unpriced, 'job')} without a cost"
        yield Finding("C10", "fail", seen, "use a source that has the cost, such as database")


def private(path: Path, mode: int) -> Iterator[Finding]:
    """A file or folder with secrets or personal data must be its owner's alone (`money-safety.md` 8.13)."""
    if mode & 0o077:
        yield Finding("private", "fail", f"others may use {path} (mode {mode:03o})", f"run `chmod go= {path}`")


def counted(number: int, one: str, many: str = "") -> str:
    """A number and its noun."""
    return f"{number} {one}" if number == 1 else f"{number} {many or one + 's'}"


def some(items: Sequence[str], one: str) -> str:
    """How many, and the first few by name."""
    if not items:
        return counted(0, one)
    more = ", ..." if len(items) > SHOWN else ""
    return f"{counted(len(items), one)} ({', '.join(items[:SHOWN])}{more})"
