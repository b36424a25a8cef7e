"""How what several writers know of one unit comes together: of every object, what was seen last wins.

An operation's activities and the watch over the whole cluster write the same rows and know nothing
of each other. Both judge by the same rules, so it is enough to keep the judgement of the higher
resource version; who came first to the database does not matter.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from emco.domain.status import Deployed, ObjectKey, ObjectStatus, Phase, Ready, UnitRow

MAX_TOLD: Final = 3


class Sighting(BaseModel):
    """What a watch says of one object; `key` has its namespace filled in."""

    model_config = ConfigDict(frozen=True)

    key: ObjectKey
    ready: Ready
    message: str = ""
    observed: dict[str, Any] | None = None
    seen: int = 0
    is_anew: bool = False
    """The cluster went back in time, as one does that is restored or made anew: its versions start over."""


def merged(old: UnitRow | None, new: UnitRow) -> UnitRow:
    """`new`, but for the objects of which `old` has seen a later version."""
    if old is None:
        return new
    known = {status.key: status for status in old.objects}
    objects = tuple(_later(known.get(status.key), status) for status in new.objects)
    update = {"objects": objects, "namespace": new.namespace or old.namespace}
    return settled(new.model_copy(update=update), since=new.since)


def sighted(row: UnitRow, sightings: Iterable[Sighting], *, now: datetime) -> UnitRow:
    """The row after what was seen.

    Objects that are not the unit's are passed over, and so is what the row has seen later.
    """
    objects = {status.key: status for status in row.objects}
    for sighting in sightings:
        key = _as_planned(sighting.key, row.namespace, objects)
        if key is not None:
            objects[key] = _sighted(objects[key], sighting)
    return settled(row.model_copy(update={"objects": tuple(objects.values())}), since=now)


def settled(row: UnitRow, *, since: datetime) -> UnitRow:
    """A unit that no operation is at is degraded while one of its objects is not ready.

    What is unknown decides nothing.
    """
    if row.phase not in (Phase.READY, Phase.DEGRADED):
        return row
    present = [status for status in row.objects if status.deployed is not Deployed.DELETED]
    late = [o for o in present if o.ready in (Ready.NOT_READY, Ready.NOT_PRESENT)]
    unknown = [o for o in present if o.ready is Ready.UNKNOWN]
    if late:
        phase, message = Phase.DEGRADED, told(late)
    elif unknown:
        phase, message = row.phase, unknown[0].message
    else:
        phase, message = Phase.READY, ""
    update = {
        "phase": phase,
        "message": message,
        "since": row.since if phase is row.phase else since,
    }
    return row.model_copy(update=update)


def told(objects: Sequence[ObjectStatus]) -> str:
    """Which objects, and what is said of them, in one line."""
    lines = [f"{o.key}: {o.message or o.ready}" for o in objects[:MAX_TOLD]]
    more = len(objects) - MAX_TOLD
    return "; ".join([*lines, *([f"and {more} more"] if more > 0 else [])])


def _later(old: ObjectStatus | None, new: ObjectStatus) -> ObjectStatus:
    if old is None or new.seen > old.seen:
        return new
    if new.seen == old.seen and old.ready is not Ready.UNKNOWN:
        return new
    kept = {"ready": old.ready, "message": old.message, "observed": old.observed, "seen": old.seen}
    return new.model_copy(update=kept)


def _as_planned(
    key: ObjectKey, namespace: str, objects: dict[ObjectKey, ObjectStatus]
) -> ObjectKey | None:
    """The key under which the row has the object: as it is, or without the namespace it ended up in."""
    if key in objects:
        return key
    bare = key.model_copy(update={"namespace": ""})
    return bare if key.namespace in ("", namespace) and bare in objects else None


def _sighted(old: ObjectStatus, sighting: Sighting) -> ObjectStatus:
    if sighting.ready is Ready.UNKNOWN:
        return old.model_copy(update={"ready": Ready.UNKNOWN, "message": sighting.message})
    is_older = sighting.seen < old.seen and not sighting.is_anew
    if is_older or _was_done(old, sighting):
        return old
    kept = {"ready": sighting.ready, "message": sighting.message, "seen": sighting.seen}
    return old.model_copy(update={**kept, "observed": sighting.observed})


def _was_done(old: ObjectStatus, sighting: Sighting) -> bool:
    """A Job that ended well may be cleared away, by its time to live or by whoever likes: it is done."""
    is_job = (old.key.group, old.key.kind) == ("batch", "Job")
    return is_job and old.ready is Ready.READY and sighting.ready is Ready.NOT_PRESENT
