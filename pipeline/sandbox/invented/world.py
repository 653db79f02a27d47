"""Invented coworking spaces: a world file for the sandbox.

What belongs here: customers, credits, printers and staff that look like those of a real space and hold every case that
the rules know. What does not: what people print there (`prints.py`), the services themselves, expectations. Everything
follows from the seed, so the same arguments give the same world.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import cycle
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.sandbox.invented import ezeep as on_ezeep

Json = dict[str, Any]

MODELS = ("credits_and_pay_per_print", "credits_only", "pay_per_print", "credits_and_pay_per_print", "free_unlimited")
"""The pricing models of the sites, in the order of the sites, again and again."""

ZONES = {
    "london": "Europe/London", "leeds": "Europe/London", "athens": "Europe/Athens", "berlin": "Europe/Berlin",
    "lisbon": "Europe/Lisbon", "sofia": "Europe/Sofia", "dubai": "Asia/Dubai", "toronto": "America/Toronto",
    "taipei": "Asia/Taipei", "kolkata": "Asia/Kolkata",
}  # fmt: skip
"""The time zones of known cities; a site with another name takes one of these in turn."""

FIRST_IDS = {
    "businesses": 1_420_000_011, "coworkers": 1_423_000_101, "coworkerextraservices": 1_470_000_401,
    "extraservices": 1_415_000_031, "products": 1_450_000_021,
}  # fmt: skip
GRANTS = (900, 1000, 1500, 2000)
"""What plans give in a month, in credits (`rules.md` W7 to W10)."""

SPECIAL = {
    "company": 0.06,            # a company account with its own e-mail
    "company_twin": 0.05,       # a company account on the e-mail of a person
    "twin": 0.03,               # a second individual account of one person
    "suspended": 0.04,
    "suspended_founder": 0.004, # a suspended person whose company account is active (`rules.md` P6)
    "archived": 0.05,
    "plus_alias": 0.02,
    "no_pin": 0.02,
    "no_email": 0.004,
    "unicode_email": 0.01,
    "pin_clash": 0.0,           # exactly one
}  # fmt: skip
"""Shares of the accounts that are not an ordinary person; at least one of each."""

FLAGS = {  # (pay, free) as shares of the members and of the contacts
    "credits_and_pay_per_print": ((0.70, 0.02), (0.30, 0.0)),
    "credits_only": ((0.10, 0.03), (0.0, 0.0)),
    "pay_per_print": ((0.85, 0.02), (0.30, 0.0)),
    "free_unlimited": ((0.05, 0.85), (0.05, 0.40)),
}
PLAN_CREDITS = {"credits_and_pay_per_print": 0.45, "credits_only": 0.80}
"""The share of the members whose plan brings printing credits, where the model takes them."""

PEOPLE = (  # given names, family names; `native/latin` where the e-mail is written otherwise; a blank joins them
    (" ", "Amelia Jack Priya Zoë/zoe Owen Grace Ravi Chloé/chloe", "Smith Patel Nguyen O'Brien/obrien Hughes Khan Ng"),
    (" ", "Jürgen/juergen Anja Søren/soren Åsa/asa Łukasz/lukasz", "Müller/mueller Øby/oby Žižka/zizka Groß/gross"),
    (" ", "Inês/ines José/jose Nuño/nuno Lucía/lucia", "Gonçalves/goncalves Muñoz/munoz García-Pérez/garcia.perez"),
    (" ", "Елена/elena Дмитрий/dmitry Оксана/oksana", "Иванова/ivanova Шевченко/shevchenko Петров/petrov"),
    (" ", "Γιώργος/giorgos Ελένη/eleni Νίκος/nikos", "Παπαδάκης/papadakis Αγγέλου/angelou Σταύρου/stavrou"),
    ("", "芳/fang 伟/wei 秀英/xiuying", "王/wang 李/li 陳/chen"),
    (" ", "محمد/mohammed فاطمة/fatima ليلى/layla", "العلي/alali حداد/haddad منصور/mansour"),
    (" ", "דוד/david נועה/noa", "כהן/cohen לוי/levi"),
    (" ", "आरव/aarav अनन्या/ananya", "शर्मा/sharma गुप्ता/gupta"),
)
COMMON = (0.42, 0.16, 0.12, 0.07, 0.08, 0.06, 0.05, 0.02, 0.02)
COMPANIES = (
    "Acorn Studio", "Blau & Söhne", "Čapek Design", "Delta Labs", "Étoile", "Foxglove", "Грань", "Harbour Legal",
    "Ideas Co-op", "Juniper", "Kosmos", "Lumen",
)  # fmt: skip
TEAMS = ("Blue desk", "Team Łódź", "Команда Север", "Ομάδα Άλφα", "North wing", "二号室", "Night owls")
STAFF = (("reception", "Front Desk"), ("m.okafor", "Mercy Okafor"), ("j.weiß", "Jörg Weiß"), ("scanner", ""))
PRINTERS = (("ground", 3, 18, "Ground floor"), ("quiet", 2, 0, "Quiet room"), ("studio", 4, 24, "Studio, A3"))
"""Name, credits a B/W page, credits a colour page (0: no colour), location. Colour costs 5 to 10 times as much."""


def make_world(
    customers: int = 300,
    sites: Sequence[str] = ("london", "leeds"),
    *,
    seed: int = 1,
    clock: str = "2026-10-01T06:00Z",
    ezeep: Collection[str] = (),
) -> Json:
    """A world file (design section 8) of one account with these sites.

    Args:
        customers: Nexudus accounts in all; those that share an e-mail count each.
        sites: names of the sites; each has a pricing model (`MODELS`), a time zone (`ZONES`), printers and staff.
        seed: another seed, other people.
        clock: when the sandbox begins, ISO-8601 with zone. Plan credits are those of the month of this moment.
        ezeep: which of the sites print with ezeep.

    Raises:
        ValueError: more customers than there are PINs of five digits (100,000).
    """
    rng = random.Random(f"world:{seed}:{customers}:{','.join(sites)}")
    now = datetime.fromisoformat(clock).astimezone(UTC)
    homes = [_home(number, name) for number, name in enumerate(sites)]
    accounts = _accounts(rng, customers, homes, now)
    if ezeep:
        on_ezeep.flag(accounts, {home["business_id"] for home in homes if home["name"] in ezeep})
    return {
        "clock": clock,
        "switches": {"credit_put_remaining": "honour"},
        "nexudus": {
            "businesses": [{"Id": home["business_id"], "Name": home["name"].title()} for home in homes],
            "coworkers": accounts,
            "extraservices": [service for home in homes for service in _services(home)],
            "coworkerextraservices": _numbered("coworkerextraservices", _credits(rng, accounts, homes, now)),
            "products": [product for home in homes for product in _products(home)],
            "coworkerproducts": [],
        },
        "sites": {
            home["name"]: on_ezeep.organisation(home["business_id"], (printer[0] for printer in PRINTERS))
            if home["name"] in ezeep
            else _papercut(rng, home, accounts)
            for home in homes
        },
    }


def zone_of(world: Mapping[str, Any], name: str) -> str:
    """The time zone of a site."""
    return str(_home(list(world["sites"]).index(name), name)["zone"])


def pricing_models(world: Mapping[str, Any]) -> dict[str, str]:
    """The pricing model of each site, as its customers' flags and credits suppose it."""
    return dict(zip(world["sites"], cycle(MODELS), strict=False))


