"""JSON patches do what RFC 6902 says, create the parents of what is added, and never touch their input."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from emco.domain.errors import Invalid
from emco.domain.kinds.generic import PatchOperation
from emco.domain.plan.jsonpatch import patched, tokens


def op(name: str, path: str, **more: Any) -> dict[str, Any]:
    return {"op": name, "path": path, **more}


def run(document: Any, *operations: dict[str, Any]) -> Any:
    before = copy.deepcopy(document)
    result = patched(document, [PatchOperation.model_validate(o) for o in operations])
    assert document == before
    return result


@pytest.mark.parametrize(
    ("document", "operation", "result"),
    [
        ({"a": 1}, op("add", "/b", value=2), {"a": 1, "b": 2}),
        ({"a": 1}, op("add", "/a", value=2), {"a": 2}),
        ({"a": [1, 3]}, op("add", "/a/1", value=2), {"a": [1, 2, 3]}),
        ({"a": [1]}, op("add", "/a/1", value=2), {"a": [1, 2]}),
        ({"a": [1]}, op("add", "/a/-", value=[2]), {"a": [1, [2]]}),
        ({"a": 1}, op("add", "/n", value=None), {"a": 1, "n": None}),
        ({"a": 1}, op("add", "", value={"b": 1}), {"b": 1}),
        ({"a": {"b": 1, "c": 2}}, op("remove", "/a/b"), {"a": {"c": 2}}),
        ({"a": [1, 2]}, op("remove", "/a/0"), {"a": [2]}),
        ({"a": [1, 2]}, op("replace", "/a/1", value=3), {"a": [1, 3]}),
        ({"a": 1}, op("replace", "", value={"b": 1}), {"b": 1}),
        ({"a": {"b": 1}}, op("move", "/c", **{"from": "/a/b"}), {"a": {}, "c": 1}),
        ({"a": [1, 2, 3]}, op("move", "/a/2", **{"from": "/a/0"}), {"a": [2, 3, 1]}),
        ({"a": 1}, op("move", "/a", **{"from": "/a"}), {"a": 1}),
        ({"a": {"b": 1}}, op("copy", "/c", **{"from": "/a"}), {"a": {"b": 1}, "c": {"b": 1}}),
        ({"a": 1}, op("test", "/a", value=1.0), {"a": 1}),
        (
            {"a": {"x": [1, None]}},
            op("test", "/a", value={"x": [1, None]}),
            {"a": {"x": [1, None]}},
        ),
        ({"a/b": 1, "m~n": 2}, op("remove", "/a~1b"), {"m~n": 2}),
        ({"a/b": 1, "m~n": 2}, op("remove", "/m~0n"), {"a/b": 1}),
        ({"": 1}, op("replace", "/", value=2), {"": 2}),
        ({"~1": 1}, op("remove", "/~01"), {}),
    ],
)
def test_operations_as_in_the_rfc(document: Any, operation: dict[str, Any], result: Any) -> None:
    assert run(document, operation) == result


@pytest.mark.parametrize(
    ("document", "path", "result"),
    [
        ({}, "/data/k", {"data": {"k": 1}}),
        ({"data": None}, "/data/k", {"data": {"k": 1}}),
        ({}, "/a/b/c", {"a": {"b": {"c": 1}}}),
        ({}, "/spec/list/-", {"spec": {"list": [1]}}),
        ({"l": [{}]}, "/l/0/a/b", {"l": [{"a": {"b": 1}}]}),
    ],
)
def test_add_creates_what_is_missing_above(document: Any, path: str, result: Any) -> None:
    assert run(document, op("add", path, value=1)) == result


@pytest.mark.parametrize(
    ("document", "operation", "told"),
    [
        ({}, op("remove", "/a"), "there is no /a"),
        ({"a": {}}, op("replace", "/a/b/c", value=1), "there is no /a/b"),
        ({"a": [1]}, op("remove", "/a/1"), "the list has 1"),
        ({"a": [1]}, op("add", "/a/2", value=1), "has 1 elements"),
        ({"a": [1]}, op("add", "/a/01", value=1), "no place in it"),
        ({"a": [1]}, op("remove", "/a/-"), "no place in it"),
        ({"a": 1}, op("add", "/a/b", value=1), "neither an object nor a list"),
        ({"a": [1]}, op("add", "/a/5/b", value=1), "the list has 1"),
        ({"a": {"b": 1}}, op("move", "/a/b/c", **{"from": "/a/b"}), "into itself"),
        ({"a": 1}, op("copy", "/b", **{"from": "/c"}), "there is no /c"),
        ({"a": 1}, op("remove", ""), "whole object"),
        ({"a": True}, op("test", "/a", value=1), "another one"),
        ({"a": 1}, op("test", "/a", value="1"), "another one"),
        ({"a": [1]}, op("test", "/a", value=[1, 2]), "another one"),
    ],
)
def test_what_does_not_apply_is_refused(
    document: Any, operation: dict[str, Any], told: str
) -> None:
    with pytest.raises(Invalid) as refused:
        run(document, operation)
    assert told in refused.value.detail
    assert f"patchJson[0] ({operation['op']} {operation['path']})" in refused.value.detail


def test_all_operations_succeed_or_none_does() -> None:
    document = {"a": 1}
    with pytest.raises(Invalid, match="another one"):
        run(document, op("replace", "/a", value=2), op("test", "/a", value=1))
    assert document == {"a": 1}


def test_messages_quote_no_values() -> None:
    with pytest.raises(Invalid) as refused:
        run({"a": "hunter2"}, op("test", "/a", value="hunter3"))
    assert "hunter" not in str(refused.value)


def test_what_was_added_is_not_shared() -> None:
    operations = [PatchOperation.model_validate(op("add", "/a", value={"b": []}))]
    one, other = patched({}, operations), patched({}, operations)
    one["a"]["b"].append(1)
    assert other == {"a": {"b": []}}


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        (op("add", "a", value=1), "not a JSON pointer"),
        (op("add", "/a~2", value=1), "not a JSON pointer"),
        (op("add", "/a"), "needs a value"),
        (op("test", "/a"), "needs a value"),
        (op("move", "/a"), "needs `from`"),
        (op("copy", "/a", **{"from": "b"}), "not a JSON pointer"),
        (op("merge", "/a", value=1), "Input should be"),
    ],
)
def test_a_wrong_operation_is_refused(operation: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        PatchOperation.model_validate(operation)


@pytest.mark.parametrize(
    "operation",
    [
        op("add", "/a", value=None),
        op("replace", "/a", value={"b": None}),
        op("remove", "/a"),
        op("move", "/a", **{"from": "/b"}),
    ],
)
def test_an_operation_is_written_as_it_was_read(operation: dict[str, Any]) -> None:
    read = PatchOperation.model_validate(operation)
    written = read.model_dump(mode="json", by_alias=True, exclude_none=True)
    assert written == operation
    assert PatchOperation.model_validate(written) == read


json = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text("a/~", max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("a/~0", max_size=2), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


def places(value: Any, here: str = "") -> list[str]:
    """Pointers to everything in `value`."""
    inner: list[tuple[str, Any]] = []
    if isinstance(value, dict):
        inner = [(k.replace("~", "~0").replace("/", "~1"), v) for k, v in value.items()]
    elif isinstance(value, list):
        inner = [(str(i), v) for i, v in enumerate(value)]
    return [here, *(p for key, item in inner for p in places(item, f"{here}/{key}"))]


@given(document=json, value=json, data=st.data())
def test_what_was_put_somewhere_is_there_and_can_be_taken_back(
    document: Any, value: Any, data: st.DataObject
) -> None:
    where = data.draw(st.sampled_from(places(document)))
    replaced = run(document, op("replace", where, value=value))
    assert run(replaced, op("test", where, value=value)) == replaced
    new = f"{where}/-" if isinstance(_at(document, where), list) else f"{where}/new"
    if isinstance(_at(document, where), (dict, list)):
        added = run(document, op("add", new, value=value))
        last = f"{where}/{len(_at(added, where)) - 1}" if new.endswith("-") else new
        assert run(added, op("remove", last)) == document


def _at(document: Any, pointer: str) -> Any:
    for step in tokens(pointer):
        document = document[int(step)] if isinstance(document, list) else document[step]
    return document
