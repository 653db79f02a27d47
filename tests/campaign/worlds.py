"""Random worlds for the user sync: what Nexudus and PaperCut hold before printbridge comes, and what changes then.

What belongs here: choosing, by a seed, customers, credits, print users and the edits of administrators and staff, and
doing the edits in the sandbox. What does not: running printbridge, and what may never happen (`directories.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from tests.harness import Harness
from tests.worlds import LEEDS, LONDON, Json, credit, customer

BUSINESS = {"london": LONDON, "leeds": LEEDS}
SIZES = (3, 5, 8, 12, 16, 24, 40, 70)
NAMES = ("Ana María Ñandú", "李小龙", "O'Brien <b>&amp;", "Ζωή Σς", "  padded  ", "Jürgen Groß", "Kim 😀", "")
NOTES = (
    "", "made by hand", "printbridge", "printbridge:{site}:", "printbridge:{other}:101", "xprintbridge:{site}", "101",
)  # fmt: skip
"""What a user who is not ours may have in its notes: nothing that is our mark for this site."""


def address(chance: random.Random, number: int) -> str | None:
    """The e-mail of a customer: mostly a plain one, else one of the kinds that need care."""
    plain = f"c{number}@example.com"
    odd = (
        f" C{number}@Example.COM ", f"zoë.{number}@exämple.com", f"straße{number}@example.com",
        f"ﬁ{number}@example.com", f"Σίσυφος{number}@παράδειγμα.gr", f"c{number}+x@example.com",
        f"no-address-{number}", f"a/b{number}@example.com", f"{'long' * 12}{number}@example.com", "", None,
    )  # fmt: skip
    return plain if chance.random() < 0.7 else chance.choice(odd)


def person(chance: random.Random, number: int, site: str) -> Json:
    """A customer who probably may print at the site."""
    other = next(name for name in BUSINESS if name != site)
    given: Json = {
        "Email": address(chance, number),
        "PaperCutPayAsYouPrint": chance.random() < 0.6, "PaperCutFreePrinting": chance.random() < 0.3,
        "Active": chance.random() < 0.92, "Archived": chance.random() < 0.04,
        "InvoicingBusinessId": BUSINESS[site if chance.random() < 0.92 else other],
        "RegistrationDate": f"2025-0{chance.randint(1, 9)}-01T00:00:00Z",
    }  # fmt: skip
    if chance.random() < 0.2:
        given["FullName"] = chance.choice(NAMES)
    if chance.random() < 0.06:
        given["AccessPincode"] = chance.choice(["", None, "77777"])
    if chance.random() < 0.2:
        given |= {"AccessCardId": f"CARD-{number}"}
    if chance.random() < 0.1:
        given["CoworkerType"] = 2
    return customer(number, **given)


def granted(chance: random.Random, people: list[Json]) -> list[Json]:
    """Credits of some of them."""
    lucky = [each for each in people if chance.random() < 0.5]
    return [
        credit(4000 + each["Id"], each["Id"], chance.choice([0, 5, 45, 200]), BusinessId=each["InvoicingBusinessId"])
        for each in lucky
    ]


def stranger(chance: random.Random, username: str, site: str, people: list[Json]) -> Json:
    """A user that somebody else made; some look much like ours."""
    other = next(name for name in BUSINESS if name != site)
    return {
        "username": username, "full_name": chance.choice([*NAMES, "Somebody Else"]), "balance": chance.choice([0, 7]),
        "email": chance.choice([username, "", *(str(each["Email"]) for each in people[:2])]),
        "internal": chance.random() < 0.7, "restricted": chance.random() < 0.5, "card_number": "",
        "disabled_print": chance.random() < 0.1,
        "notes": chance.choice(NOTES).format(site=site, other=other),
    }  # fmt: skip


def usable(each: Mapping[str, Any]) -> str:
    """The user name that the plain e-mail of a customer becomes; empty for the other kinds."""
    email = str(each["Email"] or "").strip().lower()
    return email if email.isascii() and email.startswith("c") and "+" not in email else ""


def first(chance: random.Random, site: str) -> Json:
    """A world before printbridge's first run, as `PUT /control/world` takes it."""
    people = [person(chance, 101 + number, site) for number in range(chance.choice(SIZES))]
    for each in people:
        if chance.random() < 0.12:  # two customers, one e-mail
            each["Email"] = chance.choice(people)["Email"]
    names = ["staff", "admin", "guest", "zoë.x"]
    names += [f"old{number}@example.com" for number in range(chance.randint(0, 4))]
    names += [name for each in people if (name := usable(each)) and chance.random() < 0.12]
    users = [stranger(chance, name, site, people) for name in dict.fromkeys(names)]
    users[1]["notes"] = "administrator"
    return {
        "nexudus": {"coworkers": people, "coworkerextraservices": granted(chance, people)},
        "sites": {
            name: {"users": users if name == site else [{"username": "staff", "notes": "untouched"}]}
            for name in BUSINESS
        },
    }


