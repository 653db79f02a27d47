"""What PaperCut tells of its own set-up, and where that is put right: the questions of `printbridge doctor` about it.

What belongs here: asking PaperCut, and judging its answers in the words of its screens (`rules.md` 2.1, C1 to C11).
What no interface tells is a warning that names the screen, and an empty answer proves nothing. What does not: the
questions about Nexudus, customers and this machine (`pipeline.operations.doctor`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal

from pipeline.domain.names import LENGTH_KEY, MIN_PASSWORD
from pipeline.errors import RejectedError
from pipeline.services.papercut.client import PaperCutClient
from pipeline.services.printing import NOT_PROVEN, Finding, Question, Setup
from pipeline.words import counted, listed

ADDRESSES_KEY = "auth.webservices.allowed-addresses"
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


def questions(client: PaperCutClient, setup: Setup) -> list[Question]:
    """The questions about one server; the first is the door of the others."""

    def token() -> Iterator[Finding]:
        """C6: an authenticated call that succeeds proves the token, and that our address is allowed."""
        users = counted(client.total_users(), "user")
        yield Finding("C6", "pass", f"PaperCut at {client.host} accepts the token; it has {users}")

    def all_prices() -> Iterator[Finding]:
        read: dict[str, Decimal] = {}
        unread: list[str] = []
        for name in client.printers():
            server, _, printer = name.partition("\\")
            try:
                read[name] = client.printer_cost(server, printer)
            except RejectedError:  # a device, or a printer with another cost model
                unread.append(name)
        yield from prices(read, unread)

    def seats() -> Iterator[Finding]:
        wanted = setup.wanted()
        yield licence(setup.seats, client.total_users(), wanted)

    return [
        ("C6", token),
        ("C5", lambda: screens(client.printers(), setup.ours())),
        ("C7", lambda: iter([addresses(client.config_value(ADDRESSES_KEY))])),
        ("C8", lambda: iter([password_length(client.config_value(LENGTH_KEY))])),
        ("C10", all_prices),
        ("C11", seats),
        ("names", lambda: iter([user_names(setup.username)])),
    ]


def screens(printers: Sequence[str], ours: int) -> Iterator[Finding]:
    """C1 to C5 and C9, for a person to look at; but internal users of ours prove C3."""
    for check, (what, screen) in SCREENS.items():
        if check == "C3" and ours:
            yield Finding(check, "pass", f"internal users are enabled: {ours} of them are ours")
        else:
            seen = f"{what} {listed(printers, 'printer')}" if check == "C5" else what
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
        yield Finding("C10", "fail", f"the page price is no whole number at {listed(broken, 'printer')}", CHARGING)
    if unread or not read:
        yield Finding("C10", "warn", f"no simple page price at {listed(unread, 'printer')}", NOT_PROVEN + CHARGING)
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
