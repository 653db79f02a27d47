"""Print users: what one row of the plan does to one user of PaperCut.

What belongs here: the calls that make, change, rename, adjust and remove a user, and the ownership events that each
leaves. What does not: whether and when the plan may be applied (`user_sync.py`), who should be a user
(`domain/accounts.py`) and what would change (`domain/plan.py`).

PINs pass through here and nowhere else: they are fetched from Nexudus for the users about to be written, and forgotten.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

from pipeline.domain.records import mark, marked_notes
from pipeline.domain.users import LENGTH_KEY, MIN_PASSWORD, password
from pipeline.errors import BridgeError, ConfigError, RejectedError, TransientError, UnknownOutcomeError
from pipeline.resources import Bridge

CARD_FIELDS = {"access_card": "AccessCardId", "key_fob": "KeyFobNumber", "pin": "AccessPincode"}

Row = dict[str, Any]


class Done(NamedTuple):
    """What became of one planned change, and the ownership events it leaves."""

    outcome: str
    detail: str
    events: tuple[Row, ...] = ()
    halt: BridgeError | None = None


@dataclass
class Sync:
    """One application of one plan."""

    bridge: Bridge
    site: str
    plan_id: str
    minimum: int = 0
    customers: dict[int, Row] = field(default_factory=dict[int, Row])
    begun: set[str] = field(default_factory=set[str])
    """Names that an earlier run was about to make: it may have made them."""

    @property
    def settings(self) -> Any:
        """The site's settings."""
        return self.bridge.settings.site(self.site)

    @property
    def papercut(self) -> Any:
        """The site's PaperCut client."""
        return self.bridge.papercut(self.site)


def fetch_pins(sync: Sync, rows: list[Row]) -> None:
    """Fetch the customers whose PIN or card the rows write, and PaperCut's minimum length before the first of them.

    Raises:
        ConfigError: PaperCut allows passwords that are too short; no user was changed.
    """
    secretive = [row for row in rows if row["action"] == "create" or {"pin", "card"} & set(row["changes"].split(","))]
    if not secretive:
        return
    if not sync.minimum:
        sync.minimum = _password_minimum(sync)
    ids = sorted({row["coworker_id"] for row in secretive})
    found = sync.bridge.nexudus.batch("coworkers", ids)
    sync.customers = {record["Id"]: {name: record.get(name) for name in CARD_FIELDS.values()} for record in found}


def _password_minimum(sync: Sync) -> int:
    """PaperCut's minimum password length (`rules.md` S9, U9).

    Raises:
        ConfigError: it is set below 8.
    """
    text = sync.papercut.config_value(LENGTH_KEY)
    if text and (not text.isdigit() or int(text) < MIN_PASSWORD):
        raise ConfigError(
            f"PaperCut at {sync.papercut.host} (site {sync.site}) has a minimum password length of {text!r}; at least"
            f" {MIN_PASSWORD} is needed",
            f"set {LENGTH_KEY} to {MIN_PASSWORD} or higher under Options > Config Editor and click Update;"
            " no user was changed",
        )
    return int(text) if text else MIN_PASSWORD


def identity(row: Row) -> Row:
    """Whose name a row makes or keeps, for an ownership event."""
    name = row["new_username"] or row["username"]
    return {"username": name, "coworker_id": row["coworker_id"], "email_key": row["email_key"], "access": row["access"]}


def in_doubt(row: Row) -> tuple[Row, ...]:
    """PaperCut cannot be asked for a PIN, so one that may have been written counts as not known, and is written again.

    Without this, a PIN that is changed and changed back would stay changed.
    """
    lost = {f"{field}_digest": None for field in ("pin", "card") if field in row["changes"].split(",")}
    if row["action"] != "update" or not lost:
        return ()
    return ({"username": row["username"], "reason": "a change was in doubt", **lost},)


def not_tried(sync: Sync, row: Row, halt: BridgeError) -> Done:
    """A row that was not reached, and the error before it: the name that it was about to make stays nobody's."""
    name = row["new_username"] or row["username"]
    released: Row = {"username": name, "state": "released", "reason": "not tried"}
    intended = row["action"] in ("create", "rename") and name not in sync.begun
    return Done("failed", f"not tried any more, after: {halt.tried}", (released,) if intended else ())


def _create(sync: Sync, row: Row) -> Done:
    customer = sync.customers.get(row["coworker_id"])
    pin = (customer or {}).get("AccessPincode")
    if not pin:
        return Done("held", f"customer {row['coworker_id']} has no PIN any more; set one in Nexudus")
    card = _card(sync, customer or {})
    papercut, name = sync.papercut, row["username"]
    try:
        papercut.create_user(
            name, password=password(pin, sync.minimum), full_name=row["full_name"], email=row["email"],
            card=card or "", pin=pin,
        )  # fmt: skip
    except RejectedError as error:
        return _refused(sync, name, error)
    papercut.set_properties(
        name, {"restricted": _flag(row["restricted"]), "notes": mark(sync.site, row["coworker_id"])}
    )
    event = {
        **identity(row), "state": "owned", "reason": "created",
        "pin_digest": sync.bridge.digest(pin), "card_digest": sync.bridge.digest(card),
    }  # fmt: skip
    if row["target"] is None:
        return Done("done", "created", (event,))
    try:
        # A group rule may have given a starting credit, so the balance is read, not assumed.
        _adjust_to(sync, name, papercut.balance(name), row["target"])
    except (UnknownOutcomeError, TransientError) as error:
        return Done("unknown", f"created; its balance was not set: {error}", (event,))
    return Done("done", f"created with balance {row['target'].normalize():f}", (event,))


