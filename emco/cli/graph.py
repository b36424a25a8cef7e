"""`emco graph`: who waits for whom in a deployment, with how far each app is."""

from enum import StrEnum
from typing import Annotated

import typer

from emco.cli import places, terminal
from emco.cli.client import connected
from emco.cli.operate import DeploymentArgument
from emco.domain.graph import DependencyGraph, as_mermaid, as_text


class Format(StrEnum):
    """How the graph is written."""

    TEXT = "text"
    MERMAID = "mermaid"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How it is written")]


def graph(deployment: DeploymentArgument, form: FormatOption = Format.TEXT) -> None:
    """Draw which app waits for which, and how far each of them is.

    Examples:

        emco graph shop/online-boutique/v1/boutique
        emco graph shop/online-boutique/v1/boutique --format mermaid > graph.mmd
    """
    with connected() as api:
        answer = api.read(f"{places.deployment(deployment)}/dependency-graph")
    if form is Format.JSON:
        terminal.data(answer, terminal.Output.JSON)
        return
    shown = DependencyGraph.model_validate(answer)
    drawn = as_mermaid(shown) if form is Format.MERMAID else as_text(shown)
    terminal.out().print(drawn, end="", markup=False, highlight=False, soft_wrap=True)
