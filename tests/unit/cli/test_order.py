"""Whatever order documents are written in, what a document needs is applied before it."""

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from emco.cli.documents import Document, parse, read
from emco.cli.order import needs, ordered

ROOT = Path(__file__).resolve().parents[3]
BOUTIQUE = read([ROOT / "charts" / "online-boutique" / "emco.yaml"])
DEPLOYMENT = "projects/shop/composite-apps/online-boutique/v1/deployment-intent-groups/boutique"
CLOUD = "projects/shop/logical-clouds/edge-cloud"


def verb(anchor: str) -> Document:
    (document,) = parse(f"resourceContext: {{anchor: {anchor}}}\n", Path("verbs.yaml"))
    return document


def label(document: Document) -> str:
    return f"{document.path} {document.verb}".strip()


def in_order(documents: list[Document]) -> list[str]:
    return [label(documents[number]) for number in ordered(documents)]


def test_a_file_in_order_stays_as_it_is() -> None:
    assert in_order(BOUTIQUE) == [label(d) for d in BOUTIQUE]


@settings(deadline=None, max_examples=40)  # a loaded machine is not slow code
@given(st.permutations(BOUTIQUE))
def test_parents_and_references_come_first_from_any_order(shuffled: list[Document]) -> None:
    order = ordered(shuffled)
    assert sorted(order) == list(range(len(shuffled)))
    position = {number: at for at, number in enumerate(order)}
    for number, before in enumerate(needs(shuffled)):
        assert all(position[other] < position[number] for other in before)


def test_what_a_spec_refers_to_is_needed() -> None:
    paths = [d.path for d in BOUTIQUE]
    needed = {paths[n]: [paths[o] for o in before] for n, before in enumerate(needs(BOUTIQUE))}
    assert CLOUD in needed[DEPLOYMENT]
    assert "cluster-providers/edge/clusters/c1" in needed[f"{CLOUD}/cluster-references/c1"]
    app = "projects/shop/composite-apps/online-boutique/v1/apps"
    assert f"{app}/redis-cart" in needed[f"{app}/cartservice/dependency/cart-needs-redis"]


def test_verbs_come_after_every_resource_and_clouds_before_deployments() -> None:
    verbs = [
        verb(f"{DEPLOYMENT}/approve"),
        verb(f"{DEPLOYMENT}/instantiate"),
        verb(f"{CLOUD}/instantiate"),
    ]
    assert in_order([*verbs, *BOUTIQUE])[-3:] == [
        f"{CLOUD} instantiate",
        f"{DEPLOYMENT} approve",
        f"{DEPLOYMENT} instantiate",
    ]


def test_a_terminate_stays_where_it_was_written() -> None:
    first = verb(f"{DEPLOYMENT}/terminate")
    last = verb(f"{DEPLOYMENT}/instantiate")
    assert in_order([first, *BOUTIQUE, last]) == [
        label(first),
        *(label(d) for d in BOUTIQUE),
        label(last),
    ]


def test_a_document_that_cannot_be_understood_keeps_its_place() -> None:
    text = "resourceContext: {anchor: projects/p/logical-clouds}\nspec: {level: 7}\n"
    broken, unknown = (
        *parse(text, Path("a.yaml")),
        *parse("resourceContext: {anchor: gadgets}\n", Path("b.yaml")),
    )
    assert ordered([broken, unknown]) == [0, 1]
