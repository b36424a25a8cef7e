"""Folders become archives whose bytes depend on nothing but what is in them."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest

from emco.cli.failures import Failure
from emco.cli.packing import is_same, pack


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    return write(tmp_path / "one")


def write(folder: Path) -> Path:
    (folder / "templates").mkdir(parents=True)
    (folder / "templates" / "all.yaml").write_text("kind: Service\n")
    (folder / "Chart.yaml").write_text("name: x\n")
    return folder


def members(archive: bytes) -> list[tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return tar.getmembers()


def test_two_checkouts_of_a_folder_pack_to_the_same_bytes(tmp_path: Path, chart: Path) -> None:
    other = write(tmp_path / "other")
    for path in other.rglob("*"):
        os.utime(path, (1, 1))
    (other / "Chart.yaml").chmod(0o600)
    assert pack(chart, "x") == pack(other, "x")


def test_content_and_executable_bit_change_the_bytes(tmp_path: Path, chart: Path) -> None:
    packed = pack(chart)
    (chart / "Chart.yaml").chmod(0o755)
    assert pack(chart) != packed
    (chart / "Chart.yaml").chmod(0o644)
    assert pack(chart) == packed
    (chart / "Chart.yaml").write_text("name: y\n")
    assert pack(chart) != packed


def test_content_is_below_the_top_folder_or_at_the_root(chart: Path) -> None:
    assert [m.name for m in members(pack(chart, "app"))] == [
        "app/Chart.yaml",
        "app/templates/all.yaml",
    ]
    assert [m.name for m in members(pack(chart))] == ["Chart.yaml", "templates/all.yaml"]


def test_no_owner_and_no_time_of_this_machine_gets_in(chart: Path) -> None:
    for member in members(pack(chart)):
        assert (member.uid, member.gid, member.uname, member.gname, member.mtime) == (
            0,
            0,
            "",
            "",
            0,
        )


def test_a_link_is_refused_by_name(chart: Path) -> None:
    (chart / "link.yaml").symlink_to(chart / "Chart.yaml")
    with pytest.raises(Failure, match=r"link\.yaml is a link"):
        pack(chart)


def test_the_same_content_counts_as_the_same_however_well_it_was_compressed() -> None:
    assert is_same(gzip.compress(b"x" * 100, 1), gzip.compress(b"x" * 100, 9))
    assert not is_same(gzip.compress(b"x"), gzip.compress(b"y"))
    assert is_same(b"plain", b"plain")
    assert not is_same(b"plain", gzip.compress(b"other"))
