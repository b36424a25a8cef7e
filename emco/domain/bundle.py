"""Several files as one: a resource keeps a single file, and a customization brings many.

The same files always give the same bytes, in whatever order they came, so that they are stored once.
"""

import base64
import json
from collections.abc import Mapping
from typing import Final

from emco.domain.errors import Unprocessable

MAX_NAME: Final = 253


def pack(files: Mapping[str, bytes]) -> bytes:
    """Canonical JSON of name to base64. Raises `Unprocessable` for what is not a plain file name."""
    for name in files:
        check_name(name)
    packed = {name: base64.b64encode(content).decode() for name, content in files.items()}
    return json.dumps(packed, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def unpack(content: bytes) -> dict[str, bytes]:
    """What `pack` was given, in name order."""
    packed: dict[str, str] = json.loads(content)
    return {name: base64.b64decode(text) for name, text in packed.items()}


def check_name(name: str) -> None:
    """Refuse paths, and names that no file could have."""
    is_plain = 0 < len(name) <= MAX_NAME and name not in (".", "..") and name.isprintable()
    if not is_plain or "/" in name or "\\" in name:
        raise Unprocessable(
            "Unable to process file",
            f"{name[:80]!r} is not a plain file name: no folders, at most {MAX_NAME} characters",
        )
