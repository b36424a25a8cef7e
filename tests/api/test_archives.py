"""Uploaded archives: the shapes seen in the wild are accepted, everything dangerous is refused."""

import gzip
import io
import itertools
import tarfile
from collections.abc import Callable

import pytest

from api.archives import check_chart, check_profile
from emco.domain.errors import EmcoError, TooLarge, Unprocessable
from emco.settings import Settings
from tests.api.builders import CHART_YAML, MANIFEST_YAML, tgz

SETTINGS = Settings(
    max_unpacked_bytes=16 * 1024 * 1024, max_archive_ratio=100, max_archive_members=50
)


def member(name: str, kind: bytes, **more: object) -> bytes:
    """An archive with a good chart and one odd member."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        chart = tarfile.TarInfo("web/Chart.yaml")
        chart.size = len(CHART_YAML)
        tar.addfile(chart, io.BytesIO(CHART_YAML))
        odd = tarfile.TarInfo(name)
        odd.type = kind
        for field, value in more.items():
            setattr(odd, field, value)
        tar.addfile(odd)
    return stream.getvalue()


@pytest.mark.parametrize(
    "files",
    [
        {"web/Chart.yaml": CHART_YAML, "web/templates/a.yaml": b"a: 1"},
        {"./": b"", "./web/": b"", "./web/Chart.yaml": CHART_YAML},
        {"Chart.yaml": CHART_YAML, "templates/a.yaml": b""},
        {"./Chart.yaml": CHART_YAML},
        {"web/Chart.yaml": CHART_YAML, "web/charts/sub/Chart.yaml": CHART_YAML},
        {"other/Chart.yaml": CHART_YAML},
        {"web/Chart.yaml": CHART_YAML, "other/Chart.yaml": CHART_YAML},
    ],
)
def test_charts_as_people_pack_them_are_accepted(files: dict[str, bytes]) -> None:
    check_chart(tgz(files), "web", SETTINGS)


@pytest.mark.parametrize(
    "files",
    [
        {"manifest.yaml": MANIFEST_YAML, "override_values.yaml": b""},
        {"./manifest.yaml": MANIFEST_YAML, "./override_values.yaml": b"a: 1"},
        {"web/manifest.yaml": MANIFEST_YAML, "web/override_values.yaml": b"a: 1"},
        {"manifest.yaml": b"version: v1\n"},
        {
            "manifest.yaml": b"type:\n  configresource:\n  - {filepath: a.yaml, chartpath: t/a.yaml}",
            "a.yaml": b"a: 1",
        },
    ],
)
def test_profiles_as_people_pack_them_are_accepted(files: dict[str, bytes]) -> None:
    check_profile(tgz(files), "web", SETTINGS)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "not a complete gzipped tar"),
        (b"plain text", "not a complete gzipped tar"),
        (gzip.compress(b"not a tar at all" * 100), "not a complete gzipped tar"),
        (tgz({"web/Chart.yaml": CHART_YAML})[:-20], "not a complete gzipped tar"),
        (tgz({"web/values.yaml": b"a: 1"}), "it begins with web/values.yaml"),
        (tgz({}), "it is empty"),
        (tgz({"deep/web/Chart.yaml": CHART_YAML}), "in one top folder"),
        (tgz({"a/Chart.yaml": CHART_YAML, "b/Chart.yaml": CHART_YAML}), "in one top folder"),
        (tgz({"web/Chart.yaml": b"- a list"}), "not a YAML mapping"),
        (tgz({"web/Chart.yaml": b"a: [open"}), "not valid YAML"),
        (tgz({"web/Chart.yaml": b"name: web"}), "no `version`"),
        (tgz({"web/Chart.yaml": b"#" * 300_000}), "larger than 256 KiB"),
        (member("web/passwd", tarfile.SYMTYPE, linkname="/etc/passwd"), "is a link"),
        (member("web/twin", tarfile.LNKTYPE, linkname="web/Chart.yaml"), "is a link"),
        (member("web/dev", tarfile.CHRTYPE), "neither a plain file nor a folder"),
        (member("web/pipe", tarfile.FIFOTYPE), "neither a plain file nor a folder"),
        (member("../escape", tarfile.REGTYPE), "outside the archive's folder"),
        (member("web/../../escape", tarfile.REGTYPE), "outside the archive's folder"),
        (member("/etc/passwd", tarfile.REGTYPE), "outside the archive's folder"),
        (member("web\\evil", tarfile.REGTYPE), "outside the archive's folder"),
        (member("web/" + "n" * 200_000, tarfile.REGTYPE), "header record is too large"),
    ],
    ids=itertools.count(),  # an archive has the time in it, and would be another name in every process
)
def test_what_is_no_chart_is_told_why(content: bytes, told: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        check_chart(content, "web", SETTINGS)
    assert refusal.value.title == "Error in file format"
    assert told in refusal.value.detail


@pytest.mark.parametrize(
    ("manifest", "told"),
    [
        (b"type: {values: gone.yaml}", "type.values names 'gone.yaml'"),
        (b"type: {values: ../up.yaml}", "type.values names '../up.yaml'"),
        (b"type: [1]", "`type` must be a mapping"),
        (b"type: {configresource: x}", "must be a list"),
        (b"type: {configresource: [{filepath: a}]}", "needs `filepath` and `chartpath`"),
        (b"type: {configresource: [{filepath: a, chartpath: ../x}]}", "leaves the chart's folder"),
    ],
)
def test_what_a_profile_names_must_be_in_it(manifest: bytes, told: str) -> None:
    with pytest.raises(Unprocessable) as refusal:
        check_profile(tgz({"manifest.yaml": manifest}), "web", SETTINGS)
    assert told in refusal.value.detail


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (lambda: tgz({"web/big": b"\0" * (8 * 1024 * 1024)}), "far more than a chart"),
        (lambda: tgz({"web/big": _noise(17 * 1024 * 1024)}), "when unpacked"),
        (lambda: tgz({f"web/{i}": b"" for i in range(51)}), "more than 50 files"),
        (lambda: gzip.compress(b"\0" * (32 * 1024 * 1024)), "far more than a chart"),
        (
            lambda: tgz({"web/Chart.yaml": CHART_YAML}) + gzip.compress(b"\0" * (32 * 1024 * 1024)),
            "far more than a chart",
        ),
    ],
)
def test_a_bomb_is_stopped_while_it_streams(build: Callable[[], bytes], told: str) -> None:
    with pytest.raises(TooLarge) as refusal:
        check_chart(build(), "web", SETTINGS)
    assert told in refusal.value.detail


def test_any_bytes_end_in_an_error_of_ours() -> None:
    good = tgz({"web/Chart.yaml": CHART_YAML})
    for position in range(0, len(good), 7):
        spoiled = bytearray(good)
        spoiled[position] ^= 0xFF
        try:
            check_chart(bytes(spoiled), "web", SETTINGS)
        except EmcoError as refusal:
            assert refusal.status in (413, 422)  # noqa: PT017  both outcomes are fine


def _noise(size: int) -> bytes:
    """Bytes that pack badly enough for the ratio to stay out of the way."""
    import random

    return random.Random(1).randbytes(1024 * 1024) * (size // (1024 * 1024))
