"""A sandbox for tests: a small Nexudus account, and a client that plays printbridge and an administrator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from pipeline.sandbox.nexudus.switches import SWITCHES
from tests.sandboxes import start

FIXTURES = Path(__file__).parent / "fixtures" / "nexudus"
LONDON, PARIS = 1_420_000_011, 1_420_000_012
PRODUCT, RATE, CREDIT = 1_450_000_021, 1_415_000_031, 1_470_000_401
ANNA, BEN, OLD = 1_423_000_101, 1_423_000_102, 1_423_000_103
NEW = {"FullName": "New Person", "Email": "new@example.com", "CountryId": 1220, "SimpleTimeZoneId": 2023}
SALE = {"CoworkerId": ANNA, "BusinessId": LONDON, "ProductId": PRODUCT, "Quantity": 9, "Notes": "test"}

WORLD = {
    "clock": "2026-11-10T08:00:00Z",
    "nexudus": {
        "businesses": [{"Id": LONDON, "Name": "London"}, {"Id": PARIS, "Name": "Paris"}],
        "products": [{"Id": PRODUCT, "BusinessId": LONDON, "Name": "Impresión A3 B/N", "Price": 0.01}],
        "extraservices": [{"Id": RATE, "BusinessId": LONDON, "Name": "Printing Credit", "IsPrintingCredit": True}],
        "coworkers": [
            {"Id": ANNA, "FullName": "Anna Ash", "Email": "Anna@example.com", "InvoicingBusinessId": LONDON},
            {
                "Id": BEN,
                "FullName": "Ben Bo",
                "Email": "ben@example.com",
                "PaperCutFreePrinting": True,
                "Teams": [5, 6],
            },
            {"Id": OLD, "FullName": "Old Oak", "Email": "old@example.com", "Archived": True, "TariffId": 77},
        ],
        "coworkerextraservices": [
            {
                "Id": CREDIT,
                "CoworkerId": ANNA,
                "BusinessId": LONDON,
                "ExtraServiceId": RATE,
                "TotalUses": 500,
                "IsFromTariff": True,
                "UpdatedOn": "2026-11-09T10:15:40Z",
            },
        ],
    },
    "sites": {},
}


class Api:
    """The service under test, with the control endpoint beside it."""

    def __init__(self, ready: dict) -> None:
        self.ready = ready
        self.control_url = ready["control_url"]
        self.sign_in = (ready["nexudus_email"], ready["nexudus_password"])
        self.client = httpx.Client(base_url=f"{ready['nexudus_url']}/api", auth=self.sign_in, trust_env=False)
        self.plain = httpx.Client(base_url=f"{ready['nexudus_url']}/api", trust_env=False)

    def get(self, path: str, **query: object) -> httpx.Response:
        return self.client.get(path, params=query)

    def rows(self, path: str, **query: object) -> list[dict]:
        return self.get(path, **query).json()["Records"]

    def post(self, path: str, body: object) -> httpx.Response:
        return self.client.post(path, json=body)

    def control(self, method: str, path: str, body: object = None) -> dict:
        answer = self.plain.request(method, f"{self.control_url}/{path}", json=body)
        assert answer.status_code == 200, f"/control/{path} refused the request: {answer.text}"
        return answer.json()

    def switch(self, **values: object) -> None:
        self.control("POST", "switches", values)

    def fault(self, action: str, match: str = "POST coworkerproducts", **more: object) -> None:
        self.control("POST", "faults", {"target": "nexudus", "match": match, "action": action, **more})

    def admin(self, entity: str, **request: object) -> dict:
        return self.control("POST", "nexudus", {"entity": entity, **request})

    def advance(self, seconds: float) -> None:
        self.control("POST", "clock", {"advance_seconds": seconds})

    def sale(self, **more: object) -> dict:
        answer = self.post("billing/coworkerproducts", SALE | more)
        assert answer.status_code == 200, answer.text
        return answer.json()["Value"]

    def customer(self, **more: object) -> int:
        return self.admin("coworkers", set=NEW | more)["Id"]

    def reset(self) -> None:
        """No faults, every switch at its default, counts at 0."""
        self.control("DELETE", "faults")
        self.switch(**{name: values[0] for name, values in SWITCHES.items()})
        self.control("DELETE", "calls")


@contextmanager
def running_api(folder: Path, world: dict[str, Any] = WORLD) -> Iterator[Api]:
    """A sandbox in a process of its own."""
    with start(world, folder) as ready:
        api = Api(ready)
        try:
            yield api
        finally:
            api.client.close()
            api.plain.close()


def sample(name: str) -> dict:
    """The recorded answer whose file name starts with this number."""
    found = next(FIXTURES.glob(f"{name}-*"))
    return {key: value for key, value in json.loads(found.read_text("utf-8")).items() if key != "_note"}
