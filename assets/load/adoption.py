"""Our mark in the notes of a PaperCut user that somebody else made: one call, looked at before and after.

What belongs here: the write and its proof. What does not: which users are taken over (`pipeline/adopt.py`).
"""

import re

from pipeline.adopt import Result
from pipeline.domain.records import marked_notes
from pipeline.errors import BridgeError, MissingError, RejectedError, UnknownOutcomeError
from pipeline.resources import Bridge


def mark_user(bridge: Bridge, site: str, username: str, coworker_id: int) -> Result:
    """Append our mark to the notes of a user, and nothing else; the rest of the notes stays.

    Returns:
        The result; an error after which nobody else can be reached is its `halt`. Raises nothing of `BridgeError`.
    """
    papercut = bridge.papercut(site)
    try:
        seen = papercut.properties(username, ["internal", "notes"])
        others = set(re.findall(rf"printbridge:{site}:(\d+)\b", seen["notes"])) - {str(coworker_id)}
        if seen["internal"].lower() != "true" or others:
            return Result(username, "held", "it is no internal user any more, or has the mark of another customer now")
        notes = marked_notes(seen["notes"], site, coworker_id)
        if notes != seen["notes"]:
            papercut.set_properties(username, {"notes": notes})
        if papercut.properties(username, ["notes"])["notes"] == notes:
            return Result(username, "done", "our mark stands in its notes")
        return Result(username, "unknown", "PaperCut keeps other notes than were sent: look at the user in PaperCut")
    except (RejectedError, MissingError) as error:
        return Result(username, "failed", str(error))
    except UnknownOutcomeError as error:
        return Result(username, "unknown", f"{error} The next run looks whether the mark is there.")
    except BridgeError as error:
        return Result(username, "failed", str(error), error)
