"""Chart and profile archives on disk, for as long as helm needs them.

The API has checked every archive when it was uploaded; extraction still refuses whatever leaves
its folder, because a database can be restored from anywhere.
"""

import io
import shutil
import tarfile
from pathlib import Path
from typing import Any

from activities.helm import load_yaml
from emco.domain.errors import Invalid
from emco.domain.plan.model import ChartInfo

DEFAULT_VALUES = "override_values.yaml"


def unpack_chart(archive: bytes, app: str, into: Path) -> Path:
    """The folder with the chart's `Chart.yaml`: the top folder of the archive, or the archive itself.

    Raises `Invalid` naming the app when there is none.
    """
    _extract(archive, into, f"The chart of the app {app}")
    for folder in (into / app, into, *sorted(p for p in into.iterdir() if p.is_dir())):
        if (folder / "Chart.yaml").is_file():
            return _named(folder, app, into)
    raise Invalid(
        f"The chart of the app {app} has no Chart.yaml",
        "pack the chart's folder with `tar -czf APP.tgz APP`, or let `emco apply` pack it",
    )


def chart_info(chart: Path, app: str) -> ChartInfo:
    """What the chart's `Chart.yaml` says of it; helm has accepted it already."""
    said = load_yaml((chart / "Chart.yaml").read_text(), f"Chart.yaml of the app {app}") or {}
    return ChartInfo(
        name=str(said.get("name", "")),
        version=str(said.get("version", "")),
        app_version=str(said.get("appVersion", "")),
    )


def apply_profile(archive: bytes, app: str, chart: Path, scratch: Path) -> dict[str, Any]:
    """The profile's values; its `configresource` files are copied into `chart`.

    Raises `Invalid` naming the app and the file when the manifest points at what is not there.
    """
    what = f"The profile of the app {app}"
    _extract(archive, scratch, what)
    root = _root_of(scratch, "manifest.yaml")
    manifest = load_yaml((root / "manifest.yaml").read_text(), f"{what}: manifest.yaml") or {}
    kinds = manifest.get("type") or {}
    for resource in kinds.get("configresource") or []:
        source = _inside(root, resource["filepath"], what)
        target = _inside(chart, resource["chartpath"], what, must_exist=False)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    values_file = kinds.get("values") or DEFAULT_VALUES
    if not (root / values_file).exists() and "values" not in kinds:
        return {}
    values = load_yaml(_inside(root, values_file, what).read_text(), f"{what}: {values_file}")
    if values is not None and not isinstance(values, dict):
        raise Invalid(f"{what} has no usable values", f"{values_file} is not a map of values")
    return values or {}


def _extract(archive: bytes, into: Path, what: str) -> None:
    into.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
            tar.extractall(into, filter="data")
    except (tarfile.TarError, OSError, EOFError) as error:
        raise Invalid(f"{what} cannot be unpacked", type(error).__name__) from None


def _named(folder: Path, app: str, into: Path) -> Path:
    # Helm takes the chart's name from Chart.yaml, but its messages quote the folder's.
    if folder == into or folder.name == app:
        return folder
    return folder.rename(into / app) if not (into / app).exists() else folder


def _root_of(folder: Path, marker: str) -> Path:
    for candidate in (folder, *sorted(p for p in folder.iterdir() if p.is_dir())):
        if (candidate / marker).is_file():
            return candidate
    raise Invalid(f"The archive has no {marker}", f"put {marker} at its top")


def _inside(root: Path, name: str, what: str, *, must_exist: bool = True) -> Path:
    path = (root / name).resolve()
    if not path.is_relative_to(root.resolve()):
        raise Invalid(f"{what} points outside its archive", f"'{name}'")
    if must_exist and not path.is_file():
        raise Invalid(f"{what} names a file that is not in it", f"'{name}'")
    return path