def administered(chance: random.Random, harness: Harness, people: list[Json], site: str, share: float) -> None:
    """Somebody works in Nexudus: each customer is changed with a chance of `share`."""
    other = next(name for name in BUSINESS if name != site)
    leaving = chance.choice([0.2, 0.4, 0.95])
    for each in people:
        if chance.random() >= share or each.get("Deleted"):
            continue
        leaves: list[Json] = [
            {"Active": False}, {"Archived": True}, {"PaperCutPayAsYouPrint": False, "PaperCutFreePrinting": False},
            {"InvoicingBusinessId": BUSINESS[other]}, {},
        ]  # fmt: skip
        stays: list[Json] = [
            {"Active": True, "Archived": False}, {"PaperCutPayAsYouPrint": True}, {"PaperCutFreePrinting": True},
            {"Email": f"n{each['Id']}@example.com"}, {"Email": chance.choice(people)["Email"]},
            {"Email": address(chance, each["Id"])}, {"AccessPincode": f"{chance.randint(10_000, 99_999)}"},
            {"AccessPincode": ""}, {"FullName": chance.choice(NAMES)}, {"AccessCardId": "NEW-CARD"},
        ]  # fmt: skip
        edit = chance.choice(leaves if chance.random() < leaving else stays)
        if edit:
            harness.edit("coworkers", each["Id"], **edit)
        else:
            harness.delete("coworkers", each["Id"])
    for number in range(chance.choice([0, 0, 1, 3])):
        harness.add("coworkers", person(chance, 900 + number, site))


def staffed(chance: random.Random, harness: Harness, site: str, ours: set[str], share: float) -> None:
    """Staff work in PaperCut: users that are ours are changed with a chance of `share`.

    Who loses our mark or its proofs is taken out of `ours`; whoever gets another name stays in it under that name.
    """
    edits: list[tuple[str, tuple[Any, ...], bool]] = [
        ("setUserProperty", ("notes", ""), False),
        ("setUserProperty", ("notes", "kept by staff"), False),
        ("setUserProperty", ("notes", f"printbridge:{site}:999"), False),
        ("setUserProperty", ("internal", "FALSE"), False),
        ("deleteExistingUser", (), False),
        ("renameUserAccount", ("renamed-{}",), False),
        ("setUserProperty", ("disabled-print", "TRUE"), True),
        ("setUserProperty", ("primary-card-number", "BY-STAFF"), True),
        ("setUserProperty", ("full-name", "Called otherwise"), True),
        ("adjustUserAccountBalance", (3.5, "by hand"), True),
    ]
    for name in sorted(ours):
        if chance.random() >= share:
            continue
        method, arguments, stays = chance.choice(edits)
        given = [each.format(name) if isinstance(each, str) else each for each in arguments]
        harness.papercut(method, name, *given, site=site)
        if not stays:
            ours.discard(name)
        if method == "renameUserAccount":
            ours.add(given[0])


def made_by_hand(chance: random.Random, harness: Harness, site: str, share: float) -> None:
    """Staff make users for customers before printbridge does; some forge our mark, of which we have no record."""
    there = set(harness.users(site))
    for each in harness.state()["nexudus"]["coworkers"]:
        name = usable(each)
        if name and name not in there and chance.random() < share:
            there.add(name)
            harness.papercut("addNewUser", name, site=site)
            forged = chance.choice(["", f"printbridge:{site}:{each['Id']}"])
            harness.papercut("setUserProperty", name, "notes", forged, site=site)
