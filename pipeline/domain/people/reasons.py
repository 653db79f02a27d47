"""Why somebody has no print user, and why a row of the plan waits: every reason by its code, and all words about it.

What belongs here: the codes and their texts. What does not: when a reason applies (`accounts.py`), and what becomes of
a user that is there (`ownership.py`).
"""

from __future__ import annotations

from typing import NamedTuple


class Reason(NamedTuple):
    """One reason.

    Attributes:
        why: the end of the sentence "no print user: ...", with what to do in Nexudus where a person can.
        leaves: why a user that is there goes; empty where the reason is no evidence for a removal.
        stays: why a user that is there stays as it is; empty where the reason does not keep it.
        fault: what in the customer's record is at fault; empty where nothing is.
        remedy: how that is put right.
    """

    why: str
    leaves: str = ""
    stays: str = ""
    fault: str = ""
    remedy: str = ""


REASONS: dict[str, Reason] = {
    "suspended": Reason(
        "the preferred customer is suspended in Nexudus; an individual account that is suspended is not replaced by a"
        " company account",
        leaves="the preferred customer is suspended in Nexudus",
    ),
    "archived": Reason(
        "every customer with this e-mail is archived in Nexudus", leaves="the customer is archived in Nexudus"
    ),
    "no_email": Reason(
        "the customer has no e-mail; enter one in Nexudus",
        stays="the customer has no e-mail in Nexudus: the user stays as it is until one is entered",
        fault="no e-mail",
        remedy="enter one",
    ),
    "plus_alias": Reason(
        "the e-mail has a + in it; correct it in Nexudus",
        stays="the e-mail in Nexudus has a plus sign: the user stays as it is until that is corrected",
        fault="a + in the e-mail",
        remedy="correct the e-mail",
    ),
    "bad_email": Reason(
        "the e-mail cannot be a user name in PaperCut; correct it in Nexudus",
        stays="the e-mail in Nexudus cannot be a user name: the user stays as it is until that is corrected",
        fault="an e-mail that cannot be a user name",
        remedy="correct it: at most 50 characters, no / or \\",
    ),
    "no_pin": Reason(
        "the customer has no PIN; set one in Nexudus under Access",
        stays="the customer has no PIN in Nexudus: the user stays as it is until one is entered",
        fault="no PIN",
        remedy="Access > PIN: enter one",
    ),
    "pin_clash": Reason(
        "another customer has the same PIN; give each their own in Nexudus under Access",
        stays="another customer has the same PIN: the user stays as it is until one of them is changed in Nexudus",
        fault="the PIN of an older customer",
        remedy="Access > PIN: give each their own",
    ),
    "name_clash": Reason(
        "another e-mail leads to the same user name; correct one of them in Nexudus",
        stays="another account wants the same user name: the user stays as it is until one e-mail is changed",
        fault="the user name of an older customer",
        remedy="correct one of the e-mails",
    ),
    "other_location": Reason(
        "the home location of the preferred customer is another one, and this site takes its own only"
        ' (customers = "home")',
        leaves="the preferred customer belongs to another location now",
    ),
    "no_flag": Reason(
        "Nexudus does not tell whether the customer may print with ezeep; set the flag of the customer to yes or no",
        stays="Nexudus does not tell whether the customer may print with ezeep: the user stays as it is until it does",
        fault="an ezeep flag that is neither yes nor no",
        remedy="set the flag for ezeep printing to yes or no",
    ),
    "printing_off": Reason(
        "printing with ezeep is not switched on for the customer in Nexudus",
        leaves="printing is switched off on the customer's account in Nexudus",
    ),
    "no_access": Reason(
        "neither a printing flag nor valid credits that count under this site's pricing model",
        leaves="the printing flag is gone and there is no credit",
    ),
    "no_credit": Reason("the printing credits are used up or expired"),
}
"""Every reason; `no_credit` and `no_access` differ in whether credits were the way in."""

STAYS = {code: reason.stays for code, reason in REASONS.items() if reason.stays}
"""Reasons for which nobody is created, and for which nobody is removed either."""

LEAVES = {code: reason.leaves for code, reason in REASONS.items() if reason.leaves}
"""Reasons that are positive evidence for a removal."""

FAULTS = {code: reason for code, reason in REASONS.items() if reason.fault}
"""Reasons that lie in a customer's record and keep its owner from printing (`rules.md` C17)."""


class Hold(NamedTuple):
    """Why a row of the plan is held, by its code.

    Attributes:
        means: what is the matter, as the end of "N users: ...".
        red: whether somebody prints, or may print, who should not; the others can wait for a quiet hour.
    """

    means: str
    red: bool = False


HOLDS: dict[str, Hold] = {
    "lost_leaver": Hold("the customer is to lose access, but the user is not provably ours any more", red=True),
    "lost": Hold("the user was ours, and is not provably so any more"),
    "fell": Hold("the balance fell without a job of theirs, and is not raised", red=True),
    "unlogged": Hold("the balance fell, and the job may not be in the log yet"),
    "no_effect": Hold("a change was made three times and did not take effect"),
    "foreign": Hold("the user that the customer should have is not managed here"),
    "disabled": Hold("a person disabled the user in PaperCut"),
    "by_hand": Hold("the customer may print and waits for a person to invite them"),
    "above_max_credits": Hold("the balance would rise by more than max_credits"),
    "no_seat": Hold("the licence has no seat"),
    "moved": Hold("the customer has another user now"),
    "stays": Hold("something in the customer's record keeps the user as it is"),
    "unproven": Hold("the user may be ours, but its creation has no known outcome"),
}
"""Every reason for a hold, the gravest first; the row's own text has the numbers and the remedy."""
