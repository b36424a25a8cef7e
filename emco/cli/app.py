"""The `emco` command: every verb, put together. The verbs themselves live beside this file."""

import importlib
from typing import Final

import typer

app = typer.Typer(
    name="emco",
    no_args_is_help=True,
    help="Composite applications over many clusters, each deployment one durable workflow.",
)

_SYSTEM: Final = (("up", "up"), ("serve", "api"), ("serve", "worker"), ("demo", "demo"))


def _mount() -> None:
    for module, verb in _SYSTEM:
        try:
            found = importlib.import_module(f"emco.cli.{module}")
        except ModuleNotFoundError:
            continue
        app.command(verb)(getattr(found, verb))
    sandbox = importlib.import_module("emco.cli.sandbox")
    app.add_typer(sandbox.app, name="sandbox")


_mount()


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