def _refused(sync: Sync, name: str, error: RejectedError) -> Done:
    """A name that could not be made: it may be somebody else's by now, and must not look like one of ours."""
    released: Row = {"username": name, "state": "released", "reason": "refused by PaperCut"}
    return Done("failed", str(error), () if name in sync.begun else (released,))


def _update(sync: Sync, row: Row) -> Done:
    event: Row = {**identity(row), "state": "owned", "reason": "updated " + row["changes"]}
    _set_changed(sync, row, row["username"], event)
    return Done("done", "changed " + row["changes"], (event,))


def _set_changed(sync: Sync, row: Row, username: str, event: Row) -> None:
    """Set the fields that the row says have changed, in one call; the digests of what was set go into the event."""
    changes = set(row["changes"].split(","))
    values: dict[str, str] = {}
    for fields, name, value in (
        ({"full_name"}, "full-name", row["full_name"]),
        ({"email"}, "email", row["email"]),
        ({"restricted"}, "restricted", _flag(row["restricted"])),
        ({"disabled"}, "disabled-print", "FALSE"),
    ):
        if changes & fields:
            values[name] = value or ""
    if changes & {"mark", "customer"}:
        notes = sync.papercut.properties(username, ["notes"])["notes"]
        values["notes"] = marked_notes(notes, sync.site, row["coworker_id"] or 0)
    customer = sync.customers.get(row["coworker_id"], {})
    if "pin" in changes and (pin := customer.get("AccessPincode")):
        values |= {"password": password(pin, sync.minimum), "card-pin": pin}
        event["pin_digest"] = sync.bridge.digest(pin)
    if "card" in changes:
        card = _card(sync, customer)
        values["primary-card-number"] = card or ""
        event["card_digest"] = sync.bridge.digest(card)
    if values:
        sync.papercut.set_properties(username, values)


def _adjust(sync: Sync, row: Row) -> Done:
    _adjust_to(sync, row["username"], row["balance"], row["target"])
    return Done("done", f"balance {row['balance'].normalize():f} -> {row['target'].normalize():f}")


def _adjust_to(sync: Sync, username: str, balance: Decimal, target: Decimal) -> None:
    """A relative change, so that a print in between is not undone; the comment says whose it is."""
    if balance != target:
        sync.papercut.adjust_balance(
            username, target - balance, f"printbridge {sync.plan_id}: to {target.normalize():f}"
        )


def _rename(sync: Sync, row: Row) -> Done:
    """The user keeps balance, card and history; what else changed is set under the new name."""
    old, new = row["username"], row["new_username"]
    try:
        sync.papercut.rename_user(old, new)
    except RejectedError as error:
        return _refused(sync, new, error)
    event = {**identity(row), "state": "owned", "renamed_from": old, "reason": "renamed"}
    _set_changed(sync, row, new, event)
    if row["target"] is not None:
        _adjust_to(sync, new, row["balance"], row["target"])
    return Done("done", f"renamed to {new}", ({"username": old, "state": "released", "reason": "renamed"}, event))


def _remove(sync: Sync, row: Row) -> Done:
    """Observed once more before it goes: only a user that still carries our mark and is internal is removed."""
    name = row["username"]
    seen = sync.papercut.properties(name, ["internal", "notes"])
    if seen["internal"].lower() != "true" or mark(sync.site, row["coworker_id"]) not in seen["notes"]:
        return Done("held", "the user no longer carries our mark, so it is not removed")
    if sync.settings.removal == "disable":
        sync.papercut.set_properties(name, {"disabled-print": "TRUE"})
        return Done("done", f"disabled: {row['reason']}", ({"username": name, "state": "owned", "reason": "removed"},))
    sync.papercut.delete_user(name)
    return Done("done", f"deleted: {row['reason']}", ({"username": name, "state": "released", "reason": "removed"},))


def _card(sync: Sync, customer: Row) -> str | None:
    name = CARD_FIELDS.get(sync.settings.card_number)
    return (customer.get(name) or None) if name else None


def _flag(value: object) -> str:
    return "TRUE" if value else "FALSE"


PHASES: dict[str, Callable[[Sync, Row], Done]] = {
    "remove": _remove, "rename": _rename, "create": _create, "update": _update, "adjust": _adjust,
}  # fmt: skip
"""What each action of a plan does, in the order in which a plan is applied."""
