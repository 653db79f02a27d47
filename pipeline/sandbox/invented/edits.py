"""What an administrator does in an invented space during a month: edits for the sandbox's control endpoint.

What belongs here: suspending, flags, names, addresses, PINs, credits given, taken and renewed. What does not: who the
people are (`world.py`) and what they print (`prints.py`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

from pipeline.sandbox.invented.world import printing_customers, renewals

Json = dict[str, Any]


def administration(world: Mapping[str, Any], times: int, *, seed: int = 1) -> list[list[Json]]:
    """What an administrator does in Nexudus between the runs: as many lists of edits as `times`.

    Each is a body of `POST /control/nexudus`; a change of e-mail also says under `renamed` who prints under which name
    from then on.
    """
    rng = random.Random(f"administration:{seed}")
    printing = {name for site in world["sites"] for name in printing_customers(world, site)}
    accounts = [account for account in world["nexudus"]["coworkers"] if (account["Email"] or "").lower() in printing]
    rng.shuffle(accounts)
    chosen = iter(accounts)
    credit_holders = [credit for credit in world["nexudus"]["coworkerextraservices"] if credit["RemainingUses"] > 500]
    edits: list[list[Json]] = [[] for _ in range(times)]
    for position, account in zip(range(4 * times), chosen, strict=False):
        email, number = account["Email"], account["Id"]
        moved = email.replace("@", ".new@")
        changes: tuple[Json, ...] = (
            {"set": {"Active": False}},
            {"set": {"PaperCutPayAsYouPrint": not account["PaperCutPayAsYouPrint"]}},
            {"set": {"Email": moved}, "renamed": {email.lower(): moved.lower()}},
            {"set": {"FullName": f"{account['FullName']} 新", "AccessPincode": f"{99_999 - position:05d}"}},
        )
        edits[position % times].append({"entity": "coworkers", "id": number, **changes[position // times]})
    for turn, credit in zip(edits, rng.sample(credit_holders, min(times, len(credit_holders))), strict=False):
        turn.append({"entity": "coworkerextraservices", "id": credit["Id"], "set": {"RemainingUses": 40}})
        gift = {name: credit[name] for name in ("CoworkerId", "BusinessId", "ExtraServiceId", "ChargePeriod")}
        grant = {"TotalUses": 1000, "RemainingUses": 1000, "Notes": "Thank you for the plants"}
        turn.append({"entity": "coworkerextraservices", "set": {**gift, **grant}})
    edits[-1] += [{"entity": "coworkerextraservices", "set": credit} for credit in renewals(world)]
    return edits
