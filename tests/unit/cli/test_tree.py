"""The live tree: what fits is shown, what is busy first, and outside a terminal each change is a line."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from emco.cli import tree
from emco.cli.failures import Code, Failure
from emco.cli.tree import Explanation, Unit
from emco.domain.lifecycle import Progress
from emco.domain.status import Phase

NOW = datetime.now(UTC)
DONE = Explanation(deployment="p/ca/v1/d", state="Instantiated", progress=Progress.INSTANTIATED)


def unit(app: str, phase: Phase, *, cluster: str = "edge+c1", **more: Any) -> Unit:
    facts = {"since": NOW, "ready": 1, "total": 3, **more}
    return Unit(app=app, cluster=cluster, phase=phase, **facts)


def seen(*units: Unit, progress: Progress = Progress.INSTANTIATING, **more: Any) -> Explanation:
    return Explanation(
        deployment="p/ca/v1/d", state="Instantiated", progress=progress, units=units, **more
    )


def drawn(explanation: Explanation, *, width: int = 100, lines: int | None = None) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    with console.capture() as capture:
        console.print(tree.draw(explanation, lines=lines, now=NOW))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_an_app_on_two_clusters_is_named_once() -> None:
    units = [unit("a", Phase.READY, cluster=f"edge+c{n}") for n in (1, 2)]
    lines = drawn(seen(*units, unit("b", Phase.PENDING)))
    assert lines[0] == "p/ca/v1/d  Instantiating  1 pending, 2 ready"
    assert [line[:4].strip() for line in lines[1:]] == ["├─ a", "│", "└─ b"]


def test_a_unit_shows_phase_ready_objects_seconds_and_reason() -> None:
    waiting = unit(
        "web", Phase.APPLIED, since=NOW - timedelta(seconds=90), waitingFor=["Pod x: pulling"]
    )
    (_, line) = drawn(seen(waiting))
    assert line.split()[:7] == ["└─", "web", "edge+c1", "◑", "Applied", "1/3", "90"]
    assert line.endswith("Pod x: pulling")


@pytest.mark.parametrize(("left", "told"), [(2.4, 3), (0, 0), (-5, 0)])
def test_a_delay_that_runs_is_counted_down_in_whole_seconds_and_never_below_none(
    left: float, told: int
) -> None:
    until = NOW + timedelta(seconds=left)
    waiting = unit("web", Phase.WAITING, waitingFor=["db Ready + 3 s"], until=until.isoformat())
    (_, line) = drawn(seen(waiting))
    assert "◷ Waiting" in line
    assert line.endswith(f"starts in {told} s: db Ready + 3 s")


@pytest.mark.parametrize("until", [None, ""])
def test_without_a_delay_there_is_no_countdown(until: str | None) -> None:
    waiting = unit("web", Phase.WAITING, waitingFor=["db is not Ready on edge+c1"], until=until)
    (_, line) = drawn(seen(waiting))
    assert line.endswith("1/3  0 s  db is not Ready on edge+c1")


def test_a_ready_unit_shows_how_long_the_operation_took_for_it() -> None:
    ready = unit("web", Phase.READY)
    (_, line) = drawn(seen(ready, began=NOW - timedelta(seconds=7)))
    assert line.endswith("1/3  7 s")
    (_, line) = drawn(seen(ready, began=NOW + timedelta(seconds=7)))
    assert line.endswith("1/3")


def test_a_long_reason_gives_way_and_nothing_else_does() -> None:
    units = [unit("web", Phase.APPLIED, waitingFor=["x" * 200]), unit("a" * 20, Phase.PENDING)]
    lines = drawn(seen(*units), width=70)
    assert all(len(line) <= 70 for line in lines)
    assert lines[1].endswith("…")
    assert "edge+c1  ◑ Applied" in lines[1]


def test_when_the_screen_is_short_what_is_done_gives_way_first() -> None:
    units = [unit(f"a{n}", Phase.READY) for n in range(8)] + [unit("late", Phase.APPLYING)]
    lines = drawn(seen(*units), lines=4)
    assert len(lines) == 1 + 3 + 1
    assert any("late" in line for line in lines)
    assert lines[-1].strip() == "… and 6 ready"


def test_outside_a_terminal_each_change_is_one_line() -> None:
    looks = [
        seen(unit("web", Phase.PENDING, ready=0)),
        seen(unit("web", Phase.PENDING, ready=0)),
        seen(unit("web", Phase.READY, ready=3), progress=Progress.INSTANTIATED),
    ]
    text = followed(iter(looks))
    assert [line.split("s  ", 1)[1] for line in text.splitlines()] == [
        "p/ca/v1/d Instantiating",
        "web edge+c1 Pending 0/3",
        "p/ca/v1/d Instantiated",
        "web edge+c1 Ready 3/3",
    ]


def test_on_a_terminal_one_view_is_drawn() -> None:
    looks = [seen(unit("web", Phase.READY), progress=Progress.INSTANTIATED)]
    text = followed(iter(looks), force_terminal=True)
    assert "web" in text
    assert "\x1b[" in text


def followed(looks: Iterator[Explanation | Failure], **console: Any) -> str:
    output = io.StringIO()

    def look() -> Explanation:
        found = next(looks)
        if isinstance(found, Failure):
            raise found
        return found

    tree.follow(
        look,
        lambda s: s.progress is Progress.INSTANTIATED,
        console=Console(file=output, width=100, **console),
    )
    return output.getvalue()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tree, "POLL_SECONDS", 0.001)


def test_an_api_that_is_starting_again_is_waited_for() -> None:
    away = Failure("away", code=Code.UNREACHABLE)
    looks: list[Explanation | Failure] = [seen(), away, away, DONE]
    assert "Instantiated" in followed(iter(looks))


def test_an_api_that_never_answered_is_an_error_at_once() -> None:
    with pytest.raises(Failure, match="away"):
        followed(iter([Failure("away", code=Code.UNREACHABLE)]))


def test_another_error_ends_the_view() -> None:
    with pytest.raises(Failure, match="gone"):
        followed(iter([seen(), Failure("gone", code=Code.NOT_FOUND)]))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (59, "59s"), (60, "1m"), (7300, "2h"), (200_000, "2d")]
)
def test_ages_are_short(seconds: int, text: str) -> None:
    assert tree.age(seconds) == text
