"""Every wait is explained, down to its root, whatever the graph."""

from datetime import UTC, datetime
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emco.domain.blockers import MAX_ROOTS, blockers, by_app
from emco.domain.dependencies import Condition, Dependency
from emco.domain.graph import as_mermaid, as_text, dependency_graph
from emco.domain.status import Awaited, Phase, UnitRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(app: str, phase: Phase, *needs: str, cluster: str = "e+1", **more: object) -> UnitRow:
    awaits = tuple(Awaited(dependency=Dependency(app=app, needs=name)) for name in needs)
    facts = {"phase": phase, "since": NOW, "awaits": awaits, **more}
    return UnitRow.model_validate({"app": app, "cluster": cluster, **facts})


def test_a_chain_is_told_down_to_its_root() -> None:
    rows = [
        row("c", Phase.WAITING, "b"),
        row("b", Phase.WAITING, "a"),
        row("a", Phase.RETRYING, message="e+1 does not answer"),
    ]
    assert blockers(rows[0], by_app(rows)) == [
        "b Ready waits on e+1, because a is not Ready on e+1 (Retrying): e+1 does not answer"
    ]


def test_every_cluster_that_is_late_is_named_and_many_are_counted() -> None:
    late = [row("a", Phase.PENDING, cluster=f"e+{n}") for n in range(MAX_ROOTS + 3)]
    web = row("web", Phase.WAITING, "a")
    told = blockers(web, by_app([web, *late]))
    assert told[0].startswith("a is not Ready on e+")
    assert (len(told), told[-1]) == (MAX_ROOTS + 1, "and 3 more")


def test_a_delay_is_told_as_what_it_counts_from() -> None:
    awaits = (Awaited(dependency=Dependency(app="b", needs="a", wait=9)),)
    waiting = row("b", Phase.WAITING).model_copy(update={"awaits": awaits, "until": NOW})
    assert blockers(waiting, {}) == ["a Ready + 9 s"]


def test_what_has_to_go_first_is_told_as_such() -> None:
    gone = (Awaited(dependency=Dependency(app="web", needs="db"), removal=True),)
    db = row("db", Phase.WAITING).model_copy(update={"awaits": gone})
    rows = by_app([db, row("web", Phase.REMOVING)])
    assert blockers(db, rows) == ["web is still on e+1 (Removing)"]


apps = st.sampled_from("abcdef")


@given(
    st.sets(st.tuples(apps, apps).filter(lambda pair: pair[0] < pair[1])),
    st.dictionaries(apps, st.sampled_from(Phase)),
)
def test_whatever_waits_is_explained_and_drawn(
    pairs: set[tuple[str, str]], phases: dict[str, Phase]
) -> None:
    """An app waits for those before it; what has nothing to wait for is at any other phase."""
    rows = []
    for app in "abcdef":
        needs = [first for first, second in sorted(pairs) if second == app]
        other = phases.get(app, Phase.PENDING)
        other = Phase.PENDING if other is Phase.WAITING else other
        rows.append(row(app, Phase.WAITING, *needs) if needs else row(app, other))
    for unit in rows:
        if unit.phase is Phase.WAITING:
            assert blockers(unit, by_app(rows))
    waits = [Dependency(app=b, needs=a, condition=Condition.READY) for a, b in sorted(pairs)]
    graph = dependency_graph("p/a/v1/d", "abcdef", waits, rows)
    text, mermaid = as_text(graph), as_mermaid(graph)
    assert all(f"{app}" in text for app in "abcdef")
    assert mermaid.count("|") == 2 * len(pairs)


def test_a_graph_of_any_depth_is_drawn() -> None:
    names = [f"a{n:04d}" for n in range(1500)]
    waits = [Dependency(app=b, needs=a) for a, b in pairwise(names)]
    assert len(as_text(dependency_graph("d", names, waits, [])).splitlines()) == 1500
