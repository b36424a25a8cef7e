"""What a plan says would change: every difference, by path, and no secret."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from emco.domain.plan import diff
from emco.domain.plan.diff import Kind
from emco.domain.plan.model import Manifest

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=5)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=12,
)


def item(name: str = "x", kind: str = "ConfigMap", **members: Any) -> Manifest:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **members}


@given(trees, trees)
def test_there_is_a_change_exactly_when_something_differs(before: Any, after: Any) -> None:
    changes = diff.fields(item(spec=before), item(spec=after))
    assert bool(changes) == (before != after)


@given(st.text(min_size=6, max_size=12), st.text(min_size=6, max_size=12))
def test_what_is_in_a_secret_is_never_shown(before: str, after: str) -> None:
    old = item(kind="Secret", data={"a": f"<{before}>"}, stringData={"b": f"<{before}>"})
    new = item(kind="Secret", data={"a": f"<{after}>"}, stringData={"c": f"<{after}>"})
    shown = json.dumps([c.model_dump() for c in diff.fields(old, new)], ensure_ascii=False)
    assert f"<{before}>" not in shown
    assert f"<{after}>" not in shown


def test_entries_of_lists_are_told_apart_by_their_names() -> None:
    def pod(*containers: dict[str, Any]) -> Manifest:
        return item(kind="Pod", spec={"containers": list(containers)})

    a, b = {"name": "a", "image": "i:1"}, {"name": "b", "image": "i:1"}
    changes = diff.fields(pod(a, b), pod(b, {**a, "image": "i:2"}))
    assert [(c.path, c.before, c.after) for c in changes] == [
        ("spec.containers[a].image", "i:1", "i:2")
    ]


def test_a_value_whose_name_sounds_secret_is_hidden_anywhere() -> None:
    changes = diff.fields(item(data={"apiToken": "abcd"}), item(data={"apiToken": "efgh"}))
    assert [(c.before, c.after) for c in changes] == [("(hidden)", "(hidden)")]


def test_objects_are_created_changed_kept_and_deleted_in_that_order() -> None:
    before = [item("kept"), item("gone"), item("changed", data={"a": "1"})]
    after = [item("kept"), item("changed", data={"a": "2"}), item("new")]
    found = [(c.key.name, c.kind) for c in diff.objects(before, after)]
    assert found == [
        ("kept", Kind.KEEP),
        ("changed", Kind.CHANGE),
        ("new", Kind.CREATE),
        ("gone", Kind.DELETE),
    ]
    counted = diff.summary({"web@edge+c1": diff.objects(before, after)})
    assert (counted.created, counted.changed, counted.deleted) == (1, 1, 1)
    assert counted.units == ("web@edge+c1",)


def test_long_values_are_cut_and_dotted_names_quoted() -> None:
    changes = diff.fields(item(data={"app.conf": "a"}), item(data={"app.conf": "b" * 1000}))
    (change,) = changes
    assert change.path == 'data."app.conf"'
    assert len(change.after) == diff.MAX_SHOWN + 1
