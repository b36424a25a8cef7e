"""The live tree: every app on every cluster, what it waits for, how much is ready, for how long.

On a terminal it is one view that changes; elsewhere it is one line for each change.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emco.cli import terminal
from emco.cli.failures import Code, Failure
from emco.domain.lifecycle import RUNNING, Progress
from emco.domain.releases import HookState
from emco.domain.status import Phase

POLL_SECONDS: Final = 0.4
PATIENCE_SECONDS: Final = 60
"""How long an API that does not answer is waited for: it may be starting again."""

_MARKS: Final = {
    Phase.PENDING: ("○", "dim"),
    Phase.WAITING: ("◷", "blue"),
    Phase.APPLYING: ("◔", "cyan"),
    Phase.APPLIED: ("◑", "yellow"),
    Phase.RUNNING_HOOK: ("⚙", "cyan"),
    Phase.READY: ("●", "green"),
    Phase.RETRYING: ("↻", "magenta"),
    Phase.FAILED: ("✗", "bold red"),
    Phase.DRIFTED: ("≠", "yellow"),
    Phase.DEGRADED: ("!", "red"),
    Phase.REMOVING: ("◌", "yellow"),
    Phase.REMOVED: ("·", "dim"),
}
_QUIET: Final = frozenset({Phase.READY, Phase.REMOVED, Phase.DRIFTED})
_COLOURS: Final = {Progress.INSTANTIATED: "bold green", Progress.TERMINATED: "bold"}
_FRAME_LINES: Final = 5


class _Answer(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", alias_generator=to_camel, populate_by_name=True
    )


class Unit(_Answer):
    """One app on one cluster, as `explain` tells it."""

    app: str
    cluster: str
    phase: Phase
    ready: int = 0
    total: int = 0
    since: datetime
    message: str = ""
    waiting_for: tuple[str, ...] = ()
    next_try: datetime | None = None
    until: datetime | None = None
    next_step: str = Field(default="", alias="next")

    @field_validator("next_try", "until", mode="before")
    @classmethod
    def _or_never(cls, value: object) -> object:
        return value or None

    @property
    def key(self) -> tuple[str, str]:
        """Which unit it is."""
        return (self.app, self.cluster)

    @property
    def reason(self) -> str:
        """What it waits for, or why it is where it is."""
        return "; ".join(self.waiting_for) or self.message

    def told(self, now: datetime) -> str:
        """The same, with how long its delay has yet to run."""
        if self.until is None:
            return self.reason
        left = max(0, math.ceil((self.until - now).total_seconds()))
        return f"starts in {left} s: {self.reason}"

    def seconds(self, now: datetime) -> int:
        """Since when it is in its phase."""
        return max(0, int((now - self.since).total_seconds()))


class Remnant(_Answer):
    """What a terminate left on a cluster that was away."""

    cluster: str
    app: str
    objects: tuple[str, ...] = ()


class HookSeen(_Answer):
    """The last run of one hook."""

    id: str
    event: str
    name: str
    app: str
    cluster: str
    state: HookState
    since: datetime
    message: str = ""
    question: str = ""


class Explanation(_Answer):
    """The answer of GET …/explain. `began` is when the operation was accepted, where that was asked."""

    deployment: str
    state: str
    progress: Progress
    message: str = ""
    operation: str = ""
    verb: str = ""
    revision: int = 0
    queue: tuple[str, ...] = ()
    remnants: tuple[Remnant, ...] = ()
    began: datetime | None = None
    hooks: tuple[HookSeen, ...] = ()
    units: tuple[Unit, ...] = ()

    @property
    def is_running(self) -> bool:
        """True while an operation is under way."""
        return self.progress in RUNNING

    @property
    def is_settled(self) -> bool:
        """True when no unit is on its way any more."""
        return all(unit.phase in (*_QUIET, Phase.FAILED) for unit in self.units)


def follow(
    look: Callable[[], Explanation],
    is_over: Callable[[Explanation], bool],
    *,
    timeout: float | None = None,
    console: Console | None = None,
) -> Explanation:
    """Show what `look` sees until `is_over`, and return the last of it.

    Raises `Failure` with the code of a timeout, or of an API that stays away.
    """
    console = console or terminal.out()
    view = _Live(console) if console.is_terminal else _Lines(console)
    with view:
        for seen in _looks(look, timeout):
            view.show(seen)
            if is_over(seen):
                return seen
    raise AssertionError("looking never ends by itself")


def _looks(look: Callable[[], Explanation], timeout: float | None) -> Iterator[Explanation]:
    began = answered = time.monotonic()
    last: Explanation | None = None
    while True:
        try:
            last = look()
            answered = time.monotonic()
            yield last
        except Failure as failure:
            is_away = failure.code is Code.UNREACHABLE and last is not None
            if not is_away or time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        if timeout is not None and time.monotonic() - began + POLL_SECONDS > timeout:
            raise _timed_out(last, timeout)
        time.sleep(POLL_SECONDS)


def _timed_out(last: Explanation | None, timeout: float) -> Failure:
    late = [unit for unit in last.units if unit.phase not in _QUIET] if last else []
    lines = [f"{unit.app} on {unit.cluster}: {unit.phase} {unit.reason}".rstrip() for unit in late]
    return Failure(
        f"Not done after {timeout:g} s; it goes on without this command",
        "\n".join((*lines, f"look again: emco status -w {last.deployment}" if last else "")),
        code=Code.TIMEOUT,
    )


class _Lines:
    """A line for every change, for logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()
        self._told: dict[tuple[str, str], str] = {}

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, seen: Explanation) -> None:
        """Tell what is new."""
        self._tell(("", ""), f"{seen.deployment} {seen.progress}", seen.message)
        for unit in seen.units:
            counted = f" {unit.ready}/{unit.total}" if unit.total else ""
            self._tell(unit.key, f"{unit.app} {unit.cluster} {unit.phase}{counted}", unit.reason)

    def _tell(self, key: tuple[str, str], text: str, reason: str) -> None:
        line = f"{text}  {' '.join(reason.split())}".rstrip()
        if self._told.get(key) != line:
            self._told[key] = line
            seconds = time.monotonic() - self._began
            self._console.print(Text(f"{seconds:6.1f}s  {line}"), soft_wrap=True)


