"""Which units of an operation may start: decided from what others have come to, and from nothing else.

A unit that waits for others stands at a gate. Bringing up, the gate opens when what it needs has
been reached, and a delay counts from that moment; taking down, when everything that needs it is
gone. The same facts always give the same verdict, so that asking again is never wrong.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from graphlib import TopologicalSorter
from typing import Final

from emco.domain.contracts import Graph, Milestone, Reached
from emco.domain.dependencies import Condition, Dependency, OnTimeout, Scope
from emco.domain.kinds.apps import find_cycle
from emco.domain.status import Awaited

MAX_LINKS: Final = 5
"""Links of a chain that one message spells out; `explain` has all of them."""

Unit = tuple[str, str]
"""(cluster, app)"""


@dataclass
class Fact:
    """What one unit has come to, and when. `steady` maps seconds of unbroken readiness to when."""

    at: dict[Milestone, datetime] = field(default_factory=dict)
    is_kept: bool = False
    message: str = ""
    steady: dict[int, datetime] = field(default_factory=dict)

    def learn(self, reached: Reached) -> None:
        """Hearing the same twice changes nothing: the first moment counts."""
        self.at.setdefault(reached.milestone, reached.at)
        if reached.milestone is Milestone.READY:
            self.is_kept = self.is_kept or reached.kept
        self.message = self.message or reached.message

    def met(self, dependency: Dependency) -> datetime | None:
        """When the condition became true, or None while it is not."""
        if dependency.condition is Condition.DEPLOYED:
            return self.at.get(Milestone.DEPLOYED)
        ready = self.at.get(Milestone.READY)
        if ready is None or not dependency.stable_for:
            return ready
        if self.is_kept:  # nobody has touched it since
            return ready + timedelta(seconds=dependency.stable_for)
        return self.steady.get(dependency.stable_for)

    def removed(self) -> datetime | None:
        """When it was out of the way, or None while it is not."""
        return self.at.get(Milestone.GONE) or self.at.get(Milestone.AWAY)


Facts = Mapping[Unit, Fact]


@dataclass(frozen=True)
class Verdict:
    """What is decided about one unit: when it may start, what it waits for, or why it never will.

    `due` is None while something has to be waited for. `blocker` is the first unit waited for.
    """

    due: datetime | None = None
    why: str = ""
    awaits: tuple[Awaited, ...] = ()
    failure: str = ""
    root: str = ""
    blocker: Unit | None = None

    @property
    def deadlines(self) -> list[datetime]:
        """When waiting is given up."""
        return [one.deadline for one in self.awaits if one.deadline and self.due is None]


@dataclass(frozen=True)
class _Need:
    dependency: Dependency
    app: str
    clusters: tuple[str, ...]


@dataclass(frozen=True)
class _Found:
    """How far a need is: when it was met, or which unit it is that is late or has failed."""

    met: datetime | None = None
    late: Unit | None = None
    root: str = ""


class Gates:
    """The gates of one operation."""

    def __init__(self, graph: Graph, *, removal: bool = False) -> None:
        self._graph, self._removal = graph, removal
        self._needs = _needs(graph, removal=removal)

    def on(self, cluster: str) -> tuple[str, ...]:
        """The apps that have a gate on one cluster."""
        return tuple(sorted(app for app, at in self._needs.items() if cluster in at))

    @cached_property
    def needed(self) -> tuple[str, ...]:
        """The apps that others wait for."""
        every = (need for at in self._needs.values() for needs in at.values() for need in needs)
        return tuple(sorted({need.app for need in every}))

    @cached_property
    def _order(self) -> list[str]:
        waits: dict[str, list[str]] = {d.app: [] for d in self._graph.dependencies} | {
            app: sorted({need.app for needs in at.values() for need in needs})
            for app, at in self._needs.items()
        }
        return [app for app in TopologicalSorter(waits).static_order() if app in self._needs]

    def unsteady(self, facts: Facts) -> Iterator[tuple[Unit, int]]:
        """Units that are ready, and for how long they have to stay so without a break."""
        wanted = {
            ((cluster, need.app), need.dependency.stable_for): None
            for at in self._needs.values()
            for needs in at.values()
            for need in needs
            for cluster in need.clusters
            if need.dependency.stable_for
        }
        for unit, seconds in wanted:
            fact = facts.get(unit)
            if fact and Milestone.READY in fact.at and not fact.is_kept:
                yield unit, seconds

    def decide(
        self, facts: Facts, began: datetime, now: datetime, started: Collection[Unit] = ()
    ) -> dict[Unit, Verdict]:
        """The verdict on each unit with a gate that has not started yet.

        `began` is when the operation began to wait: timeouts count from then.
        """
        verdicts: dict[Unit, Verdict] = {}
        known: dict[int, _Found] = {}
        for app in self._order:
            for cluster, needs in self._needs[app].items():
                if (cluster, app) in started:
                    continue
                for need in needs:
                    if id(need) not in known:
                        known[id(need)] = self._look(need, facts, verdicts)
                found = [(need, known[id(need)]) for need in needs]
                verdicts[cluster, app] = self._judge(found, verdicts, began, now)
        return verdicts

    def _look(self, need: _Need, facts: Facts, verdicts: Mapping[Unit, Verdict]) -> _Found:
        met: datetime | None = None
        late: Unit | None = None
        for cluster in need.clusters:
            unit = (cluster, need.app)
            fact, verdict = facts.get(unit, _NOTHING), verdicts.get(unit)
            when = fact.removed() if self._removal else fact.met(need.dependency)
            if when is not None:
                met = max(met, when) if met else when
                continue
            if verdict is not None and verdict.failure:
                return _Found(late=unit, root=verdict.root)
            if Milestone.FAILED in fact.at:
                return _Found(late=unit, root=self._failed(unit, fact.message))
            late = late or unit
        return _Found(late=late) if late else _Found(met=met)

    def _failed(self, unit: Unit, message: str) -> str:
        cluster, app = unit
        if self._removal:
            return f"{app} could not be removed from {cluster}: {message}"
        return f"{app} failed on {cluster}: {message}"

    def _judge(
        self,
        needs: Sequence[tuple[_Need, _Found]],
        verdicts: Mapping[Unit, Verdict],
        began: datetime,
        now: datetime,
    ) -> Verdict:
        due, why = began, ""
        last: tuple[Awaited, ...] = ()
        awaits: list[Awaited] = []
        blocker: Unit | None = None
        for need, found in needs:
            asked = need.dependency
            patience = 0 if self._removal else asked.timeout
            deadline = began + timedelta(seconds=patience) if patience else None
            if deadline is not None and _is_late(found.met, deadline, now):
                if asked.on_timeout is OnTimeout.FAIL:
                    told = _chain(need, found, verdicts)
                    failure = f"not started: gave up after {patience} s, {told}"
                    return Verdict(failure=failure, root=failure.removeprefix("not started: "))
                opened, reason = deadline, f"{need.app} was waited for {patience} s in vain"
            elif found.met is None:
                if found.root and not (deadline and asked.on_timeout is OnTimeout.PROCEED):
                    undone = "not removed" if self._removal else "not started"
                    return Verdict(failure=f"{undone}: {found.root}", root=found.root)
                awaits.append(Awaited(dependency=asked, deadline=deadline, removal=self._removal))
                blocker = blocker or found.late
                continue
            else:
                delay = 0 if self._removal else asked.wait
                opened = found.met + timedelta(seconds=delay)
                reason = _reason(need, delay, removal=self._removal)
            if opened >= due:
                due, why = opened, reason
                last = (Awaited(dependency=asked, removal=self._removal),)
        if awaits:
            return Verdict(awaits=tuple(awaits), blocker=blocker)
        return Verdict(due=due, why=why, awaits=last)


_NOTHING: Final = Fact()


def _is_late(met: datetime | None, deadline: datetime, now: datetime) -> bool:
    return now >= deadline if met is None else met > deadline


def untangled(dependencies: Iterable[Dependency]) -> tuple[Dependency, ...]:
    """Without those that close a circle: of two plans each may be right, and both together not."""
    kept = list(dict.fromkeys(dependencies))
    while circle := find_cycle(_waits(kept)):
        kept = [d for d in kept if (d.app, d.needs) != (circle[0], circle[1])]
    return tuple(kept)


def _waits(dependencies: Iterable[Dependency]) -> dict[str, list[str]]:
    waits: dict[str, list[str]] = {}
    for one in dependencies:
        waits.setdefault(one.app, []).append(one.needs)
    return waits


def _needs(graph: Graph, *, removal: bool) -> dict[str, dict[str, tuple[_Need, ...]]]:
    """App to cluster to what the unit there waits for. Units that wait for the same share it."""
    found: dict[str, dict[str, tuple[_Need, ...]]] = {}
    for one in graph.dependencies:
        app, other = (one.needs, one.app) if removal else (one.app, one.needs)
        shared: dict[tuple[str, ...], _Need] = {}
        for cluster in graph.clusters.get(app, ()):
            clusters = _counting(one, graph, cluster, removal=removal)
            if clusters:
                need = shared.setdefault(clusters, _Need(one, other, clusters))
                at = found.setdefault(app, {})
                at[cluster] = (*at.get(cluster, ()), need)
    return found


def _counting(one: Dependency, graph: Graph, cluster: str, *, removal: bool) -> tuple[str, ...]:
    """The clusters of the other app that count for the unit on `cluster`."""
    needed, waiting = graph.clusters.get(one.needs, ()), graph.clusters.get(one.app, ())
    if one.scope is Scope.ALL:
        return waiting if removal else needed
    if not removal:
        return (cluster,) if cluster in needed else needed
    return tuple(c for c in waiting if c == cluster or c not in needed)


def _reason(need: _Need, delay: int, *, removal: bool) -> str:
    if removal:
        return f"{need.app} is gone"
    is_steady = need.dependency.stable_for
    steady = f" for {is_steady} s" if is_steady else ""
    after = f"{delay} s after " if delay else ""
    return f"{after}{need.app} {need.dependency.condition}{steady}"


def _chain(need: _Need, found: _Found, verdicts: Mapping[Unit, Verdict]) -> str:
    """From what is late to what that waits for, down to the root or as far as one message goes."""
    links: list[str] = []
    condition, unit = need.dependency.condition, found.late
    app = need.app
    while unit is not None and len(links) < MAX_LINKS:
        links.append(f"{app} is not {condition} on {unit[0]}")
        verdict = verdicts.get(unit)
        if verdict is None or not verdict.awaits:
            break
        app, condition = verdict.awaits[0].app, verdict.awaits[0].dependency.condition
        unit = verdict.blocker
    return ", because ".join(links) if links else f"{app} came to be {condition} too late"
