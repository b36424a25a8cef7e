"""Composite applications: Helm charts, what they wait for, and the values of each profile."""

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, field_validator

from emco.domain.errors import AlreadyExists, Invalid
from emco.domain.kinds.tenancy import Project
from emco.domain.resource import Address, Body, Metadata, Name, Ref, Resource, View, Wire

MAX_WAIT_SECONDS = 4096


class CompositeApp(
    Resource,
    plural="composite-apps",
    parent=Project,
    params=("compositeApp", "compositeAppVersion"),
):
    """One version of an application made of several charts."""

    composite_app_version: Name = Field(examples=["v1"])

    def identity(self, metadata: Metadata | None) -> tuple[str, ...]:
        """Name and version together: several versions live side by side."""
        (name,) = super().identity(metadata)
        return (name, self.composite_app_version)


class App(Resource, plural="apps", parent=CompositeApp, wire=Wire(file="file")):
    """One Helm chart of the composite app, uploaded as a gzipped tar."""


class AppDependency(
    Resource,
    plural="dependency",
    parent=App,
    params=("appDependency",),
    guarded_by=CompositeApp,
):
    """The app in the URL starts only when `app` has reached `opStatus`, plus `wait` seconds."""

    app: Ref[App] = Field(examples=["redis-cart"])
    op_status: Literal["Ready", "Deployed"] = Field(examples=["Ready"])
    wait: int = Field(default=0, ge=0, le=MAX_WAIT_SECONDS, strict=True, description="Seconds")

    @field_validator("op_status", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.capitalize() if isinstance(value, str) else value

    def check(self, at: Address, view: View) -> None:
        """Refuses a wait for oneself, the same pair twice, and every cycle, spelled out."""
        waits: dict[str, list[str]] = {}
        scope = at.ancestor(AppDependency, CompositeApp)
        for other, spec in view.specs(AppDependency, scope):
            waiting = other.ancestor(AppDependency, App).name
            if other == at:
                continue
            if (waiting, spec.app) == (at.ancestor(AppDependency, App).name, self.app):
                raise AlreadyExists(
                    "AppDependency already exists", f"{other} makes {waiting} wait for {self.app}"
                )
            waits.setdefault(waiting, []).append(spec.app)
        waiting = at.ancestor(AppDependency, App).name
        waits.setdefault(waiting, []).append(self.app)
        if cycle := find_cycle(waits):
            raise Invalid(
                f"Cyclic Dependency between apps found in composite app:{scope.path.split('/')[3]}",
                f"{' -> '.join(cycle)}: each waits for the next; remove one of these dependencies",
            )


def find_cycle(waits: Mapping[str, list[str]]) -> list[str]:
    """One cycle in "x waits for y" as `[a, b, a]`, or an empty list."""
    done: set[str] = set()

    def visit(app: str, path: list[str]) -> list[str]:
        if app in path:
            return [*path[path.index(app) :], app]
        if app in done:
            return []
        for needed in waits.get(app, []):
            if cycle := visit(needed, [*path, app]):
                return cycle
        done.add(app)
        return []

    for app in sorted(waits):
        if cycle := visit(app, []):
            return cycle
    return []


class CompositeProfile(Resource, plural="composite-profiles", parent=CompositeApp):
    """A named set of profiles, one per app: "production", "test"."""


class AppProfile(
    Resource,
    plural="profiles",
    parent=CompositeProfile,
    wire=Wire(file="file"),
    guarded_by=CompositeProfile,
):
    """Values and extra files for one app, uploaded as a gzipped tar with a `manifest.yaml`."""

    app: Ref[App] = Field(examples=["frontend"])

    def check(self, at: Address, view: View) -> None:
        """At most one profile per app within a composite profile."""
        for other, spec in view.specs(AppProfile, at.ancestor(AppProfile, CompositeProfile)):
            if other != at and spec.app == self.app:
                raise AlreadyExists(
                    "App already has an AppProfile", f"{other} already covers the app {self.app}"
                )


class OverrideValues(Body):
    """`--set` style values for one app, over chart and profile."""

    app: Ref[App] = Field(examples=["frontend"])
    values: dict[str, str] = Field(default_factory=dict, examples=[{"image.tag": "v0.10.2"}])