def renewals(world: Mapping[str, Any]) -> list[Json]:
    """The credits that the plans bring when those of the world's month have lapsed: as many, for the month after."""
    records: list[Json] = []
    for credit in world["nexudus"]["coworkerextraservices"]:
        if credit.get("IsFromTariff") and _is_left(world, credit):
            end = datetime.fromisoformat(credit["ExpireDate"]) + timedelta(days=30)
            fresh = {"RemainingUses": credit["TotalUses"], "ValidFrom": credit["ExpireDate"], "ExpireDate": _text(end)}
            records.append({name: value for name, value in credit.items() if name != "Id"} | fresh)
    return records


def printing_customers(world: Mapping[str, Any], site: str) -> list[str]:
    """The e-mails, lower-case, of those who believe that they may print at a site, by name.

    That is nearly, but not quite, whom the rules let print: people do not know that a second account decides for them.
    """
    business_id = world["sites"][site]["business_id"]
    holders = {credit["CoworkerId"] for credit in world["nexudus"]["coworkerextraservices"] if _is_left(world, credit)}
    return sorted(
        {
            account["Email"].lower()
            for account in world["nexudus"]["coworkers"]
            if account["InvoicingBusinessId"] == business_id and account["Active"] and not account["Archived"]
            and account["Email"] and "+" not in account["Email"] and account["AccessPincode"]
            and (account["PaperCutPayAsYouPrint"] or account["PaperCutFreePrinting"] or account["Id"] in holders)
        }
    )  # fmt: skip


def _is_left(world: Mapping[str, Any], credit: Json) -> bool:
    """Whether something is left of a credit when the world begins."""
    expires = credit.get("ExpireDate")
    return credit["RemainingUses"] > 0 and (expires is None or expires > _text(datetime.fromisoformat(world["clock"])))


# --- places -----------------------------------------------------------------------------------------------------------


