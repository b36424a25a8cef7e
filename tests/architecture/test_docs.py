"""What the documentation says of the lifecycle is what the code decides. Run as a program, it writes the table."""

from pathlib import Path

from emco.domain.lifecycle import TRANSITIONS, Refusal, State, Verb

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"
SHOWN = [verb for verb in Verb if verb is not Verb.HEAL]


def table() -> str:
    """The transitions as Markdown."""
    lines = [f"| state | {' | '.join(SHOWN)} |", "|---" * (len(SHOWN) + 1) + "|"]
    for state in State:
        outcomes = [TRANSITIONS[state][verb] for verb in SHOWN]
        cells = ["409" if isinstance(o, Refusal) else str(o) for o in outcomes]
        lines.append(f"| {state} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def test_the_table_of_states_is_made_from_the_code() -> None:
    text = PAGE.read_text()
    assert text[text.index(BEGIN) + len(BEGIN) : text.index(END)] == table()


if __name__ == "__main__":
    before, _, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + rest[rest.index(END) :])
