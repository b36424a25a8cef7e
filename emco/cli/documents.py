"""EMCO's files: YAML documents that say where (`resourceContext.anchor`) and what.

Reads them and nothing else. Two things EMCO does not have: `file` and `files` may name a folder,
and may hold `${NAME}`, taken from the environment. Paths are relative to the YAML file; the working
directory, where EMCO looks, is tried second.
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import yaml

from emco.cli import packing, places
from emco.cli.client import BYTES, FilePart
from emco.cli.failures import Code, Failure
from emco.domain.kinds.apps import App

VERBS: Final = frozenset("approve instantiate terminate stop update migrate rollback apply".split())
"""Last segments of an anchor that are not resources but something to do."""

STDIN: Final = Path("-")

_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})
_CONTROL: Final = frozenset({"version", "resourceContext", "file", "files"})
_VARIABLE: Final = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


class _Loader(yaml.SafeLoader):
    """YAML as EMCO's clients read it (1.2): `yes` and `2024-01-01` are texts. A key twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key.value}' is there twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.yaml_implicit_resolvers = {
    first: [
        (tag, pattern)
        for tag, pattern in resolvers
        if tag.rpartition(":")[2] in ("null", "int", "float", "merge")
    ]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))


@dataclass(frozen=True)
class Document:
    """One document: its place in the file, its anchor, the JSON body to send, and its files."""

    source: Path
    line: int
    anchor: str
    body: dict[str, Any]
    paths: tuple[str, ...] = ()
    part: str = "file"
    lines: Mapping[str, int] = field(default_factory=dict)

    @property
    def where(self) -> str:
        """For messages: the file and the line."""
        return f"{self.source}:{self.line}"

    @cached_property
    def place(self) -> places.Place:
        """Where the anchor leads."""
        return places.locate(self.anchor)

    @property
    def verb(self) -> str:
        """What is to be done, for a document that is no resource; empty otherwise."""
        last = self.anchor.rpartition("/")[2]
        is_verb = last in VERBS and self.place.collection is None and not self.place.is_known
        return last if is_verb else ""

    @property
    def path(self) -> str:
        """The resource's own path; for a verb, the path of what it is done to."""
        if self.verb:
            return self.anchor.rpartition("/")[0]
        return "/".join((self.anchor, *places.identity(self.place.collection, self.body)))

    def files(self) -> list[FilePart]:
        """The parts of the form, read now; folders are packed. A `Failure` names what is missing."""
        return [self._part(path) for path in self.paths]

    def _part(self, written: str) -> FilePart:
        path = self._find(written)
        if path.is_dir():
            top = str(places.identity(App, self.body)[0]) if self.place.collection is App else ""
            content = packing.pack(path, top)
        else:
            content = path.read_bytes()
        # A single file is always called `filename`, as EMCO's client calls it.
        name = path.name if self.part == "files" else "filename"
        return self.part, (name, content, BYTES)

    def _find(self, written: str) -> Path:
        where = f"{self.source}:{self.lines.get(self.part, self.line)}"

        def value(variable: re.Match[str]) -> str:
            if (found := os.environ.get(variable[1])) is None:
                raise Failure(
                    f"{variable[1]} is not set",
                    f"{where} needs it: {self.part}: {written}\nexport {variable[1]}=PATH",
                )
            return found

        path = Path(_VARIABLE.sub(value, written)).expanduser()
        tried = list(dict.fromkeys((self.source.parent / path, path)))
        for candidate in tried:
            if candidate.exists():
                return candidate
        raise Failure(
            f"{path} does not exist",
            f"{where} names it; tried {' and '.join(str(t.absolute()) for t in tried)}",
        )


def read(sources: Sequence[Path]) -> list[Document]:
    """All documents of files, of the YAML files of folders, and of standard input (`-`)."""
    return [document for source in sources for document in _of(source)]


def _of(source: Path) -> Iterator[Document]:
    if source == STDIN:
        yield from parse(sys.stdin.read(), Path("stdin"))
        return
    if not source.exists():
        raise Failure(f"{source} does not exist", code=Code.USAGE)
    if not source.is_dir():
        yield from parse(_text(source), source)
        return
    found = sorted(p for p in source.iterdir() if p.suffix in _SUFFIXES and p.is_file())
    if not found:
        raise Failure(f"{source} has no YAML file", "name a file", code=Code.USAGE)
    for path in found:
        yield from parse(_text(path), path)


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError as error:
        raise Failure(f"{path} is not UTF-8 text", str(error)) from error
    except OSError as error:
        raise Failure(f"{path} cannot be read", error.strerror or str(error)) from error


def parse(text: str, source: Path) -> Iterator[Document]:
    """The documents of one file, empty ones left out."""
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            data = loader.construct_document(node)
            if node is not None and data is not None:
                yield _document(data, node, source)
    except yaml.YAMLError as error:
        raise _not_yaml(error, text, source) from error
    finally:
        loader.dispose()


def _not_yaml(error: yaml.YAMLError, text: str, source: Path) -> Failure:
    mark = getattr(error, "problem_mark", None)
    where = f"{source}:{mark.line + 1}" if mark else str(source)
    problem = getattr(error, "problem", None) or str(error)
    hint = "\nIt seems to be a Go template: render it first" if "{{" in text else ""
    return Failure(f"{where} is not YAML", f"{problem}{hint}")


def _document(data: Any, node: yaml.Node, source: Path) -> Document:
    where = f"{source}:{node.start_mark.line + 1}"
    if not isinstance(data, dict) or not isinstance(node, yaml.MappingNode):
        raise Failure(f"{where} is not a document of EMCO's", _SHAPE)
    context = data.get("resourceContext")
    anchor = context.get("anchor") if isinstance(context, dict) else None
    if not isinstance(anchor, str) or not anchor.strip("/"):
        raise Failure(f"{where} does not say where it belongs", _SHAPE)
    part = "files" if data.get("files") else "file"
    written = data.get(part) or []
    paths = [written] if isinstance(written, str) else written
    if not isinstance(paths, list) or not all(isinstance(path, str) for path in paths):
        raise Failure(f"{where}: `{part}` must be a path", f"it is {written!r}")
    return Document(
        source=source,
        line=node.start_mark.line + 1,
        anchor=anchor.strip("/").removeprefix("v2/"),
        body={k: v for k, v in data.items() if k not in _CONTROL},
        paths=tuple(paths),
        part=part,
        lines={str(key.value): key.start_mark.line + 1 for key, _ in node.value},
    )


_SHAPE: Final = "write: resourceContext: {anchor: projects}, and beside it metadata, spec, file"