def _home(number: int, name: str) -> Json:
    """What the parts of a site have in common."""
    zones = list(ZONES.values())
    return {
        "name": name,
        "number": number,
        "zone": ZoneInfo(ZONES.get(name, zones[number % len(zones)])),
        "model": MODELS[number % len(MODELS)],
        "business_id": FIRST_IDS["businesses"] + number,
        "printing_credit": FIRST_IDS["extraservices"] + 2 * number,
    }


def _services(home: Json) -> list[Json]:
    shared: Json = {"BusinessId": home["business_id"], "ChargePeriod": 5, "Price": 1}
    number = home["printing_credit"]
    return [
        {**shared, "Id": number, "Name": f"Printing credit {home['name'].title()}", "IsPrintingCredit": True},
        {**shared, "Id": number + 1, "Name": "Meeting room hours", "IsPrintingCredit": False, "IsBookingCredit": True},
    ]


def _products(home: Json) -> list[Json]:
    first, shared = FIRST_IDS["products"] + 2 * home["number"], {"BusinessId": home["business_id"]}
    return [
        {**shared, "Id": first, "Name": "Printing", "Price": 0.01},
        {**shared, "Id": first + 1, "Name": "Flat white", "Price": 2.8},
    ]


def _papercut(rng: random.Random, home: Json, accounts: list[Json]) -> Json:
    """A PaperCut server before printbridge: staff from a directory, among them two whose e-mail is a customer's."""
    users = [{"username": name, "full_name": full, "internal": False, "restricted": False} for name, full in STAFF]
    ordinary = [
        account for account in accounts
        if account["InvoicingBusinessId"] == home["business_id"] and account["Email"] and account["AccessPincode"]
        and account["PaperCutPayAsYouPrint"] and account["Active"] and "+" not in account["Email"]
    ]  # fmt: skip
    for account, name in zip(rng.sample(ordinary, min(2, len(ordinary))), (None, "intern"), strict=False):
        email = account["Email"].lower()
        users.append({"username": name or email, "full_name": account["FullName"], "email": email, "internal": False})
    return {
        "business_id": home["business_id"],
        "config": {"timezone": str(home["zone"]), "internal-users.self-registration.min-password-length": "8"},
        "users": users,
        "printers": [
            {
                "server": f"print-{home['name']}", "name": name, "location": place,
                "cost_simple": cost, "cost_color": color,
            }
            for name, cost, color, place in PRINTERS
        ],
        "jobs": [],
    }  # fmt: skip


# --- customers --------------------------------------------------------------------------------------------------------


