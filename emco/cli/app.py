"""The `emco` command: every verb, put together. The verbs themselves live beside this file.

A verb is imported when it is used: reading a resource needs neither the sandbox nor Temporal.
"""

import importlib
from typing import Any, Final

import typer
from typer.core import TyperGroup

from emco.cli import terminal
from emco.cli.failures import EXIT_CODES, Failure

_MARKUP: Final = "markdown"
_RESOURCES: Final = "Resources"
_OPERATIONS: Final = "Deployments and logical clouds"
_SYSTEM: Final = "The system itself"

VERBS: Final = {
    "apply": ("emco.cli.apply", "apply", _RESOURCES),
    "get": ("emco.cli.show", "get", _RESOURCES),
    "describe": ("emco.cli.show", "describe", _RESOURCES),
    "references": ("emco.cli.show", "references", _RESOURCES),
    "delete": ("emco.cli.delete", "delete", _RESOURCES),
    "approve": ("emco.cli.operate", "approve", _OPERATIONS),
    "instantiate": ("emco.cli.operate", "instantiate", _OPERATIONS),
    "plan": ("emco.cli.history", "plan", _OPERATIONS),
    "update": ("emco.cli.operate", "update", _OPERATIONS),
    "rollback": ("emco.cli.operate", "rollback", _OPERATIONS),
    "migrate": ("emco.cli.operate", "migrate", _OPERATIONS),
    "test": ("emco.cli.operate", "run_tests", _OPERATIONS),
    "answer": ("emco.cli.operate", "answer", _OPERATIONS),
    "stop": ("emco.cli.operate", "stop", _OPERATIONS),
    "resume": ("emco.cli.operate", "resume", _OPERATIONS),
    "status": ("emco.cli.operate", "status", _OPERATIONS),
    "explain": ("emco.cli.operate", "explain", _OPERATIONS),
    "graph": ("emco.cli.graph", "graph", _OPERATIONS),
    "revisions": ("emco.cli.history", "revisions", _OPERATIONS),
    "diff": ("emco.cli.history", "diff", _OPERATIONS),
    "operations": ("emco.cli.history", "operations", _OPERATIONS),
    "events": ("emco.cli.events", "events", _OPERATIONS),
    "subscribe": ("emco.cli.events", "subscribe", _OPERATIONS),
    "terminate": ("emco.cli.operate", "terminate", _OPERATIONS),
    "demo": ("emco.cli.demo", "demo", _SYSTEM),
    "up": ("emco.cli.up", "up", _SYSTEM),
    "api": ("emco.cli.serve", "api", _SYSTEM),
    "worker": ("emco.cli.serve", "worker", _SYSTEM),
    "sandbox": ("emco.cli.sandbox", "app", _SYSTEM),
}
"""Each verb: its module, the function or the Typer with its subcommands, and its place in the help."""


class Verbs(TyperGroup):
    """Looks a verb up when it is asked for, and turns a `Failure` into a message and an exit code."""

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import the verb and make a command of it."""
        if cmd_name not in VERBS:
            return None
        module, name, panel = VERBS[cmd_name]
        return _command(cmd_name, getattr(importlib.import_module(module), name), panel)

    def invoke(self, ctx: Any) -> Any:
        """The edge: whatever a verb could not do is told here."""
        try:
            return super().invoke(ctx)
        except Failure as failure:
            terminal.report(failure)
            raise typer.Exit(failure.code) from failure


def _command(name: str, what: Any, panel: str) -> Any:
    holder = what
    if not isinstance(what, typer.Typer):
        holder = typer.Typer(add_completion=False, rich_markup_mode=_MARKUP)
        holder.command(name)(what)
    command: Any = typer.main.get_command(holder)
    command.name, command.rich_help_panel = name, panel
    return command


app = typer.Typer(
    name="emco",
    cls=Verbs,
    no_args_is_help=True,
    rich_markup_mode=_MARKUP,
    pretty_exceptions_show_locals=False,  # they may hold secrets
    help="Composite applications over many clusters; each deployment is one durable workflow.",
    epilog=f"{EXIT_CODES} EMCO_URL says where the API is (http://127.0.0.1:9015). "
    "`emco demo` shows it all on this machine.",
)


@app.callback()
def _root() -> None:
    """Makes a group of it though every verb is found by `Verbs`."""


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
