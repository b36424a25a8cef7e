"""Folders become archives: the same folder always gives the same bytes, on any day and machine.

Only names, contents and the executable bit go in. So `emco apply` can tell a chart that changed
from one that was merely checked out again.
"""

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from emco.cli.failures import Failure

_LEVEL: Final = 9
_EXECUTABLE: Final = 0o100


def pack(folder: Path, top: str = "") -> bytes:
    """A gzipped tar of `folder`, its content below the folder `top`, or at the root without one."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in _files(folder):
            content = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            member = tarfile.TarInfo(f"{top}/{name}" if top else name)
            member.size = len(content)
            member.mode = 0o755 if path.stat().st_mode & _EXECUTABLE else 0o644
            tar.addfile(member, io.BytesIO(content))
    return gzip.compress(plain.getvalue(), _LEVEL, mtime=0)


def _files(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir(), key=lambda p: p.name):
        if path.is_symlink():
            raise Failure(f"{path} is a link", "links cannot be packed; put the file itself there")
        if path.is_dir():
            yield from _files(path)
        elif path.is_file():
            yield path


def is_same(one: bytes, other: bytes) -> bool:
    """Whether two files hold the same, however well either was compressed."""
    return one == other or _unpacked(one) == _unpacked(other)


def _unpacked(content: bytes) -> bytes:
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error):
        return content