def _accounts(rng: random.Random, number: int, homes: list[Json], now: datetime) -> list[Json]:
    """The accounts, numbered in the order in which they registered."""
    special = [kind for kind, share in SPECIAL.items() for _ in range(max(1, round(share * number)))]
    special = special[: number // 2]
    pins = iter(rng.sample(range(100_000), number))
    taken: Counter[str] = Counter()
    weights = [len(homes) - place + 1 for place in range(len(homes))]
    made: list[Json] = []
    for kind in [*["person"] * (number - len(special)), *special]:
        home = rng.choices(homes, weights)[0]
        account = _person(rng, home, taken, native=kind == "unicode_email") | _membership(rng, home, now)
        account["AccessPincode"] = f"{next(pins):05d}"
        made.append(account)
        _specialise(rng, kind, account, made)
    made.sort(key=lambda account: account["RegistrationDate"])
    return _numbered("coworkers", made)


def _person(rng: random.Random, home: Json, taken: Counter[str], *, native: bool) -> Json:
    """Name, e-mail and address of somebody nobody knows."""
    join, given_names, family_names = rng.choices(PEOPLE, COMMON)[0]
    given, family = rng.choice(given_names.split()), rng.choice(family_names.split())
    (given, latin_given), (family, latin_family) = (
        (name.partition("/")[0], name.rpartition("/")[2]) for name in (given, family)
    )
    local = f"{given}.{family}" if native else f"{latin_given}.{latin_family}"
    local = local.lower().replace("'", "").replace(" ", "")
    taken[local] += 1
    if taken[local] > 1:
        local += str(taken[local])
    email = f"{local}@{rng.choice(('example.com', 'example.org', 'example.net', 'mail.example'))}"
    return {
        "FullName": join.join((given, family) if join else (family, given)),
        "Email": email.title() if rng.random() < 0.03 else email,
        "CoworkerType": 1,
        "CompanyName": rng.choice(COMPANIES) if rng.random() < 0.4 else None,
        "InvoicingBusinessId": home["business_id"],
        "Active": True,
        "Archived": False,
    }


def _membership(rng: random.Random, home: Json, now: datetime) -> Json:
    """Plan, flags, team and age of an account, as its home location gives them."""
    member = rng.random() < 0.75
    pay, free = FLAGS[home["model"]][0 if member else 1]
    registered = now - timedelta(days=rng.expovariate(1 / 400) + 1, seconds=rng.randrange(86_400))
    contract = rng.randrange(10**9)
    return {
        "TariffId": 1_460_000_001 + rng.randrange(5) if member else 0,
        "CoworkerContractIds": str(contract) if member else None,
        "TeamNames": rng.choice(TEAMS) if rng.random() < 0.25 else None,
        "AccessCardId": f"{contract:010d}" if rng.random() < 0.3 else None,
        "PaperCutPayAsYouPrint": rng.random() < pay,
        "PaperCutFreePrinting": rng.random() < free,
        "RegistrationDate": _text(registered),
        "CreatedOn": _text(registered),
    }


def _specialise(rng: random.Random, kind: str, account: Json, made: list[Json]) -> None:
    """Make an account what its kind says; those that share something share it with an ordinary one before it."""
    other = rng.choice(made[: max(1, len(made) // 2)])
    company = {"CoworkerType": 2, "FullName": other["CompanyName"] or rng.choice(COMPANIES)}
    same = {"Email": other["Email"], "InvoicingBusinessId": other["InvoicingBusinessId"]}
    changes: dict[str, Json] = {
        "company": company,
        "company_twin": company | same,
        "twin": {**same, "FullName": other["FullName"]},
        "suspended": {"Active": False},
        "archived": {"Archived": True, "Active": False},
        "plus_alias": {"Email": account["Email"].replace("@", "+print@")},
        "no_pin": {"AccessPincode": "", "PaperCutFreePrinting": True},
        "no_email": {"Email": None},
        "pin_clash": {
            "AccessPincode": other["AccessPincode"], "InvoicingBusinessId": other["InvoicingBusinessId"],
            "PaperCutFreePrinting": True,
        },
        "suspended_founder": company | same,
    }  # fmt: skip
    account |= changes.get(kind, {})
    if kind == "suspended_founder":
        other["Active"] = False
    if kind == "pin_clash":
        other["PaperCutFreePrinting"] = True


# --- credits ----------------------------------------------------------------------------------------------------------


def _credits(rng: random.Random, accounts: list[Json], homes: list[Json], now: datetime) -> Iterable[Json]:
    """Printing credits from plans, products and by hand, used up or lapsed ones, and credits for meeting rooms."""
    by_business = {home["business_id"]: home for home in homes}
    for account in accounts:
        home = by_business[account["InvoicingBusinessId"]]
        shared: Json = {
            "CoworkerId": account["Id"], "BusinessId": home["business_id"], "ExtraServiceId": home["printing_credit"],
            "ChargePeriod": 5, "ValidFrom": None, "ExpireDate": None,
        }  # fmt: skip
        month = _month(now, home["zone"])
        if account["TariffId"]:
            hours = {"ExtraServiceId": home["printing_credit"] + 1, "TotalUses": 10, "RemainingUses": 7}
            yield from [shared | hours] if rng.random() < 0.3 else []
        if home["model"] not in PLAN_CREDITS:
            continue
        if account["TariffId"] and rng.random() < PLAN_CREDITS[home["model"]]:
            uses = _uses(rng.choice(GRANTS))
            plan = {"IsFromTariff": True, "CoworkerContractUniqueId": f"contract-{account['CoworkerContractIds']}"}
            lapsed = {"ValidFrom": _text(month[0] - timedelta(days=30)), "ExpireDate": _text(month[0])}
            yield shared | plan | uses | {"ValidFrom": _text(month[0]), "ExpireDate": _text(month[1])}
            yield from [shared | plan | uses | lapsed] if rng.random() < 0.4 else []
        if rng.random() < 0.08:
            yield shared | _uses(rng.choice((200, 500, 1000))) | {"Notes": "Welcome gift"}
        if rng.random() < 0.06:
            sold = _uses(2500, rng.randrange(0, 2500)) | {"CoworkerProductUniqueId": f"bundle-{account['Id']}"}
            yield shared | sold | {"ExpireDate": _text(month[1] + timedelta(days=rng.randrange(5, 90)))}
        if rng.random() < 0.05:
            yield shared | _uses(500, 0)


def _uses(total: int, remaining: int | None = None) -> Json:
    return {"TotalUses": total, "RemainingUses": total if remaining is None else remaining}


def _month(now: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The first moments of this month and of the next, in a zone, as UTC."""
    first = now.astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    after = (first + timedelta(days=32)).replace(day=1)
    return first.astimezone(UTC), after.astimezone(UTC)


def _numbered(path: str, records: Iterable[Json]) -> list[Json]:
    return [{"Id": FIRST_IDS[path] + number, **record} for number, record in enumerate(records)]


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
