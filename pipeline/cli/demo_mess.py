"""The mess of life in the demo: odd records, people's hands in PaperCut, a guest, money back after the invoice.

What belongs here: what goes wrong at the first site, done through the sandbox's control endpoint as people would do it,
and what printbridge says of each at the end of the month. What does not: the ordinary month (`demo.py`,
`pipeline.sandbox.invented`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from typing import Any, NamedTuple

import polars as pl
from rich.console import Console
from rich.table import Table

from pipeline.operations.causes import causes
from pipeline.operations.explain import stories
from pipeline.site import Site
from pipeline.store import ownership
from pipeline.store.lines import lines_in
from pipeline.store.sql import read

GUEST, GUEST_COST = "guest-wifi", 12

ODD_RECORDS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("a PIN that is a number", {"AccessPincode": 20100}, "update"),
    ("a name with a control character", {"FullName": "Amelia\u000bSmith"}, "update"),
    ("a flag that is null", {"PaperCutFreePrinting": None}, "cause"),
    ("a flag that is a word", {"Active": "perhaps"}, "cause"),
)
"""Records of customers as imports and forms leave them behind, and where it is shown."""

Ask = Callable[[str, str, Any], Any]


class Mishap(NamedTuple):
    """What went wrong, and the id of the customer or job that it happened to.

    `shown` says where what became of it stands: in a change of that action, in the `story` of the job, or in a `cause`.
    """

    what: str
    subject: str
    shown: str = "cause"


class Mess:
    """What goes wrong at one site in the month."""

    def __init__(self, site: Site, ask: Ask, printer: str, spared: Collection[int]) -> None:
        """Nothing has gone wrong yet.

        Args:
            site: the site.
            ask: sends a request to the control endpoint: method, path, body.
            printer: one of the site.
            spared: customers to whom other things happen in the month.
        """
        self._site, self._ask, self._printer, self._spared = site, ask, printer, frozenset(spared)
        self.mishaps: list[Mishap] = []

    def happen(self, turn: int) -> None:
        """What goes wrong before a run; the money comes back once there are charges."""
        if turn == 0:
            self._records()
            self._hands()
            self._guest()
        elif turn == 1:
            self._refund()

    def _records(self) -> None:
        for (what, values, shown), customer in zip(ODD_RECORDS, self._people(), strict=False):
            self._nexudus(customer, **values)
            self.mishaps.append(Mishap(f"a record in Nexudus has {what}", str(customer), shown))

    def _hands(self) -> None:
        with self._site.store.connect() as con:
            names = dict(ownership.owned(con, self._site.key).select("coworker_id", "username").iter_rows())
        hands: tuple[tuple[str, dict[str, Any], Mishap], ...] = (
            ("rename_user", {"new_name": "front desk"}, Mishap("staff renamed a user in PaperCut", "", "rename")),
            ("set_user", {"set": {"notes": "VIP, ask first"}}, Mishap("staff wrote over the notes of a user", "")),
        )
        for (action, values, mishap), customer in zip(hands, list(self._people())[len(ODD_RECORDS) :], strict=False):
            self._papercut(action, username=names[customer], **values)
            self.mishaps.append(mishap._replace(subject=str(customer)))

    def _guest(self) -> None:
        self._papercut("add_user", username=GUEST, full_name="Guest", internal=True, restricted=False, balance=100)
        job = {"site": self._site.name, "username": GUEST, "printer": self._printer, "pages": 4, "cost": GUEST_COST}
        job_id = self._ask("POST", "print", job)["job_id"]
        self.mishaps.append(Mishap("a guest printed", str(job_id), "story"))

    def _refund(self) -> None:
        with self._site.store.connect() as con:
            sales = lines_in(con, self._site.key, "confirmed").filter(~pl.col("job_id").str.contains(":"), kind="sale")
        if sales.is_empty():
            return
        job_id, customer = sales.sort("printed_at", "ref").select("job_id", "coworker_id").row(-1)
        self._nexudus(customer, bill=True)
        self._ask("POST", "refund", {"site": self._site.name, "job_id": int(job_id)})
        self.mishaps.append(Mishap("staff refunded a job that was on an invoice", job_id, "story"))

    def _people(self) -> Iterator[int]:
        """The customers who have a user and to whom nothing else happens."""
        with self._site.store.connect() as con:
            owned = ownership.owned(con, self._site.key)
            accounts = read(con, "print_accounts", self._site.key).filter(pl.col("access") == "pay")
        people = owned.join(accounts, on="coworker_id", how="semi")["coworker_id"].unique().sort()
        return (customer for customer in people if customer not in self._spared)

    def _nexudus(self, customer: int, *, bill: bool = False, **values: Any) -> None:
        asked = {"bill": True} if bill else {"set": values}
        self._ask("POST", "nexudus", {"entity": "coworkers", "id": customer, **asked})

    def _papercut(self, action: str, **values: Any) -> None:
        self._ask("POST", "papercut", {"site": self._site.name, "action": action, **values})

    def became(self) -> Iterator[tuple[Mishap, str]]:
        """Each mishap and what printbridge says of it now."""
        known = causes(self._site.sites, [])
        done = self._site.store.read("print_user_sync", self._site.key).filter(outcome="done").sort("happened_at")
        for mishap in self.mishaps:
            match mishap.shown:
                case "cause":
                    named = re.compile(rf"Customer {mishap.subject}: ")
                    facts = [(fact, each.remedy) for each in known for fact in each.facts if named.match(fact)]
                    said = [f"{fact} Remedy: {remedy}" for fact, remedy in facts]
                case "story":
                    (story,) = stories([self._site], mishap.subject)
                    said = [sentence.strip() for sentence in story.sentences if "printbridge held" in sentence]
                case action:
                    rows = done.filter(action=action, coworker_id=int(mishap.subject))
                    said = [
                        f"{at:%Y-%m-%d %H:%M} UTC: {detail}"
                        for at, detail in rows.select("happened_at", "detail").rows()
                    ]
            yield mishap, said[-1] if said else "nothing is known of it"


def print_mess(console: Console, mess: Mess) -> None:
    """The last table of the demo: what went wrong, and what became of it."""
    table = Table("what happened", "to", "what became of it", title="The mess of life", title_justify="left")
    for mishap, told in mess.became():
        table.add_row(mishap.what, mishap.subject, told)
    console.print(table, markup=False)
