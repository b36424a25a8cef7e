"""Whatever fails and whoever is late: an app never starts before its time, and nobody waits for nothing."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.contracts import Graph, Milestone, Reached
from emco.domain.dependencies import Condition, Dependency, OnTimeout, Scope
from emco.domain.kinds.apps import find_cycle
from emco.domain.plan.gates import Fact, Gates, Unit, Verdict, untangled

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
C1, C2 = "e+1", "e+2"
APPS = "abcdefg"


def after(seconds: float) -> datetime:
    return BEGAN + timedelta(seconds=seconds)


def waits(app: str, needs: str, **more: object) -> Dependency:
    return Dependency.model_validate({"app": app, "needs": needs, **more})


def fact(*milestones: Milestone, at: float = 1, kept: bool = False, message: str = "") -> Fact:
    known = Fact()
    for one in milestones:
        known.learn(Reached(app="", milestone=one, at=after(at), kept=kept, message=message))
    return known


def verdict(
    facts: dict[Unit, Fact], *dependencies: Dependency, now: float = 10, unit: Unit = (C1, "b")
) -> Verdict:
    clusters = dict.fromkeys("abc", (C1, C2))
    gates = Gates(Graph(dependencies=dependencies, clusters=clusters))
    return gates.decide(facts, BEGAN, after(now))[unit]


READY = fact(Milestone.DEPLOYED, Milestone.READY, at=3)


def test_a_gate_opens_at_the_last_condition_and_the_delay_after_it() -> None:
    late = fact(Milestone.DEPLOYED, Milestone.READY, at=5)
    found = verdict({(C1, "a"): READY, (C2, "a"): late}, waits("b", "a", wait=2))
    assert (found.due, found.why) == (after(7), "2 s after a Ready")


def test_the_longest_of_several_delays_counts() -> None:
    facts = {(c, app): READY for c in (C1, C2) for app in "ac"}
    found = verdict(facts, waits("b", "a", wait=9), waits("b", "c", wait=2))
    assert found.due == after(12)
    assert [str(one.dependency) for one in found.awaits] == ["a Ready + 9 s"]


@pytest.mark.parametrize(
    ("condition", "known", "is_open"),
    [
        ("Deployed", fact(Milestone.DEPLOYED), True),
        ("Deployed", Fact(), False),
        ("Ready", fact(Milestone.DEPLOYED), False),
        ("Ready", READY, True),
        ("Deployed", fact(Milestone.DEPLOYED, Milestone.FAILED), True),
    ],
)
def test_deployed_and_ready_mean_what_they_say(condition: str, known: Fact, is_open: bool) -> None:
    found = verdict({(C1, "a"): known, (C2, "a"): READY}, waits("b", "a", condition=condition))
    assert (found.due is not None) == is_open


def test_the_copy_beside_it_suffices_and_without_one_all_of_them_count() -> None:
    one = waits("b", "a", scope=Scope.SAME_CLUSTER)
    assert verdict({(C1, "a"): READY}, one).due is not None
    assert verdict({(C1, "a"): READY}, one, unit=(C2, "b")).due is None
    gates = Gates(Graph(dependencies=(one,), clusters={"a": (C1, "e+3"), "b": (C2,)}))
    assert gates.decide({(C1, "a"): READY}, BEGAN, after(9))[C2, "b"].due is None


def test_a_failure_breaks_every_gate_behind_it_with_its_root() -> None:
    facts = {(C1, "a"): READY, (C2, "a"): fact(Milestone.FAILED, message="no disk")}
    chain = waits("b", "a"), waits("c", "b")
    for unit in ((C1, "b"), (C2, "b"), (C1, "c")):
        found = verdict(facts, *chain, unit=unit)
        assert found.failure == f"not started: a failed on {C2}: no disk"


def test_a_timeout_fails_with_the_chain_or_goes_on_without() -> None:
    chain = waits("b", "a"), waits("c", "b", timeout=5)
    assert verdict({}, *chain, now=4, unit=(C1, "c")).deadlines == [after(5)]
    failed = verdict({}, *chain, now=5, unit=(C1, "c"))
    assert failed.failure == (
        f"not started: gave up after 5 s, b is not Ready on {C1}, because a is not Ready on {C1}"
    )
    anyway = waits("b", "a", timeout=5, on_timeout=OnTimeout.PROCEED)
    broken = {(C1, "a"): fact(Milestone.FAILED)}
    assert verdict(broken, anyway, now=4).failure == ""
    assert verdict(broken, anyway, now=6).due == after(5)


def test_what_comes_about_in_time_is_not_late_however_late_one_looks() -> None:
    facts = {(C1, "a"): READY, (C2, "a"): READY}
    one = waits("b", "a", timeout=5, wait=60)
    assert verdict(facts, one, now=30).due == after(63)
    assert verdict(facts, waits("b", "a", timeout=2), now=30).failure.endswith("too late")


def test_steadiness_is_watched_for_and_the_delay_follows_it() -> None:
    one = waits("b", "a", stable_for=30, wait=5)
    steady = fact(Milestone.READY)
    steady.steady[30] = after(40)
    kept = fact(Milestone.READY, at=-100, kept=True)
    gates = Gates(Graph(dependencies=(one,), clusters={"a": (C1, C2), "b": (C1,)}))
    assert list(gates.unsteady({(C1, "a"): READY, (C2, "a"): kept})) == [((C1, "a"), 30)]
    assert gates.decide({(C1, "a"): READY, (C2, "a"): kept}, BEGAN, after(9))[C1, "b"].due is None
    assert gates.decide({(C1, "a"): steady, (C2, "a"): kept}, BEGAN, after(50))[
        C1, "b"
    ].due == after(45)


def test_who_comes_later_in_one_direction_goes_first_in_the_other() -> None:
    graph = Graph(dependencies=(waits("b", "a"),), clusters={"a": (C1, C2), "b": (C2,)})
    gates = Gates(graph, removal=True)
    assert (gates.on(C1), gates.on(C2), gates.needed) == (("a",), ("a",), ("b",))
    assert gates.decide({}, BEGAN, after(1))[C1, "a"].due is None
    for how in (Milestone.GONE, Milestone.AWAY):
        assert gates.decide({(C2, "b"): fact(how)}, BEGAN, after(1))[C1, "a"].due is not None
    stays = gates.decide({(C2, "b"): fact(Milestone.FAILED, message="x")}, BEGAN, after(1))
    assert stays[C1, "a"].failure == f"not removed: b could not be removed from {C2}: x"


def test_two_plans_that_contradict_each_other_give_no_circle() -> None:
    given_ = (waits("a", "b"), waits("b", "c"), waits("b", "a"))
    kept = untangled(given_)
    assert len(kept) == 2
    assert not find_cycle({d.app: [d.needs] for d in kept})


def test_a_chain_of_any_length_is_judged_and_checked() -> None:
    names = [f"a{n}" for n in range(3000)]
    chain = tuple(waits(b, a) for a, b in pairwise(names))
    gates = Gates(Graph(dependencies=chain, clusters=dict.fromkeys(names, (C1,))))
    assert len(gates.decide({}, BEGAN, after(1))) == 2999
    assert (
        find_cycle({d.app: [d.needs] for d in (*chain, waits("a0", names[-1]))})[0]
        == (find_cycle({d.app: [d.needs] for d in (*chain, waits("a0", names[-1]))})[-1])
    )


# -- any graph, any failures ------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """An app waits only for apps before it, so there is no circle; each is on one to three clusters."""
    pairs = draw(st.sets(st.tuples(st.sampled_from(APPS), st.sampled_from(APPS))))
    dependencies = []
    for first, second in sorted(pairs):
        if first < second:
            timeout = draw(st.sampled_from([0, 0, 20]))
            policy = draw(st.sampled_from(OnTimeout)) if timeout else OnTimeout.FAIL
            dependencies.append(
                waits(
                    second,
                    first,
                    condition=draw(st.sampled_from(Condition)),
                    wait=draw(st.sampled_from([0, 3])),
                    scope=draw(st.sampled_from(Scope)),
                    timeout=timeout,
                    on_timeout=policy,
                )
            )
    where = st.sets(st.sampled_from([C1, C2, "e+3"]), min_size=1).map(lambda c: tuple(sorted(c)))
    return Graph(dependencies=tuple(dependencies), clusters={app: draw(where) for app in APPS})


class _Run:
    """Units start when their gates say so and come to what was drawn for them."""

    def __init__(self, graph: Graph, failing: set[Unit], *, removal: bool) -> None:
        self.graph, self.failing, self.removal = graph, failing, removal
        self.gates = Gates(graph, removal=removal)
        self.units = [(c, app) for app, clusters in graph.clusters.items() for c in clusters]
        self.facts: dict[Unit, Fact] = {}
        self.started: dict[Unit, float] = {}
        self.refused: set[Unit] = set()
        self.waiting: dict[Unit, Verdict] = {}

    def play(self, seconds: int) -> None:
        for now in range(seconds):
            for unit, since in self.started.items():
                self._move(unit, now - since, now)
            verdicts = self.gates.decide(self.facts, BEGAN, after(now), self.started)
            self.waiting = {u: v for u, v in verdicts.items() if u not in self.refused}
            for unit in self.units:
                found = verdicts.get(unit, Verdict(due=BEGAN))
                if unit in self.started or unit in self.refused:
                    continue
                if found.failure:
                    self.refused.add(unit)
                    self._learn(unit, Milestone.FAILED, now)
                elif found.due is not None and found.due <= after(now):
                    self.started[unit] = now

    def _move(self, unit: Unit, age: float, now: int) -> None:
        if self.removal:
            if age >= 1:
                self._learn(unit, Milestone.FAILED if unit in self.failing else Milestone.GONE, now)
            return
        if age >= 1:
            self._learn(unit, Milestone.DEPLOYED, now)
        if age >= 2:
            self._learn(unit, Milestone.FAILED if unit in self.failing else Milestone.READY, now)

    def _learn(self, unit: Unit, milestone: Milestone, now: int) -> None:
        told = Reached(app=unit[1], milestone=milestone, at=after(now), message="broken")
        self.facts.setdefault(unit, Fact()).learn(told)

    def awaited(self, one: Dependency, cluster: str) -> Iterator[Unit]:
        beside = one.scope is Scope.SAME_CLUSTER and cluster in self.graph.clusters[one.needs]
        for other in [cluster] if beside else self.graph.clusters[one.needs]:
            yield other, one.needs


units = st.sets(st.tuples(st.sampled_from([C1, C2, "e+3"]), st.sampled_from(APPS)))


@given(graphs(), units)
def test_the_order_is_a_linear_extension_and_nobody_waits_for_ever(
    graph: Graph, failing: set[Unit]
) -> None:
    run = _Run(graph, failing, removal=False)
    run.play(120)
    for one in graph.dependencies:
        for cluster in graph.clusters[one.app]:
            began = run.started.get((cluster, one.app))
            if began is None or (one.on_timeout is OnTimeout.PROCEED and began >= one.timeout):
                continue
            for unit in run.awaited(one, cluster):
                met = run.facts[unit].met(one)
                assert met is not None
                assert after(began) >= met + timedelta(seconds=one.wait)
    assert set(run.started) | run.refused == set(run.units), "no deadlock"
    if not failing and not any(d.timeout for d in graph.dependencies):
        assert not run.refused


@given(graphs(), units)
def test_removal_goes_the_other_way_and_ends(graph: Graph, failing: set[Unit]) -> None:
    run = _Run(graph, failing, removal=True)
    run.play(60)
    for one in graph.dependencies:
        for cluster in graph.clusters[one.app]:
            for unit in run.awaited(one, cluster):
                began = run.started.get(unit)
                if began is not None:
                    gone = run.facts[cluster, one.app].removed()
                    assert gone is not None
                    assert gone <= after(began)
    assert set(run.started) | run.refused == set(run.units), "no deadlock"
    if not failing:
        assert not run.refused


@given(graphs(), units, st.integers(min_value=0, max_value=40))
def test_whoever_waits_has_a_reason(graph: Graph, failing: set[Unit], seconds: int) -> None:
    run = _Run(graph, failing, removal=False)
    run.play(seconds + 1)
    for unit in run.units:
        if unit in run.started or unit in run.refused:
            continue
        found = run.waiting[unit]
        assert found.awaits
        if found.due is None:
            assert found.blocker is not None
            assert found.blocker not in run.refused or found.deadlines
        else:
            assert found.due > after(seconds)
