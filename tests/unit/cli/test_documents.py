"""EMCO's files are read with the places of things, so that what is wrong can be pointed at."""

from pathlib import Path

import pytest

from emco.cli import documents
from emco.cli.documents import Document, parse
from emco.cli.failures import Failure
from emco.cli.packing import pack

CLUSTER = """\
version: emco/v2
resourceContext:
  anchor: cluster-providers/edge/clusters
metadata:
  name: c1
file: {file}
"""


def read(text: str, source: Path = Path("a.yaml")) -> list[Document]:
    return list(parse(text, source))


def the_file(document: Document) -> bytes:
    ((part, (name, content, media)),) = document.files()
    assert (part, name, media) == ("file", "filename", "application/octet-stream")
    return content


def test_documents_know_their_file_and_line() -> None:
    text = "---\n# one\nresourceContext: {anchor: projects}\nmetadata: {name: p}\n---\n---\n\n"
    text += "resourceContext: {anchor: /v2/projects/}\nmetadata: {name: q}\n"
    assert [(d.where, d.anchor, d.path) for d in read(text)] == [
        ("a.yaml:3", "projects", "projects/p"),
        ("a.yaml:8", "projects", "projects/q"),
    ]


def test_everything_but_the_context_and_the_files_is_sent() -> None:
    (document,) = read(
        "version: emco/v2\nresourceContext: {anchor: projects}\nmetadta: {name: p}\nfile: x\n"
    )
    assert document.body == {"metadta": {"name": "p"}}


def test_words_stay_words_as_in_emcos_clients() -> None:
    (document,) = read(
        "resourceContext: {anchor: projects}\n"
        "spec: {a: yes, b: on, c: 2024-01-01, d: true, e: 1, f: 1.5, g: null, h: ~, i: '1'}\n"
    )
    assert document.body["spec"] == {
        "a": "yes",
        "b": "on",
        "c": "2024-01-01",
        "d": True,
        "e": 1,
        "f": 1.5,
        "g": None,
        "h": None,
        "i": "1",
    }


@pytest.mark.parametrize(
    ("text", "title", "detail"),
    [
        ("a: [", "a.yaml:1 is not YAML", "expected"),
        ("a: {{ .Name }}\n", "a.yaml:1 is not YAML", "Go template"),
        (
            "resourceContext: {anchor: a}\nb: 1\nb: 2\n",
            "a.yaml:3 is not YAML",
            "'b' is there twice",
        ),
        ("[1, 2]", "a.yaml:1 is not a document of EMCO's", "anchor: projects"),
        ("\n\nmetadata: {name: p}\n", "a.yaml:3 does not say where it belongs", "anchor: projects"),
        (
            "resourceContext: {anchor: a}\nfile: {a: b}\n",
            "a.yaml:1: `file` must be a path",
            "it is",
        ),
    ],
)
def test_what_cannot_be_read_is_pointed_at(text: str, title: str, detail: str) -> None:
    with pytest.raises(Failure) as failure:
        read(text)
    assert failure.value.title == title
    assert detail in failure.value.detail


def test_a_variable_of_a_path_comes_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "k.yaml").write_text("secret")
    monkeypatch.setenv("FOLDER", str(tmp_path))
    (document,) = read(CLUSTER.format(file="${FOLDER}/k.yaml"))
    assert the_file(document) == b"secret"


def test_a_variable_that_is_not_set_is_named_with_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("KUBECONFIG_C9", raising=False)
    (document,) = read(CLUSTER.format(file="${KUBECONFIG_C9}"))
    with pytest.raises(Failure, match="KUBECONFIG_C9 is not set") as failure:
        document.files()
    assert "a.yaml:6" in failure.value.detail


def test_a_path_is_relative_to_its_file_and_then_to_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "here").mkdir()
    (tmp_path / "files" / "k").write_text("beside the file")
    (tmp_path / "here" / "k").write_text("working directory")
    monkeypatch.chdir(tmp_path / "here")
    (document,) = read(CLUSTER.format(file="k"), tmp_path / "files" / "a.yaml")
    assert the_file(document) == b"beside the file"
    (tmp_path / "files" / "k").unlink()
    assert the_file(document) == b"working directory"
    (tmp_path / "here" / "k").unlink()
    with pytest.raises(Failure, match="k does not exist") as failure:
        document.files()
    assert "a.yaml:6 names it; tried" in failure.value.detail


def test_a_folder_is_packed_below_the_name_of_its_app(tmp_path: Path) -> None:
    chart = tmp_path / "somewhere"
    chart.mkdir()
    (chart / "Chart.yaml").write_text("name: x\n")
    anchor = "projects/p/composite-apps/ca/v1"
    (app,) = read(
        f"resourceContext: {{anchor: {anchor}/apps}}\nmetadata: {{name: web}}\nfile: {chart}\n"
    )
    (profile,) = read(
        f"resourceContext: {{anchor: {anchor}/composite-profiles/x/profiles}}\n"
        f"metadata: {{name: web}}\nfile: {chart}\n"
    )
    assert the_file(app) == pack(chart, "web")
    assert the_file(profile) == pack(chart)


def test_several_files_keep_their_names(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text(name)
    (document,) = read(
        "resourceContext: {anchor: x/y}\nmetadata: {name: n}\nfiles: [a.json, b.json]\n",
        tmp_path / "d.yaml",
    )
    assert [(part, name) for part, (name, _, _) in document.files()] == [
        ("files", "a.json"),
        ("files", "b.json"),
    ]


def test_a_folder_gives_its_yaml_files_in_name_order(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "ignored.txt"):
        (tmp_path / name).write_text(
            f"resourceContext: {{anchor: projects}}\nmetadata: {{name: {name[0]}}}\n"
        )
    (tmp_path / "chart").mkdir()
    assert [d.path for d in documents.read([tmp_path])] == ["projects/a", "projects/b"]


def test_a_source_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"none\.yaml does not exist"):
        documents.read([tmp_path / "none.yaml"])
    with pytest.raises(Failure, match="has no YAML file"):
        documents.read([tmp_path])


@pytest.mark.parametrize(
    ("anchor", "verb", "path"),
    [
        ("projects/p/logical-clouds/c/instantiate", "instantiate", "projects/p/logical-clouds/c"),
        ("projects", "", "projects/approve"),
        ("gadgets/g/apply", "apply", "gadgets/g"),
    ],
)
def test_a_verb_is_told_from_a_resource(anchor: str, verb: str, path: str) -> None:
    (document,) = read(f"resourceContext: {{anchor: {anchor}}}\nmetadata: {{name: approve}}\n")
    assert (document.verb, document.path) == (verb, path)
