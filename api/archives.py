"""Uploaded archives, judged while they stream by: nothing is written anywhere before it is found harmless.

A gzipped tar may be a bomb, may write outside its folder, or may simply be no chart. All of that
is told at upload, where somebody is looking, and not in the middle of an operation.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final, Protocol

import yaml

from emco.domain.errors import EmcoError, TooLarge, Unprocessable
from emco.settings import Settings

CHART: Final = "Chart.yaml"
PROFILE: Final = "manifest.yaml"

_FREE_BYTES: Final = 4 * 1024 * 1024
"""Below this the ratio says nothing: small texts of one line repeated pack very well."""
_DESCRIPTION_BYTES: Final = 256 * 1024
_HEADER_BYTES: Final = 64 * 1024


class _Source(Protocol):
    def read(self, size: int = -1, /) -> bytes: ...


@dataclass(frozen=True)
class Archive:
    """What is in an archive: its files by normalised path, and the texts that were asked for."""

    files: frozenset[str]
    texts: Mapping[str, bytes]

    def folder_of(self, marker: str, prefer: str) -> str | None:
        """The folder ("" is the root) with `marker`: the root, else a top folder, `prefer` first."""
        if marker in self.files:
            return ""
        tops = {
            p.parts[0]
            for f in self.files
            if len((p := PurePosixPath(f)).parts) == 2 and p.name == marker
        }
        if prefer in tops:
            return prefer
        return tops.pop() if len(tops) == 1 else None


def check_chart(content: bytes, app: str, settings: Settings) -> None:
    """Refuse what cannot be a Helm chart for `app`."""
    archive = _inspect(content, settings, keep=CHART)
    folder = archive.folder_of(CHART, app)
    if folder is None:
        raise _malformed(f"no {CHART} at the top or in one top folder: {_seen(archive)}")
    described = _mapping(archive.texts[_join(folder, CHART)], CHART)
    for field in ("name", "version"):
        if not described.get(field):
            raise _malformed(f"{CHART} has no `{field}`, and Helm needs one")


def check_profile(content: bytes, app: str, settings: Settings) -> None:
    """Refuse what cannot be a profile: every file its manifest names must be in the archive."""
    archive = _inspect(content, settings, keep=PROFILE)
    folder = archive.folder_of(PROFILE, app)
    if folder is None:
        raise _malformed(f"no {PROFILE} at the top or in one top folder: {_seen(archive)}")
    manifest = _mapping(archive.texts[_join(folder, PROFILE)], PROFILE)
    for field, name in _named_files(manifest):
        path = _normal(_join(folder, name))
        if path is None or path not in archive.files:
            raise _malformed(f"{PROFILE}: {field} names {name!r}, which is not in the archive")


def _named_files(manifest: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    parts = manifest.get("type") or {}
    if not isinstance(parts, dict):
        raise _malformed(f"{PROFILE}: `type` must be a mapping")
    if parts.get("values"):
        yield "type.values", str(parts["values"])
    resources = parts.get("configresource") or []
    if not isinstance(resources, list):
        raise _malformed(f"{PROFILE}: `type.configresource` must be a list")
    for index, entry in enumerate(resources):
        where = f"type.configresource[{index}]"
        if not (isinstance(entry, dict) and entry.get("filepath") and entry.get("chartpath")):
            raise _malformed(f"{PROFILE}: {where} needs `filepath` and `chartpath`")
        if _normal(str(entry["chartpath"])) is None:
            raise _malformed(f"{PROFILE}: {where}.chartpath leaves the chart's folder")
        yield f"{where}.filepath", str(entry["filepath"])


def _mapping(text: bytes, name: str) -> dict[str, Any]:
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as e:
        mark = getattr(e, "problem_mark", None)
        where = f" (line {mark.line + 1})" if mark else ""
        raise _malformed(f"{name} is not valid YAML{where}") from e
    if not isinstance(value, dict):
        raise _malformed(f"{name} is not a YAML mapping")
    return value


def _inspect(content: bytes, settings: Settings, *, keep: str) -> Archive:
    """Walk the whole archive once; `keep` is the file name whose texts are wanted."""
    files: set[str] = set()
    texts: dict[str, bytes] = {}
    members = 0
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as plain:
            metered = _Metered(plain, len(content), settings)
            with tarfile.open(fileobj=metered, mode="r|", tarinfo=_Member) as tar:
                for member in tar:
                    members += 1
                    if members > settings.max_archive_members:
                        raise TooLarge(
                            "Archive too large",
                            f"more than {settings.max_archive_members:,} files and folders",
                        )
                    path = _checked(member)
                    if member.isdir():
                        continue
                    files.add(path)
                    if PurePosixPath(path).name == keep and path.count("/") <= 1:
                        texts[path] = _text(tar, member, path)
            while metered.read(io.DEFAULT_BUFFER_SIZE):  # what follows the end mark counts too
                pass
    except EmcoError:
        raise
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as e:
        raise _malformed(f"not a complete gzipped tar: {e}") from e
    return Archive(frozenset(files), texts)


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> bytes:
    if member.size > _DESCRIPTION_BYTES:
        raise _malformed(f"{path} is larger than {_DESCRIPTION_BYTES // 1024} KiB")
    source = tar.extractfile(member)
    return source.read() if source else b""


def _checked(member: tarfile.TarInfo) -> str:
    """The normalised path of a member that is a plain file or folder inside the archive."""
    if member.issym() or member.islnk():
        raise _malformed(f"{member.name!r} is a link; only plain files and folders are accepted")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise _malformed(f"{member.name!r} is neither a plain file nor a folder")
    path = _normal(member.name)
    if path is None or (path == "" and not member.isdir()):
        raise _malformed(f"{member.name!r} would be written outside the archive's folder")
    return path


def _normal(name: str) -> str | None:
    """The path without `./`; None when it is absolute, climbs, or hides something."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not name.isprintable():
        return None
    return "" if str(path) == "." else str(path)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _seen(archive: Archive) -> str:
    some = sorted(archive.files)[:3]
    return f"it begins with {', '.join(some)}" if some else "it is empty"


def _malformed(detail: str) -> Unprocessable:
    return Unprocessable("Error in file format", detail)


class _Metered(io.RawIOBase):
    """Counts what comes out of the decompressor and stops it at the limits."""

    def __init__(self, source: _Source, packed: int, settings: Settings) -> None:
        super().__init__()
        self._source = source
        self._seen = 0
        self._most = settings.max_unpacked_bytes
        self._by_ratio = max(_FREE_BYTES, packed * settings.max_archive_ratio)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        chunk = self._source.read(size if size > 0 else io.DEFAULT_BUFFER_SIZE)
        self._seen += len(chunk)
        if self._seen > self._most:
            raise TooLarge("Archive too large", f"more than {self._most:,} bytes when unpacked")
        if self._seen > self._by_ratio:
            raise TooLarge("Archive too large", "it unpacks to far more than a chart of its size")
        return chunk


class _Member(tarfile.TarInfo):
    """Refuses header records (long names, pax values) of a size that only an attack has.

    tarfile reads such a record into memory in one piece, before a member is seen.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> "_Member":
        member = super().frombuf(buf, encoding, errors)
        if member.type in _RECORDS and member.size > _HEADER_BYTES:
            raise _malformed("a header record is too large")
        return member


_RECORDS: Final = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