class _Live:
    """One view, drawn again and again; what does not fit is counted instead of shown."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False)

    def __enter__(self) -> None:
        self._live.start()

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, seen: Explanation) -> None:
        """Draw it."""
        lines = max(5, self._console.height - _FRAME_LINES)
        self._live.update(draw(seen, lines=lines), refresh=True)


def draw(
    seen: Explanation, *, lines: int | None = None, now: datetime | None = None
) -> RenderableType:
    """The tree as something to print, of at most `lines` units: those that are done give way first."""
    now = now or datetime.now(UTC)
    shown, hidden = _fitting(seen.units, lines)
    return Group(
        headline(seen, now),
        _grid(shown, now, seen.began),
        *([Text(f"   … and {_counted(hidden)}", style="dim")] if hidden else []),
    )


def headline(seen: Explanation, now: datetime) -> Text:
    """The deployment, how far it is, and while it is on its way for how long."""
    style = "bold red" if "Failed" in seen.progress else _COLOURS.get(seen.progress, "bold yellow")
    text = Text.assemble((seen.deployment, "bold"), "  ", (str(seen.progress), style))
    if seen.began and seen.is_running:
        text.append(f"  {max(0, int((now - seen.began).total_seconds()))} s", style="dim")
    if seen.units:
        text.append(f"  {_counted(seen.units)}", style="dim")
    if seen.message:
        text.append(f"\n{seen.message}", style="red")
    return text


def _counted(units: Sequence[Unit]) -> str:
    phases = [unit.phase for unit in units]
    return ", ".join(f"{phases.count(p)} {p.lower()}" for p in Phase if p in phases)


def _fitting(units: Sequence[Unit], lines: int | None) -> tuple[list[Unit], list[Unit]]:
    if lines is None or len(units) <= lines:
        return list(units), []
    busy_first = sorted(units, key=lambda unit: unit.phase in _QUIET)
    shown = {unit.key for unit in busy_first[: lines - 1]}
    return (
        [unit for unit in units if unit.key in shown],
        [unit for unit in units if unit.key not in shown],
    )


def _grid(units: Sequence[Unit], now: datetime, began: datetime | None) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0), expand=True)  # so that only the last column gives way
    for _ in range(5):
        grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    apps = [list(group) for _, group in groupby(units, key=lambda unit: unit.app)]
    for number, group in enumerate(apps):
        branch = "└─" if number == len(apps) - 1 else "├─"
        for row, unit in enumerate(group):
            stem = "  " if branch == "└─" else "│ "
            mark, style = _MARKS[unit.phase]
            grid.add_row(
                Text(f"{branch} {unit.app}" if row == 0 else stem),
                Text(unit.cluster, style="dim"),
                Text(f"{mark} {unit.phase}", style=style),
                Text(f"{unit.ready}/{unit.total}" if unit.total else "", style=style),
                Text(_time(unit, now, began), style="dim"),
                Text(" ".join(unit.told(now).split()), style=_reason_style(unit)),
            )
    return grid


def _time(unit: Unit, now: datetime, began: datetime | None) -> str:
    """How long this operation took, for what is done by it; else how long it is as it is."""
    if unit.phase not in _QUIET:
        return f"{unit.seconds(now)} s"
    if began is None or unit.since < began:
        return ""
    return f"{int((unit.since - began).total_seconds())} s"


def _reason_style(unit: Unit) -> str:
    return "red" if unit.phase in (Phase.FAILED, Phase.RETRYING) else "dim"


def plain(seen: Explanation) -> None:
    """The same facts as a table, once."""
    now = datetime.now(UTC)
    terminal.out().print(headline(seen, now))
    if seen.units:
        terminal.table(
            ("app", "cluster", "phase", "ready", "since", "waiting for"),
            [
                (
                    unit.app,
                    unit.cluster,
                    Text(unit.phase, style=_MARKS[unit.phase][1]),
                    f"{unit.ready}/{unit.total}",
                    age(unit.seconds(now)),
                    " ".join(unit.told(now).split()),
                )
                for unit in seen.units
            ],
        )


def age(seconds: int) -> str:
    """`42s`, `5m`, `3h`, `2d`."""
    for size, letter in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def parse(answer: Any) -> Explanation:
    """The API's answer; a `Failure` when it is not one."""
    return Explanation.model_validate(answer)
