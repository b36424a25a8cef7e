"""What the documentation says of health is what the rules say. Run as a program, it writes the table."""

from collections import defaultdict
from pathlib import Path

from emco.domain.health import RULES, SETTLED_KINDS
from emco.domain.health.generic import by_conditions

PAGE = Path(__file__).resolve().parents[2] / "docs" / "status.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"


def table() -> str:
    """The rules as Markdown: kinds with the same rule are one row."""
    kinds: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for (group, kind), rule in RULES.items():
        kinds[rule.__doc__ or ""][group].append(kind)
    rows = [f"| {_named(groups)} | {told} |" for told, groups in kinds.items()]
    rows.append(f"| {', '.join(sorted(SETTLED_KINDS))} | When it exists: nobody works on it. |")
    rest = f"| everything else | {by_conditions.__doc__} |"
    return "\n".join(["| kind | current |", "|---|---|", *rows, rest]) + "\n"


def _named(groups: dict[str, list[str]]) -> str:
    return "; ".join(
        ", ".join(kinds) + (f" ({group})" if group else "") for group, kinds in groups.items()
    )


def test_the_table_of_rules_is_made_from_the_code() -> None:
    text = PAGE.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == table()
    assert "|  |" not in table(), "every rule says in one line when an object is current"


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + rest[rest.index(END) :])
