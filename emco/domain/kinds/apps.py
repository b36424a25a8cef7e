"""Composite applications: Helm charts, what they wait for, and the values of each profile."""

from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from emco.domain.dependencies import (
    MAX_STABLE_SECONDS,
    MAX_TIMEOUT_SECONDS,
    MAX_WAIT_SECONDS,
    Condition,
    Dependency,
    OnTimeout,
    Scope,
)
from emco.domain.errors import AlreadyExists, Invalid
from emco.domain.kinds.tenancy import Project
from emco.domain.resource import Address, Body, Metadata, Name, Ref, Resource, View, Wire


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


def _whole(value: object) -> object:
    if isinstance(value, float):
        raise ValueError(f"{value} is no whole number of seconds")
    return value


Seconds = Annotated[int, BeforeValidator(_whole)]


class AppDependency(
    Resource,
    plural="dependency",
    parent=App,
    params=("appDependency",),
    guarded_by=CompositeApp,
):
    """The app in the URL starts only when `app` has reached `opStatus`, plus `wait` seconds."""

    app: Ref[App] = Field(examples=["redis-cart"])
    op_status: Condition = Field(examples=["Ready"])
    wait: Seconds = Field(default=0, ge=0, le=MAX_WAIT_SECONDS, strict=True, description="Seconds")
    scope: Scope = Field(
        default=Scope.ALL, description="Whose copy counts: on every cluster, or the one beside it"
    )
    timeout: Seconds = Field(
        default=0,
        ge=0,
        le=MAX_TIMEOUT_SECONDS,
        strict=True,
        description="Seconds that an operation waits for it at most; 0 is as long as it takes",
    )
    on_timeout: OnTimeout = Field(default=OnTimeout.FAIL, description="What happens after that")
    stable_for: Seconds = Field(
        default=0,
        ge=0,
        le=MAX_STABLE_SECONDS,
        strict=True,
        description="Seconds of unbroken readiness that are asked for; only with `Ready`",
    )

    @field_validator("op_status", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.capitalize() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        if self.stable_for and self.op_status is not Condition.READY:
            raise ValueError(
                "stableFor needs opStatus Ready: what is only Deployed has no steadiness"
            )
        if self.on_timeout is OnTimeout.PROCEED and not self.timeout:
            raise ValueError("onTimeout proceed needs a timeout in seconds")
        return self

    def of(self, app: str) -> Dependency:
        """As plans and workflows know it; `app` is the one that waits."""
        return Dependency(
            app=app,
            needs=str(self.app),
            condition=self.op_status,
            wait=self.wait,
            scope=self.scope,
            timeout=self.timeout,
            on_timeout=self.on_timeout,
            stable_for=self.stable_for,
        )

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
            start = cycle.index(waiting) if waiting in cycle else 0
            cycle = [*cycle[start:-1], *cycle[:start], cycle[start]]
            raise Invalid(
                f"Cyclic Dependency between apps found in composite app:{scope.path.split('/')[3]}",
                f"{' -> '.join(cycle)}: each waits for the next; remove one of these dependencies",
            )


def find_cycle(waits: Mapping[str, list[str]]) -> list[str]:
    """One cycle in "x waits for y" as `[a, b, a]`, or an empty list."""
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))
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
