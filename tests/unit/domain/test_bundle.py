"""Several files become one and come apart again, byte for byte."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emco.domain.bundle import pack, unpack
from emco.domain.errors import Unprocessable

names = st.text("abc.-_ü ", min_size=1).filter(lambda name: name not in (".", ".."))


@given(st.dictionaries(names, st.binary(max_size=20)))
def test_what_is_unpacked_is_what_was_packed(files: dict[str, bytes]) -> None:
    assert unpack(pack(files)) == files
    assert pack(dict(reversed(files.items()))) == pack(files)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "a\\b", "a\x00", "a\n", "a" * 254])
def test_what_is_no_file_name_is_refused(name: str) -> None:
    with pytest.raises(Unprocessable, match="not a plain file name"):
        pack({name: b""})
