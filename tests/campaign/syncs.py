"""The real user sync on random worlds, with reads that come short and writes that go wrong; the servers are the oracle.

What belongs here: the runs of one world and what may never happen in them. What does not: making the worlds
(`worlds.py`), and the pure plan alone (`directories.py`). Everything is real but Dagster's records: clients over
sockets, PaperCut's database, the warehouse file. World N is always the same world, so its number replays it.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from pipeline import errors
from pipeline.dagster.outcomes import Outcome
from tests.campaign import worlds
from tests.harness import Harness, running
from tests.worlds import Json, world

STEPS = (
    "nexudus_customers", "nexudus_credits", "print_users", "print_accounts", "user_sync_plan", "print_user_sync",
)  # fmt: skip
"""A run without print jobs and charges, which these worlds do not have."""

SHORT = (
    *6 * ("short_list",), *2 * ("empty_list",), "truncate", "html_200", "status", "drop_after", "was_successful_false",
)  # fmt: skip
"""How a read comes back incomplete or not at all."""

BROKEN = ("drop_before", "drop_after", "status", "truncate", "html_200", "was_successful_false")
"""How a write goes wrong; a status comes with and without the effect."""

WRITES = (
    "addNewInternalUser", "setUserProperties", "adjustUserAccountBalance", "deleteExistingUser", "renameUserAccount",
)  # fmt: skip
SOURCES = {"london": "database", "leeds": "print_log"}
LISTING = (*3 * ("api.listUserAccounts",), "api.getTotalUsers", "api.getUserProperties")

_TOUCHED = sa.text(
    "SELECT user_name, greatest(u.modified_ticks, a.modified_ticks) FROM tbl_user u JOIN tbl_user_account USING"
    " (user_id) JOIN tbl_account a USING (account_id) WHERE u.deleted = 'N'"
)


class ViolationError(Exception):
    """Something happened that never may."""


@dataclass
class Syncs:
    """A sandbox and a printbridge that live through one world after the other.

    Attributes:
        harness: both.
        seen: how often each thing happened, over all worlds.
    """

    harness: Harness
    seen: Counter[str] = field(default_factory=Counter[str])

    def __post_init__(self) -> None:
        sites = self.harness.ready["sites"]
        self._databases = {name: sa.create_engine(sites[name]["jobs_uri"]) for name in sites}

    def violation(self, seed: int) -> str:
        """What went wrong in the world of this number; empty if nothing did."""
        try:
            self.harness.sites.store.path.unlink(missing_ok=True)
            _World(self.harness, seed, self.seen, self._databases).live()
        except ViolationError as error:
            return f"{error}; replay: python -m tests.campaign users --seed {seed} --worlds 1"
        self.seen["worlds"] += 1
        return ""

    def close(self) -> None:
        """Let go of connections."""
        for each in self._databases.values():
            each.dispose()


@contextlib.contextmanager
def syncing(folder: Path) -> Generator[Syncs, None, None]:
    """Syncs in a sandbox of its own: one site that reads the database and deletes, one that lists and disables.

    Args:
        folder: an empty folder.
    """
    own = {
        "london": {"jobs": "database", "removal": "delete", "pricing_model": "credits_and_pay_per_print"},
        "leeds": {"jobs": "print_log", "removal": "disable", "card_number": "access_card"},
    }
    given = world([], sites=("london", "leeds"), set_internal="honour")
    with running(folder, given, sites=own) as harness:
        syncs = Syncs(harness)
        try:
            yield syncs
        finally:
            syncs.close()


class _World:
    """One world: printbridge comes, people change things, a run goes wrong, one goes well, one has nothing to do."""

    def __init__(self, harness: Harness, seed: int, seen: Counter[str], databases: dict[str, sa.Engine]) -> None:
        self.harness, self.seen = harness, seen
        self.chance = random.Random(seed)
        self.site = self.chance.choice([*SOURCES, "leeds"])
        self.ours: set[str] = set()
        """Users that printbridge made, and nobody has taken from it: the only ones that may be written to."""
        self.made = False
        """Whether printbridge ever made a user at the site."""
        self.removed = 0
        self.fired = 0
        """Calls that were faulted in the last run."""
        self._fired = harness.control.delete("faults").json()["fired"]
        self._databases = databases

    def live(self) -> None:
        """Tell the story of the world.

        Raises:
            ViolationError: something happened that never may.
        """
        given = worlds.first(self.chance, self.site)
        self.harness.control.put("world", json=given).raise_for_status()
        self._went_well(self.run("the first run"))
        share = self.chance.choice([0.1, 0.3, 0.6, 0.9])
        people = self._customers()
        worlds.administered(self.chance, self.harness, people, self.site, share)
        worlds.staffed(self.chance, self.harness, self.site, self.ours, share / 2)
        worlds.made_by_hand(self.chance, self.harness, self.site, share / 8)
        match self.chance.randrange(6):
            case 0 | 1 | 2:
                self._a_read_comes_short()
            case 3:
                self._a_write_goes_wrong()
            case 4:
                self.harness.advance(minutes=61)
            case _:
                pass
        self._last_runs()

    def _last_runs(self) -> None:
        after = self.run("the complete run")
        if after.stopped:
            self.seen["stops"] += 1
            text = str(after.failures)
            capped = "print users that are ours; at most" in text or "is stopped for" in text
            if not capped and not self._rightly_refused(text):
                raise ViolationError(f"a complete run was stopped without a reason: {text}")
            if capped and self.chance.random() < 0.5:
                self.harness.resume(self.site, "remove", "rename")
                self._went_well(self.run("the resumed run", capped=False))
        else:
            self._went_well(after)
        self.harness.forget_calls()
        self.run("the second run")
        if self.harness.writes():
            raise ViolationError(f"the second run wrote: {self.harness.writes()}")

    def _rightly_refused(self, text: str) -> bool:
        """Whether the last customer is gone, or our mark stands on users where printbridge never made one."""
        emptied = "Nexudus listed no coworkers" in text and not self._customers()
        forged = "this warehouse never owned a user" in text and not self.made
        return emptied or forged

    def _a_read_comes_short(self) -> None:
        """A list lacks rows, or does not come at all, once or as often as it is asked for."""
        papercut = ("database",) if SOURCES[self.site] == "database" else LISTING
        match = self.chance.choice(["GET coworkers", "GET coworkers", "GET coworkerextraservices", *papercut])
        target = self.site if match in papercut else "nexudus"
        action = "drop_after" if match == "database" else self.chance.choice(SHORT)
        lasting, after = self.chance.random() < 0.8, self.chance.choice([0, 0, 0, 0, 1, 2])
        self.harness.advance(minutes=61)  # so that the lists are read whole
        granted = [each for each in self.harness.state()["nexudus"]["coworkerextraservices"] if not each.get("Deleted")]
        times = 999 if lasting else 1
        fault = {"target": target, "match": match, "action": action, "times": times, "after": after}
        outcome = self.run(f"the run with {action} of {match}, {times} times after {after}", fault)
        believable = match == "GET coworkerextraservices" and (action == "empty_list" or not granted)
        believable |= match == "api.getTotalUsers" and action in {"short_list", "empty_list"}
        if self.fired and lasting and not after and not believable:
            self.seen["short reads"] += 1
            if outcome.ok:
                raise ViolationError(f"a run succeeded with {action} of {match} ({self.fired} times)")
            if self.harness.writes():
                raise ViolationError(f"a run with {action} of {match} wrote: {self.harness.writes()}")

    def _a_write_goes_wrong(self) -> None:
        """PaperCut does something and does not say so, or does nothing, for a few writes."""
        faults = [
            {"target": self.site, "match": f"api.{match}", "action": self.chance.choice(BROKEN),
             "times": self.chance.choice([1, 2, 5]), "effect": self.chance.random() < 0.5}
            for match in self.chance.sample(WRITES, 2)
        ]  # fmt: skip
        self.run("the run with writes that go wrong", *faults)
        self.seen["writes gone wrong"] += self.fired

    def run(self, name: str, *faults: Json, capped: bool = True) -> Outcome:
        """One run with faults, held against what may never happen whatever the world.

        Args:
            name: for the message.
            faults: as the sandbox takes them; they end with the run.
            capped: whether the caps hold; a person may have let go of them.
        """
        self.harness.forget_calls()
        before, ticks = self._sites(), self._ticks()
        self.harness.control.post("faults", json=list(faults)).raise_for_status()
        outcome = self.harness.sync(self.site, only=STEPS)
        fired = self.harness.control.delete("faults").json()["fired"]
        self.fired, self._fired = fired - self._fired, fired
        after, later = self._sites(), self._ticks()
        self._untouched(name, before, after, {user for user, tick in ticks.items() if later.get(user) != tick})
        self._few_removed(name, before[self.site], after[self.site], capped=capped)
        for kind, text in outcome.failures.values():
            if not hasattr(errors, kind) or "What to do:" not in text:
                raise ViolationError(f"{name} failed without a clear error: {kind}: {text}")
        self.seen["runs"] += 1
        return outcome

    def _untouched(self, name: str, before: Json, after: Json, touched: set[tuple[str, str]]) -> None:
        """Nobody who is not ours was written to, not even with what was there already; Nexudus not at all."""
        for site, users in before.items():
            ours = self.ours if site == self.site else set[str]()
            for user, values in users.items():
                if user not in ours and (after[site].get(user) != values or (site, user) in touched):
                    raise ViolationError(f"{name} wrote to {user} at {site}, who is not ours: {values}")
        if wrong := [call for call in self.harness.writes() if call.startswith(("POST", "PUT", "DELETE"))]:
            raise ViolationError(f"{name} wrote to Nexudus: {wrong}")

    def _few_removed(self, name: str, before: Json, after: Json, *, capped: bool) -> None:
        """Not more than the caps allow, and nobody who may print for sure; whoever is new was made by us."""
        calls = self.harness.calls()["sites"][self.site]
        owned = len(self.ours)
        renamed = len(after.keys() - before.keys()) if calls.get("api.renameUserAccount") else 0
        vanished = before.keys() - after.keys()
        disabled = {user for user in before.keys() & after.keys()
                    if after[user]["disabled_print"] and not before[user]["disabled_print"]}  # fmt: skip
        removed = len(disabled) + (calls.get("api.deleteExistingUser", 0) if vanished else 0)
        self.removed += removed
        if capped and removed and (removed > max(5, owned // 10) or self.removed > max(10, owned // 5)):
            raise ViolationError(f"{name} removed {removed} of {owned} users that are ours, {self.removed} in a day")
        if not renamed and (wrong := (vanished | disabled) & self._may_print()):
            raise ViolationError(f"{name} removed {sorted(wrong)}, who may print")
        self.ours = (self.ours - vanished) | (after.keys() - before.keys())
        self.made |= bool(self.ours)
        self.seen["users made"] += calls.get("api.addNewInternalUser", 0)
        self.seen["users removed"] += removed
        self.seen["users renamed"] += calls.get("api.renameUserAccount", 0)

    def _may_print(self) -> set[str]:
        """User names whose customers all are active here and print for free or pay: nothing speaks against them."""
        by_name: dict[str, list[Json]] = {}
        for each in self._customers():
            by_name.setdefault(worlds.usable(each), []).append(each)
        return {
            name for name, people in by_name.items()
            if all(each["Active"] and not each["Archived"] and each["CoworkerType"] in (1, "Individual")
                   and each["InvoicingBusinessId"] == worlds.BUSINESS[self.site]
                   and (each["PaperCutFreePrinting"] or (each["PaperCutPayAsYouPrint"] and self.site == "london"))
                   for each in people)
        }  # fmt: skip

    def _went_well(self, outcome: Outcome) -> None:
        if not outcome.ok:
            raise ViolationError(f"a run that nothing disturbed failed: {outcome.failures}")

    def _sites(self) -> dict[str, dict[str, Any]]:
        return {
            name: {user["username"]: user for user in each["users"]}
            for name, each in self.harness.state()["sites"].items()
        }

    def _ticks(self) -> dict[tuple[str, str], int]:
        """When PaperCut's database says that each user was last modified."""
        found: dict[tuple[str, str], int] = {}
        for site, database in self._databases.items():
            with database.connect() as con:
                found |= {(site, user): tick for user, tick in con.execute(_TOUCHED)}
        return found

    def _customers(self) -> list[Json]:
        return [each for each in self.harness.state()["nexudus"]["coworkers"] if not each.get("Deleted")]
