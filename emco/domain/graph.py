"""The dependency graph of a deployment, with how far each app is: as JSON, as text, and for Mermaid."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Final

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

from emco.domain.blockers import is_met
from emco.domain.dependencies import Condition, Dependency, OnTimeout, Scope
from emco.domain.status import Phase, UnitRow

_MARKS: Final = {Phase.READY: "●", Phase.WAITING: "◷", Phase.FAILED: "✗", Phase.APPLIED: "◑"}
_CLASSES: Final = {
    Phase.READY: "ready",
    Phase.WAITING: "waiting",
    Phase.FAILED: "failed",
    Phase.RETRYING: "failed",
}
_STYLES: Final = (
    "  classDef ready fill:#d7f5dd,stroke:#2e7d32",
    "  classDef waiting fill:#e3ecff,stroke:#1f4fa3",
    "  classDef failed fill:#fde0e0,stroke:#b71c1c",
)


class _Shown(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel, populate_by_name=True)


class Copy(_Shown):
    """One app on one cluster; `until` is when its delay is over."""

    cluster: str
    phase: Phase
    message: str = ""
    until: datetime | None = None


class Node(_Shown):
    """One app, with a copy for each cluster on which something is known of it."""

    app: str
    clusters: tuple[Copy, ...] = ()


class Edge(_Shown):
    """`app` waits for `needs`; `open` is true when that has come about on all clusters in scope."""

    app: str
    needs: str
    op_status: Condition
    wait: int = 0
    scope: Scope = Scope.ALL
    timeout: int = 0
    on_timeout: OnTimeout = OnTimeout.FAIL
    stable_for: int = 0
    open: bool = False


class DependencyGraph(_Shown):
    """The answer of GET …/dependency-graph."""

    deployment: str
    nodes: tuple[Node, ...] = ()
    edges: tuple[Edge, ...] = ()


def dependency_graph(
    deployment: str,
    apps: Iterable[str],
    dependencies: Sequence[Dependency],
    units: Sequence[UnitRow],
) -> DependencyGraph:
    """The graph as it is written, with the states as they are."""
    rows: dict[str, list[UnitRow]] = {app: [] for app in sorted(apps)}
    for unit in sorted(units, key=lambda u: (u.app, u.cluster)):
        rows.setdefault(unit.app, []).append(unit)
    return DependencyGraph(
        deployment=deployment,
        nodes=tuple(
            Node(
                app=app,
                clusters=tuple(
                    Copy(cluster=u.cluster, phase=u.phase, message=u.message, until=u.until)
                    for u in found
                ),
            )
            for app, found in rows.items()
        ),
        edges=tuple(
            Edge(
                **one.model_dump(exclude={"condition"}),
                op_status=one.condition,
                open=_is_open(one, rows),
            )
            for one in sorted(dependencies, key=lambda d: (d.app, d.needs))
        ),
    )


def as_text(graph: DependencyGraph) -> str:
    """A tree from the apps nobody waits for down to those that wait for nothing.

    What was drawn already is only named again.
    """
    nodes = {node.app: node for node in graph.nodes}
    needs: dict[str, list[Edge]] = {}
    for edge in graph.edges:
        needs.setdefault(edge.app, []).append(edge)
    needed = {edge.needs for edge in graph.edges}
    drawn: set[str] = set()
    lines: list[str] = []
    # Iterative: a chain may be as long as there are apps.
    stack = [(app, "", "", "") for app in sorted(nodes, reverse=True) if app not in needed]
    while stack:
        app, stem, branch, told = stack.pop()
        again = app in drawn and app in needs
        drawn.add(app)
        lines.append(f"{stem}{branch}{app}{told}{' (above)' if again else _state(nodes.get(app))}")
        if again:
            continue
        below = stem + {"": "", "├─ ": "│  ", "└─ ": "   "}[branch]
        edges = needs.get(app, [])
        for number, edge in reversed(list(enumerate(edges))):
            turn = "└─ " if number == len(edges) - 1 else "├─ "
            mark = "✓" if edge.open else "…"
            stack.append((edge.needs, below, turn, f" {_condition(edge)} {mark}"))
    return "".join(f"{line}\n" for line in lines)


def as_mermaid(graph: DependencyGraph) -> str:
    """A flowchart: arrows go from what is needed to what waits for it."""
    names = {node.app: f"n{number}" for number, node in enumerate(graph.nodes)}
    lines = ["flowchart LR"]
    for node in graph.nodes:
        phases = "".join(f"<br/>{c.cluster}: {_phase(c)}" for c in node.clusters)
        lines.append(f'  {names[node.app]}["{node.app}{phases}"]{_class(node)}')
    for edge in graph.edges:
        arrow = "-->" if edge.open else "-.->"
        label = _condition(edge).strip("()")
        lines.append(f'  {names[edge.needs]} {arrow}|"{label}"| {names[edge.app]}')
    return "".join(f"{line}\n" for line in (*lines, *_STYLES))


def _is_open(one: Dependency, rows: dict[str, list[UnitRow]]) -> bool:
    found = rows.get(one.needs, [])
    return bool(found) and all(is_met(one.condition, row) for row in found)


def _condition(edge: Edge) -> str:
    steady = f" for {edge.stable_for} s" if edge.stable_for else ""
    delay = f" + {edge.wait} s" if edge.wait else ""
    where = ", same cluster" if edge.scope is Scope.SAME_CLUSTER else ""
    return f"({edge.op_status}{steady}{delay}{where})"


def _phase(one: Copy) -> str:
    return f"{one.phase} until {one.until:%H:%M:%S}" if one.until else str(one.phase)


def _state(node: Node | None) -> str:
    copies = node.clusters if node else ()
    return "".join(f"  {_MARKS.get(c.phase, '○')} {c.cluster} {_phase(c)}" for c in copies)


def _class(node: Node) -> str:
    classes = [_CLASSES.get(c.phase, "") for c in node.clusters]
    for name in ("failed", "waiting"):
        if name in classes:
            return f":::{name}"
    return ":::ready" if classes and set(classes) == {"ready"} else ""
