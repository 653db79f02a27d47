"""The user sync plan: the caps as a story, the plan as a value, and random worlds against a simulator."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import pytest

from pipeline.domain import tables
from pipeline.domain.people.plan import (
    ORDER,
    OWNED,
    Verdict,
    markdown,
    permitted,
    plan_id,
    stages,
    user_sync_plan,
    verdict,
)
from pipeline.domain.rules import SiteRules
from tests.domain.people.frames import UNSETTLED, accounts, gone, owned, planned, steps, users
from tests.frames import NOW, START, moment, rules, shuffled, table

# --- caps: a story ----------------------------------------------------------------------------------------------------


def leaving(count: int) -> pl.DataFrame:
    return _rows("remove", count)


def renaming(count: int) -> pl.DataFrame:
    return _rows("rename", count)


def _rows(action: str, count: int, changes: str = "") -> pl.DataFrame:
    return table(
        tables.columns("user_sync_plan"),
        "username\n" + "\n".join(f"u{number:04}" for number in range(count)),
        site="london", action=action, changes=changes, reason="r", observed_at=NOW,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("plan", "ours", "removed", "blocked"),
    [
        pytest.param(leaving(0), 0, 0, [], id="nobody is ours, nobody leaves"),
        pytest.param(leaving(5), 5, 0, [], id="a small site may lose its five users"),
        pytest.param(leaving(5), 40, 0, [], id="5 of 40 are normal leavers"),
        pytest.param(leaving(6), 40, 0, ["remove"], id="6 of 40 are not"),
        pytest.param(leaving(6), 59, 0, ["remove"], id="10 % of 59 is 5"),
        pytest.param(leaving(6), 60, 0, [], id="10 % of 60 is 6"),
        pytest.param(leaving(100), 1000, 0, [], id="a month end"),
        pytest.param(leaving(101), 1000, 0, ["remove"], id="more than a month end"),
        pytest.param(leaving(5), 40, 5, [], id="the second five of the day"),
        pytest.param(leaving(1), 40, 10, ["remove"], id="a slow drip"),
        pytest.param(leaving(5), 40, 6, ["remove"], id="the eleventh of the day"),
        pytest.param(leaving(1), 40, 9, [], id="the tenth of the day"),
        pytest.param(leaving(0), 40, 11, [], id="over the daily cap, but nobody leaves now"),
        pytest.param(leaving(100), 1000, 100, [], id="20 % in a day"),
        pytest.param(leaving(100), 1000, 101, ["remove"], id="more than 20 % in a day"),
        pytest.param(renaming(5), 6, 0, [], id="five renames"),
        pytest.param(renaming(6), 19, 0, ["rename"], id="30 % of 19 is 5"),
        pytest.param(renaming(6), 20, 0, [], id="30 % of 20 is 6"),
        pytest.param(renaming(30), 100, 0, [], id="30 % of 100"),
        pytest.param(renaming(31), 100, 0, ["rename"], id="more than 30 %"),
        pytest.param(leaving(10), 50, 1, ["remove"], id="10 of 50 are too many"),
        pytest.param(_rows("update", 6, "full_name,email"), 10, 0, ["rename"], id="e-mail changes count as renames"),
        pytest.param(_rows("update", 6, "customer"), 10, 0, ["rename"], id="so do new customers"),
        pytest.param(_rows("update", 6, "mark,email"), 10, 0, [], id="first marks do not"),
        pytest.param(_rows("update", 900, "full_name,restricted"), 10, 0, [], id="other updates never count"),
        pytest.param(_rows("create", 900), 0, 0, [], id="the first import creates everybody"),
        pytest.param(_rows("adjust", 900), 900, 0, [], id="a renewal touches everybody"),
    ],
)  # fmt: skip
def test_the_caps(plan: pl.DataFrame, ours: int, removed: int, blocked: list[str]) -> None:
    outcome = verdict(plan, ours, removed)
    assert list(outcome.blocked) == blocked
    assert permitted(plan, outcome).height == (0 if blocked else plan.height)


@pytest.mark.parametrize(
    ("plan", "ours", "removed", "words"),
    [
        (leaving(6), 40, 0, "6 removals in this run, 15.0 % of the 40 print users that are ours; at most 5 (the larger"
         " of 5 and 10 %)"),
        (leaving(1), 40, 10, "11 removals in 24 hours with this run, 27.5 % of the 40 print users that are ours; at"
         " most 10 (the larger of 10 and 20 %)"),
        (renaming(6), 10, 0, "6 renames and e-mail changes in this run, 60.0 % of the 10 print users that are ours; at"
         " most 5 (the larger of 5 and 30 %)"),
        (renaming(6), 0, 0, "6 renames and e-mail changes in this run, all of the 0 print users"),
    ],
)  # fmt: skip
def test_a_blocked_phase_says_the_numbers_and_the_next_step(
    plan: pl.DataFrame, ours: int, removed: int, words: str
) -> None:
    (sentence,) = verdict(plan, ours, removed).blocked.values()
    assert sentence.startswith(words)
    assert "`printbridge resume london`" in sentence


def test_a_blocked_phase_leaves_the_others_alone() -> None:
    plan = pl.concat([leaving(6), _rows("create", 2), _rows("hold", 1)])
    outcome = verdict(plan, 40, 0)
    assert outcome.counts == {"remove": 6, "rename": 0, "create": 2, "update": 0, "adjust": 0, "hold": 1}
    assert permitted(plan, outcome)["action"].to_list() == ["create", "create"]


# --- the plan as a value ----------------------------------------------------------------------------------------------


def a_plan() -> pl.DataFrame:
    return planned(
        accounts("username reason credits card_digest\na suspended 0 -\nb - 60 card\nc - 45 -\nd no_pin 0 -"),
        users("username\na\nb\nd"),
        owned("username\na\nb\nd"),
        site=rules(card_number="key_fob"),
    )


def test_the_id_ignores_row_order_and_observation_time_and_nothing_else() -> None:
    plan = a_plan()
    assert plan_id(shuffled(plan)) == plan_id(plan)
    assert plan_id(plan.with_columns(pl.col("observed_at") + timedelta(minutes=2))) == plan_id(plan)
    assert len(plan_id(plan)) == 16, "people read it, and permissions that were given keep it"
    for name in set(plan.columns) - {"observed_at"}:
        value = pl.lit("x") if plan.schema[name] == pl.String else pl.lit(1).cast(plan.schema[name])
        assert plan_id(plan.with_columns(value.alias(name))) != plan_id(plan), f"{name} is not in the digest"


def test_the_order_is_fixed() -> None:
    plan = a_plan()
    assert steps(plan) == [
        "remove a deleted", "update b card 60", "create c mark,full_name,email,restricted,pin,balance 45",
        "adjust b balance 60", "hold d",
    ]  # fmt: skip
    assert set(plan["action"]) <= set(ORDER)
    assert [stage["action"][0] for stage in stages(shuffled(plan))] == ["remove", "update", "create", "adjust", "hold"]


def test_what_gives_and_takes_access_goes_right_behind_the_removals_and_decoration_in_its_turn() -> None:
    changes = ["full_name,email", "restricted", "pin,password", "card", "mark", "access,disabled"]
    plan = pl.concat(
        [_rows("update", 1, change) for change in changes]
        + [_rows("hold", 1, "restricted")]
        + [_rows(action, 1) for action in ("adjust", "create", "remove", "rename")]
    )
    found = [tuple(stage.select(pl.concat_str("action", pl.lit(" "), "changes"))["action"]) for stage in stages(plan)]
    assert found == [
        ("remove ",), ("update restricted", "update pin,password", "update card", "update access,disabled"),
        ("rename ",), ("create ",), ("update full_name,email", "update mark"), ("adjust ",), ("hold restricted",),
    ]  # fmt: skip


@pytest.mark.parametrize(("removal", "change"), [("delete", "create"), ("disable", "hold")])
def test_who_is_deleted_leaves_a_seat_of_the_licence_to_somebody_new(removal: Any, change: str) -> None:
    people, site = accounts("username reason\na suspended\nb no_pin\nc -\nd -"), rules(licence_users=2, removal=removal)
    plan = planned(people, users("username\na\nb"), owned("username\na\nb"), site=site)
    found = dict(plan.select("username", "action").iter_rows())
    assert found == {"a": "remove", "b": "hold", "c": change, "d": "hold"}, "one seat, not one for each that is held"


def test_removals_over_their_cap_leave_no_seat_because_none_of_them_is_done() -> None:
    there = "\n".join(f"{name} suspended" for name in "abcdef")
    people, seen = accounts(f"username reason\n{there}\ng -"), users("username\na\nb\nc\nd\ne\nf")
    for some, change in ((6, "hold"), (5, "create")):
        site = rules(licence_users=some)
        plan = planned(people, seen.head(some), owned("username\na\nb\nc\nd\ne\nf").head(some), site=site)
        assert plan.filter(username="g")["action"].to_list() == [change], f"with {some} removals"


def test_where_more_users_are_there_than_the_licence_has_seats_none_can_be_created() -> None:
    plan = planned(
        accounts("username\na\nb\nc"), users("username\na\nb"), owned("username\na\nb"), site=rules(licence_users=1)
    )
    assert "this plan frees 0, so 0 can be created and this is number 1" in plan.filter(username="c")["reason"][0]


def test_a_plan_is_as_old_as_the_oldest_of_its_observations() -> None:
    seen = users("username balance\na 1\nb 1").with_columns(observed_at=pl.Series([NOW, NOW - timedelta(hours=1)]))
    plan = planned(accounts("username\na\nb"), seen, owned("username\na\nb"))
    assert plan["observed_at"].unique().to_list() == [NOW - timedelta(hours=1)]


def test_row_order_of_the_inputs_does_not_matter() -> None:
    world = random_world(random.Random(7), size=40)
    assert world.plan().equals(world.plan(seed=1))


def test_the_plan_as_markdown_is_short_and_holds_no_secrets() -> None:
    plan = a_plan()
    text = markdown(plan, verdict(plan, 3, 0))
    assert "pin" not in text.replace(",pin", "").lower().replace("no pin", ""), "a PIN digest"
    assert "Customer" not in text, "names of people stay out"
    assert "| remove | 1 |" in text
    assert text.index("| action | rows |") < text.index("5 rows:") < text.index("| adjust | b |")


def test_markdown_groups_reasons_and_stops_at_fifty_rows() -> None:
    plan = _rows("adjust", 120).with_columns(reason=pl.format("the balance is {}", pl.int_range(pl.len())))
    text = markdown(plan, Verdict({"remove": "Stop."}, {"adjust": 120}))
    assert "| adjust | 120 |  | the balance is n |" in text
    assert "The first 50 of 120 rows:" in text
    assert text.count("| adjust | u") == 50
    assert text.startswith("**Blocked (remove)**: Stop.")


def test_markdown_tells_the_most_frequent_reason_of_an_action_first_and_then_by_name() -> None:
    plan = pl.concat([_rows("hold", 9), _rows("adjust", 3), _rows("update", 1)])
    text = markdown(plan.with_columns(reason=pl.Series([*"aaaabbccc", *"eed", "x"])), Verdict({}, {}))
    told = [line for line in text.splitlines() if line.startswith("| ") and line.count("|") == 5]
    assert told[2:] == [
        "| update | 1 |  | x |", "| adjust | 2 |  | e |", "| adjust | 1 |  | d |",
        "| hold | 4 |  | a |", "| hold | 3 |  | c |", "| hold | 2 |  | b |",
    ]  # fmt: skip


def test_markdown_cells_cannot_break_the_table() -> None:
    text = markdown(_rows("hold", 1).with_columns(username=pl.lit("a|b\nc")), Verdict({}, {}))
    assert r"| hold | a\|b c |" in text


def test_markdown_of_nothing() -> None:
    assert markdown(planned(accounts(), users(), owned()), Verdict({}, {})) == "Nothing to change.\n"


# --- random worlds ----------------------------------------------------------------------------------------------------


@dataclass
class World:
    """PaperCut and our ownership rows as plain dicts: a simulator of applying a plan, and nothing else."""

    site: SiteRules
    accounts: pl.DataFrame
    users: dict[str, dict[str, Any]]
    owned: dict[str, dict[str, Any]]
    unsettled: dict[str, Decimal]
    gone: list[int] = field(default_factory=list)

    def frames(self) -> dict[str, pl.DataFrame]:
        open_jobs = [{"username": name, "unsettled": cost} for name, cost in self.unsettled.items()]
        return {
            "accounts": self.accounts,
            "users": pl.DataFrame(list(self.users.values()), schema=tables.columns("print_users")),
            "owned": pl.DataFrame(list(self.owned.values()), schema=OWNED),
            "unsettled": pl.DataFrame(open_jobs, schema=UNSETTLED),
            "gone": gone(*self.gone),
        }

    def plan(self, *, seed: int | None = None) -> pl.DataFrame:
        """The plan; with a seed, all rows come in another order."""
        frames = self.frames()
        if seed is not None:
            frames = {name: shuffled(frame, seed + place) for place, (name, frame) in enumerate(frames.items())}
        return user_sync_plan(**frames, rules=self.site, now=NOW)

    def apply(self, plan: pl.DataFrame) -> None:
        for row in plan.filter(pl.col("action") != "hold").rows(named=True):
            changes = row["changes"].split(",")
            match row["action"]:
                case "create":
                    self.create(row, changes)
                case "rename":
                    self.rename(row, changes)
                case "update":
                    self._set(row, row["username"], changes)
                case "adjust":
                    self.users[row["username"]]["balance"] = row["target"]
                case _:
                    self.remove(row["username"])

    def create(self, row: dict[str, Any], changes: list[str]) -> None:
        assert row["username"] not in self.users, "created twice"
        self.users[row["username"]] = {
            "site": "london", "username": row["username"], "full_name": "", "email": "", "balance": Decimal(0),
            "restricted": False, "disabled": False, "internal": True, "marked": True, "card_digest": None,
            "marked_coworker_id": row["coworker_id"], "observed_at": NOW,
        }  # fmt: skip
        self.owned[row["username"]] = dict.fromkeys(OWNED, None) | {
            "username": row["username"], "state": "owned", "owned_from": NOW,
        }  # fmt: skip
        self._set(row, row["username"], changes)

    def rename(self, row: dict[str, Any], changes: list[str]) -> None:
        new = row["new_username"]
        assert new not in self.users, "renamed onto an existing user"
        for table_ in (self.users, self.owned):
            table_[new] = table_.pop(row["username"]) | {"username": new}
        # Open jobs are known by customer, so they follow the user.
        self.unsettled[new] = self.unsettled.get(new, Decimal(0)) + self.unsettled.pop(row["username"], Decimal(0))
        self._set(row, new, changes)

    def remove(self, name: str) -> None:
        if self.site.removal == "disable":
            self.users[name]["disabled"] = True
        else:
            del self.users[name], self.owned[name]

    def _set(self, row: dict[str, Any], name: str, changes: list[str]) -> None:
        user, owner = self.users[name], self.owned[name]
        user.update({key: row[key] for key in ("full_name", "email", "restricted") if key in changes})
        user.update(marked=True, marked_coworker_id=row["coworker_id"])
        owner.update(coworker_id=row["coworker_id"], email_key=row["email_key"], access=row["access"], state="owned")
        if "pin" in changes:
            owner["pin_digest"] = row["pin_digest"]
        if "card" in changes:
            user["card_digest"] = owner["card_digest"] = row["card_digest"]
        if "disabled" in changes:
            user["disabled"] = False
        if "balance" in changes:
            user["balance"] = row["target"]


def random_world(chance: random.Random, size: int = 12) -> World:
    """Accounts, users and ownership that agree and disagree in every way, over few names so that they meet."""
    names = [f"u{number}" for number in range(size)]
    site = rules(
        chance.choice(["credits_and_pay_per_print", "credits_only", "pay_per_print", "free_unlimited"]),
        removal=chance.choice(["delete", "disable"]),
        card_number=chance.choice(["none", "key_fob"]),
        licence_users=chance.choice([0, 0, size // 2, size]),
        max_credits=chance.choice([100, 100_000]),
    )

    def some(*values: Any) -> Any:
        return chance.choice(values)

    customers = chance.sample(range(1, size + 1), size)
    taken = chance.sample(names, chance.randint(0, size))
    rows = []
    for name, customer in zip(taken, customers, strict=False):
        reason = some(None, None, None, *tables.REASONS)
        rows.append(
            {
                "site": "london", "email_key": name, "email": name, "coworker_id": customer,
                "full_name": some("N", "M"), "username": None if reason else name,
                "access": "none" if reason else some("free", "pay", "credits"), "free": False, "pay": False,
                "restricted": some(True, False), "credits": some(0, 45, 99, 150), "pin_digest": some("p", "q"),
                "card_digest": some(None, "k", "l"), "registered_at": some(None, START, NOW), "reason": reason,
            }
        )  # fmt: skip
    users_: dict[str, dict[str, Any]] = {}
    owned_: dict[str, dict[str, Any]] = {}
    owners = chance.sample(range(1, size + 1), size)
    for name, customer in zip(names, owners, strict=True):
        if chance.random() < 0.6:
            owned_[name] = {
                "username": name, "coworker_id": customer, "email_key": name,
                "access": some("free", "pay", "credits", None), "state": some("owned", "owned", "creating"),
                "owned_from": some(START, NOW), "pin_digest": some("p", "q", None), "card_digest": some(None, "k", "l"),
                "without_credit_since": some(None, moment("11-19T00:00"), moment("08-01T00:00")),
            }  # fmt: skip
        if chance.random() < 0.7:
            marked = chance.random() < 0.8
            users_[name] = {
                "site": "london", "username": name, "full_name": some("N", "M"), "email": some(name, "other"),
                "balance": some(Decimal(0), Decimal(45), Decimal("44.5")), "restricted": some(True, False),
                "disabled": chance.random() < 0.2, "internal": chance.random() < 0.9, "marked": marked,
                "marked_coworker_id": some(customer, customer, customer, 1) if marked else None,
                "card_digest": some(None, "k", "m"), "observed_at": NOW,
            }  # fmt: skip
    open_jobs = {name: some(Decimal(0), Decimal(5), Decimal("7.25")) for name in names if chance.random() < 0.3}
    frame = pl.DataFrame(rows, schema=tables.columns("print_accounts"))
    return World(site, frame, users_, owned_, open_jobs, [n for n in range(1, size + 1) if chance.random() < 0.1])


def proofs(world: World, name: str) -> bool:
    user, owner = world.users[name], world.owned.get(name)
    if owner is None or not user["internal"]:
        return False
    creating = owner["state"] == "creating" and not user["marked"]
    return creating or user["marked"]


@pytest.mark.parametrize("seed", range(10))
def test_applying_a_plan_leaves_nothing_to_do_and_strangers_alone(seed: int) -> None:
    for number in range(100):
        world = random_world(random.Random(seed * 1000 + number))
        replay = f"replay: random_world(random.Random({seed * 1000 + number}))"
        plan = world.plan()
        if number % 20 == 0:
            tables.checked("user_sync_plan", plan)
        strangers = {name: dict(user) for name, user in world.users.items() if not proofs(world, name)}
        touched = set(plan.filter(~pl.col("action").is_in(["hold", "create"]))["username"])
        assert not touched & set(strangers), f"a user that is not ours would be changed; {replay}"
        pairs = plan.filter(pl.col("action") != "hold").select("action", "username", "changes")
        assert not pairs.is_duplicated().any(), f"one change twice for a user; {replay}"
        capped = world.site.licence_users and world.site.removal == "delete" and plan.filter(action="remove").height > 5
        before = len(world.users)
        world.apply(plan)
        assert {name: world.users[name] for name in strangers} == strangers, replay
        seats = world.site.licence_users
        assert not seats or len(world.users) <= max(seats, before), f"more users than licence seats; {replay}"
        if not capped:
            again = world.plan()
            left = again.filter(pl.col("action") != "hold")
            assert left.height == 0, f"the second plan still wants {steps(left)}; {replay}"


@pytest.mark.parametrize("seed", range(3))
def test_removals_need_positive_evidence(seed: int) -> None:
    for number in range(60):
        world = random_world(random.Random(90_000 + seed * 1000 + number))
        world.gone.clear()
        by_key = {row["email_key"]: row for row in world.accounts.rows(named=True)}
        by_customer = {row["coworker_id"]: row for row in world.accounts.rows(named=True)}
        for name in world.plan().filter(action="remove")["username"]:
            owner = world.owned[name]
            account = by_key.get(owner["email_key"]) or by_customer[owner["coworker_id"]]
            evidence = {"suspended", "archived", "other_location", "printing_off", "no_access", "no_credit"}
            assert account["reason"] in evidence
            assert by_customer.get(owner["coworker_id"], account)["reason"] is not None, "wanted under another name"
