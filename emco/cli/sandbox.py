"""`emco sandbox`: real Kubernetes control planes on this machine."""

from typing import Annotated

import typer

from emco.sandbox import toolchain
from emco.sandbox.clusters import Sandbox
from emco.sandbox.errors import SandboxError
from emco.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Real Kubernetes control planes on this machine.")

Names = Annotated[list[str], typer.Argument(help="Names of clusters")]


def sandbox_of(settings: Settings) -> Sandbox:
    """The sandbox that belongs to this installation's state folder."""
    return Sandbox(settings.data / "sandbox")


@app.command()
def create(names: Names) -> None:
    """Start clusters side by side; those that run already are left alone.

    Example: emco sandbox create c1 c2
    """
    settings = Settings()
    with told():
        tools = toolchain.find(settings, lambda line: typer.echo(line, err=True))
        for info in sandbox_of(settings).create(names, tools):
            typer.echo(f"{info.name}  {info.server}  {info.kubeconfig}")


@app.command("list")
def list_() -> None:
    """Show the clusters, whether they run, and where."""
    for info in sandbox_of(Settings()).all():
        state = "running" if info.is_running else "stopped"
        typer.echo(f"{info.name}  {state}  {info.server}  {info.kubeconfig}")


@app.command()
def kubeconfig(name: Annotated[str, typer.Argument(help="Name of the cluster")]) -> None:
    """Print a cluster's kubeconfig, certificates embedded.

    Example: emco sandbox kubeconfig c1 > c1.yaml && kubectl --kubeconfig c1.yaml get nodes
    """
    with told():
        typer.echo(sandbox_of(Settings()).get(name).kubeconfig.read_text(), nl=False)


@app.command()
def delete(names: Names) -> None:
    """Stop clusters and remove everything of theirs. Deleting what is not there changes nothing.

    Example: emco sandbox delete c1 c2
    """
    gone = sandbox_of(Settings()).delete(names)
    for name in names:
        typer.echo(f"{name}  {'deleted' if name in gone else 'not there'}")


class told:  # noqa: N801 — reads as a verb phrase: `with told():`
    """Turns what goes wrong on the ground into a message and exit code 1."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, SandboxError):
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(1) from error
