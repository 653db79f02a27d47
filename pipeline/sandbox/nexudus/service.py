"""The Nexudus service of the sandbox: routes, verbs, envelopes and status codes (`nexudus-api.md` 1, 3 and 7).

What belongs here: from an HTTP request to an answer. What does not: connections and faults (`app.py`), the meaning of
records (`rules.py`), lists (`lists.py`).
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast
from urllib.parse import parse_qsl

from pipeline.sandbox.core import Core
from pipeline.sandbox.nexudus.answers import (
    AbsentError,
    Answer,
    DeniedError,
    FailureError,
    envelope,
    json_answer,
    throttled,
)
from pipeline.sandbox.nexudus.commands import Commands
from pipeline.sandbox.nexudus.entities import ENTITIES
from pipeline.sandbox.nexudus.lists import Lists, read
from pipeline.sandbox.nexudus.records import ENUMS, Entity, Record, load, stamp, trimmed
from pipeline.sandbox.nexudus.rules import Rules
from pipeline.sandbox.nexudus.signin import SignIn
from pipeline.sandbox.nexudus.switches import choice
from pipeline.sandbox.nexudus.tables import Table

TARGET = "nexudus"
PATHS = {entity.path: entity for entity in ENTITIES}
ROLES = {"POST": "Create", "PUT": "Edit", "DELETE": "Delete"}


@dataclass(frozen=True)
class Call:
    """A request to an entity: what comes after the module in the path, and who asks."""

    method: str
    entity: Entity
    rest: str
    query: Mapping[str, str]
    body: Record


@dataclass
class Nexudus:
    """One Nexudus account with its locations.

    Args:
        core: clock, switches, faults.
        world: the `nexudus` part of a world file; records in the API's shape, left-out fields get defaults. `email`
            and `password` name the administrator.
    """

    core: Core
    world: Mapping[str, Any]
    tables: dict[str, Table] = field(default_factory=dict[str, Table])
    recent: deque[datetime] = field(default_factory=deque[datetime])

    def __post_init__(self) -> None:
        self.tables = {path: Table(entity) for path, entity in PATHS.items()}
        self.rules = Rules(self.core, self.tables)
        self.lists = Lists(self.core, self.tables)
        self.commands = Commands(self.rules)
        email = str(self.world.get("email", "bridge@example.com"))
        self.signin = SignIn(self.core, email, str(self.world.get("password") or secrets.token_urlsafe(12)))
        user = {"FullName": "Bridge", "Email": email, "IsAdmin": True, "APIAccess": True}
        for entity in ENTITIES:
            self._fill(entity, self.world.get(entity.path) or ([user] if entity.path == "users" else []))

    # Calls --------------------------------------------------------------------------------------------------------

    @staticmethod
    def call_name(method: str, path: str) -> str:
        """How a call is counted and matched by faults: `GET coworkers`, `POST coworkers/runcommand`, `POST token`.

        Args:
            method: the HTTP method.
            path: what follows `/api/`.
        """
        parts = [part for part in path.casefold().split("/") if part]
        if len(parts) < 2 or parts[0] == "utils":
            return f"{method} {'/'.join(parts)}"
        command = f"/{parts[2]}" if len(parts) > 2 and not parts[2].isdigit() else ""
        return f"{method} {parts[1]}{command}"

    def answer(self, method: str, path: str, query: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """The answer to one request.

        Args:
            method: the HTTP method.
            path: what follows `/api/`.
            query: the query string, undecoded.
            headers: the request headers, names in lower case.
            body: the request body.
        """
        parts = [part for part in path.casefold().split("/") if part]
        if parts == ["token"] and method == "POST":
            return json_answer(*self.signin.token(headers, body))
        if (refused := self._throttled()) is not None:
            return refused
        try:
            return json_answer(200, self._result(method, parts, query, headers, body))
        except FailureError as failure:
            return json_answer(failure.status, failure.body)
        except Exception:  # noqa: BLE001 - the service has this answer to whatever it did not expect
            return json_answer(500, {"Message": "An error has occurred."})

    def _result(self, method: str, parts: list[str], query: str, headers: Mapping[str, str], body: bytes) -> object:
        if not self.signin.allows(headers):
            raise DeniedError
        names = {name.casefold(): value for name, value in parse_qsl(query, keep_blank_values=True)}
        if parts == ["utils", "enums"]:
            return _enum(names.get("name", ""))
        if method == "POST" and len(parts) == 5 and (parts[1], parts[3]) == ("coworkerinvoices", "create"):
            return self._raise_invoice(parts)
        entity = self._entity(parts)
        call = Call(method, entity, parts[2] if len(parts) == 3 else "", names, _content(body))
        return self._perform(self._allowed(call))

    def _entity(self, parts: list[str]) -> Entity:
        entity = PATHS.get(parts[1]) if len(parts) in (2, 3) else None
        if entity is None:
            raise AbsentError
        modules = {entity.module}
        if entity.path == "users":
            module = choice(self.core, "users_module")
            modules = {"sys", "spaces"} if module == "both" else {module}
        if parts[0] not in modules:
            raise AbsentError
        return entity

    def _allowed(self, call: Call) -> Call:
        """The call, if its role is not denied and the entity has its verb; commands need the role of an edit."""
        is_command = call.rest in {"runcommand", "commands"}
        role = ROLES.get("PUT" if is_command else call.method, "Read" if call.rest else "List")
        denied = choice(self.core, "denied_roles")
        if "*" in denied or f"{call.entity.name}-{role}" in denied:
            raise DeniedError(int(choice(self.core, "denied_code")))
        if not is_command and call.method not in call.entity.verbs:
            message = f"The requested resource does not support http method '{call.method}'."
            raise FailureError(405, {"Message": message})
        return call

    def _perform(self, call: Call) -> object:
        match call.method, call.rest:
            case "GET", "commands":
                result = [{"Key": key, "Name": key} for key in self.commands.keys(call.entity)]
            case "POST", "runcommand":
                message, made = self.commands.run(call.entity, call.body, self.signin.email)
                result = self._written(message, None) | {"Value": [read(call.entity, row) for row in made] or None}
            case "GET", "":
                result = self._list(call)
            case "POST", "":
                result = self._create(call)
            case "PUT", "":
                result = self._replace(call)
            case "GET", number:
                result = read(call.entity, self._record(call.entity, number))
            case "DELETE", number:
                result = self._delete(call.entity, number)
            case _:
                raise AbsentError
        return result

    def _list(self, call: Call) -> object:
        wanted = call.query.get("id", "")
        if not (wanted.startswith("[") and wanted.endswith("]")):
            return self.lists.page(call.entity, call.query)
        table = self.tables[call.entity.path]
        numbers = [int(number) for number in wanted[1:-1].split(",") if _is_id(number)]
        records = [record for number in numbers if (record := table.get(number)) is not None]
        found = [read(call.entity, record) for record in records if not self.lists.is_gone(call.entity, record)]
        if choice(self.core, "batch_shape") == "array":
            return found
        empty = self.lists.page(call.entity, {"id": "0", "size": str(max(len(found), 1))})
        return empty | {"Records": found, "LastItem": len(found), "TotalItems": len(found), "TotalPages": 1}

    def _create(self, call: Call) -> Record:
        limit = choice(self.core, "coworker_daily_limit")
        if call.entity.path == "coworkers" and limit is not None and self._created_today() >= int(limit):
            raise DeniedError(401, "Access Denied")
        record = self.rules.create(call.entity, call.body, self.signin.email)
        name = record.get("ProductName") or record.get("ExtraServiceName") or record["ToStringText"]
        value = _fresh(call.entity, record)
        message = f'{call.entity.title} "{record.get("FullName", name)}" was successfully created.'
        return self._written(message, value if choice(self.core, "post_value") == "record" else {"Id": value["Id"]})

    def _replace(self, call: Call) -> Record:
        old = self._record(call.entity, str(call.body.get("Id", "")))
        record = self.rules.replace(call.entity, old, call.body, self.signin.email)
        value = _fresh(call.entity, record)
        message = f"{call.entity.title} was successfully updated."
        return self._written(message, value if choice(self.core, "put_value") == "record" else {"Id": value["Id"]})

    def _delete(self, entity: Entity, number: str) -> Record:
        self.rules.delete(entity, self._record(entity, number))
        answer = envelope("The record was deleted successfully.", None)
        del answer["OpenInWindow"]  # sample 08 has neither this nor UpdatedOn and UpdatedBy
        return answer

    def _written(self, message: str, value: Record | None) -> Record:
        moment = (value or {}).get("UpdatedOn") or trimmed(stamp(self.core.clock.now()))
        return envelope(message, value) | {"UpdatedOn": moment, "UpdatedBy": self.signin.email}

    def _record(self, entity: Entity, number: str) -> Record:
        record = self.tables[entity.path].get(int(number)) if _is_id(number) else None
        if record is None or self.lists.is_gone(entity, record):
            raise AbsentError
        return record

    def _raise_invoice(self, parts: list[str]) -> Record:
        """What the screens call for one customer: `POST billing/coworkerinvoices/{business}/create/{coworker}`."""
        invoices = self._entity(parts[:2])
        self._allowed(Call("PUT", invoices, "", {}, {}))
        self._record(PATHS["businesses"], parts[2])
        made = self.commands.invoices.bill(self._record(PATHS["coworkers"], parts[4]), self.signin.email)
        message = f"{len(made)} invoice(s) were raised."
        return self._written(message, None) | {"Value": [read(invoices, invoice) for invoice in made]}

    def _created_today(self) -> int:
        day = stamp(self.core.clock.now())[:10]
        by = self.signin.email
        rows = self.tables["coworkers"].rows.values()
        made = ((str(row.values.get("CreatedOn"))[:10], row.values.get("UpdatedBy")) for row in rows)
        return sum(one == (day, by) for one in made)

    def _throttled(self) -> Answer | None:
        """The answer to a call over the limit of the window (`nexudus-api.md` 7)."""
        style = choice(self.core, "throttle")
        if style == "off":
            return None
        now, window = self.core.clock.now(), timedelta(seconds=float(choice(self.core, "throttle_seconds")))
        while self.recent and self.recent[0] <= now - window:
            self.recent.popleft()
        if len(self.recent) < int(choice(self.core, "throttle_requests")):
            self.recent.append(now)
            return None
        return throttled(style, (self.recent[0] + window - now).total_seconds())

    # The state as a whole -------------------------------------------------------------------------------------------

    def restore(self, world: Mapping[str, Any]) -> None:
        """Put records in place of all records of the entities that `world` names; the others stay.

        Raises:
            ValueError: a record holds a value that its entity could not; nothing is changed.
        """
        before = {path: dict(table.rows) for path, table in self.tables.items() if path in world}
        try:
            for entity in ENTITIES:
                if entity.path in world:
                    self.tables[entity.path].rows.clear()
                    self._fill(entity, world[entity.path])
        except Exception:
            for path, rows in before.items():
                self.tables[path].rows = rows
            raise

    def _fill(self, entity: Entity, given: list[Record]) -> None:
        start = self.core.clock.now().replace(microsecond=0) - timedelta(days=400)
        for number, record in enumerate(given):
            self._found(entity, record, start + timedelta(minutes=number))

    # The administrator in the screens -------------------------------------------------------------------------------

    def edit(self, request: Record) -> Record:
        """Create, change or delete a record as a person in the back office would: not counted, not validated.

        Values of the wrong kind are served as they are given, and null stays null; only amounts have to be numbers.

        Args:
            request: `{entity, id?, set}`, `{entity, id, delete: true}`, `{entity: "coworkers", id, bill: true}`, which
                puts the open sales of a customer on an invoice, or `{entity: "coworkerextraservices", coworker_id,
                use: n}`, which uses credits up as the portal does.

        Raises:
            ValueError: unknown entity or record.
        """
        entity = PATHS.get(str(request.get("entity", "")).casefold())
        if entity is None:
            message = f"unknown entity {request.get('entity')!r}; known: {', '.join(PATHS)}"
            raise ValueError(message)
        table, now = self.tables[entity.path], self.core.clock.now()
        if request.get("use"):
            return {"used": self.commands.use_credits(int(request["coworker_id"]), int(request["use"]))}
        if request.get("id") is None:
            return entity.full(self._found(entity, {"UpdatedBy": "admin@example.com"} | request["set"], now))
        record = table.get(int(request["id"]))
        if record is None:
            message = f"no record {request['id']} in {entity.path}"
            raise ValueError(message)
        if request.get("bill"):
            return {"invoices": self.commands.invoices.bill(record, "admin@example.com")}
        if request.get("delete"):
            table.delete(record["Id"], now)
            return entity.full(record) | {"Deleted": True}
        values = record | _parsed(entity, request.get("set") or {}) | {"Id": record["Id"]}
        return entity.full(self.rules.write(entity, record["Id"], values, "admin@example.com"))

    def _found(self, entity: Entity, record: Record, created: datetime) -> Record:
        """Keep a record of the world, or of the screens, as it is, with defaults for what it leaves out."""
        values = {"CreatedOn": stamp(created), "UpdatedBy": "admin@example.com"} | _parsed(entity, record)
        return self.rules.found(entity, values, created)

    def state(self, path: str) -> Iterator[Record]:
        """Every record of an entity, deleted ones kept and marked."""
        return self.tables[path].everything()


def _parsed(entity: Entity, record: Mapping[str, Any]) -> Record:
    """A record from outside with its values as they are kept; keys that are no fields stay as they are."""
    return dict(_parsed_items(entity, record))


def _parsed_items(entity: Entity, record: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in record.items():
        item = entity.fields.get(name)
        try:
            yield name, _id(value) if name == "Id" else value if item is None else item.given(value)
        except (ValueError, TypeError, ArithmeticError) as error:
            message = f"{entity.path}: {name} can not be {value!r}: {error}"
            raise ValueError(message) from None


def _fresh(entity: Entity, record: Record) -> Record:
    """A record as the answer to a write shows it: dates with up to seven digits."""
    full = entity.full(record)
    for name in entity.dates:
        if full[name]:
            full[name] = trimmed(full[name])
    return full


def _id(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**63:
        message = "an id is a positive whole number of 63 bits"
        raise ValueError(message)
    return value


def _is_id(number: str) -> bool:
    return number.strip().isdecimal() and len(number) < 20


def _enum(name: str) -> list[Record]:
    if name not in ENUMS:
        raise AbsentError
    return [{"Id": number, "Name": word} for number, word in ENUMS[name].items()]


def _content(body: bytes) -> Record:
    """The JSON object in a body; whatever else is there counts as an empty one."""
    try:
        content: object = load(body) if body.strip() else {}
    except ValueError:
        raise FailureError(400, {"Message": "The request is invalid."}) from None
    return cast("Record", content) if isinstance(content, dict) else {}
