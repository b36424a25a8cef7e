"""Status subscriptions: who wants to know what about which deployments, and where to tell it."""

from typing import Annotated, Final

from pydantic import Field

from emco.domain.events import EventType, Severity, View
from emco.domain.kinds.tenancy import Project
from emco.domain.notices import SinkSpec, sink_named
from emco.domain.resource import Address, Body, Name, Resource, Wire
from emco.domain.resource import View as StoreView

MAX_LISTED: Final = 100
MAX_DEBOUNCE_SECONDS: Final = 3600
_PART: Final = r"[-A-Za-z0-9_.*?]{1,128}"

Pattern = Annotated[str, Field(pattern=rf"^{_PART}$")]
"""A name in which `*` stands for anything and `?` for one character."""

ObjectPattern = Annotated[str, Field(pattern=r"^[-A-Za-z0-9_.:*?]{1,253}$")]
DeploymentPattern = Annotated[str, Field(pattern=rf"^{_PART}/{_PART}/{_PART}$")]
TransitionPattern = Annotated[str, Field(pattern=r"^[A-Za-z*?]{1,32} *-> *[A-Za-z*?]{1,32}$")]


class ClusterPattern(Body):
    """Clusters by provider and name, and those alone that carry a label, if one is given."""

    cluster_provider: Pattern = "*"
    cluster: Pattern = "*"
    cluster_label: Name | None = Field(default=None, examples=["east"])


class ResourcePattern(Body):
    """Kubernetes objects by kind and name."""

    kind: ObjectPattern = Field(default="*", examples=["Deployment"])
    name: ObjectPattern = Field(default="*", examples=["cart*"])


class Criteria(Body):
    """Which events are told: all that is given has to hold, and a list holds when one of it does."""

    types: list[EventType] = Field(default_factory=list, max_length=MAX_LISTED)
    apps: list[Pattern] = Field(default_factory=list, max_length=MAX_LISTED)
    clusters: list[ClusterPattern] = Field(default_factory=list, max_length=MAX_LISTED)
    resources: list[ResourcePattern] = Field(default_factory=list, max_length=MAX_LISTED)
    views: list[View] = Field(default_factory=list, max_length=len(View))
    transitions: list[TransitionPattern] = Field(
        default_factory=list, max_length=MAX_LISTED, examples=[["Ready -> NotReady"]]
    )
    pairs: bool = Field(
        default=False, description="Only that an app failed, and that it recovered from that"
    )
    minimum_severity: Severity = Severity.INFO


class StatusSubscription(
    Resource,
    plural="status-subscriptions",
    parent=Project,
    noun="Status Subscription",
    wire=Wire(put=(200, 201), secret_spec=True),
):
    """Somebody's interest in status changes; what it names may not exist yet.

    It begins with the state as it is and goes on with every change after that. Without
    `deployments`, `logicalClouds` and `statusContextIds` it is about the whole project.
    """

    deployments: list[DeploymentPattern] = Field(
        default_factory=list,
        max_length=MAX_LISTED,
        description="As compositeApp/version/deployment; each part may be a pattern",
        examples=[["online-boutique/v1/*"]],
    )
    logical_clouds: list[Pattern] = Field(default_factory=list, max_length=MAX_LISTED)
    status_context_ids: list[Name] = Field(default_factory=list, max_length=MAX_LISTED)
    criteria: Criteria = Criteria()
    debounce_seconds: float = Field(
        default=0,
        ge=0,
        le=MAX_DEBOUNCE_SECONDS,
        description="What changes again within so many seconds is told once, as it is after that",
    )
    snapshot: bool = Field(default=True, description="Whether it begins with the state as it is")
    sink: SinkSpec = Field(
        examples=[
            {
                "type": "webhook",
                "url": "https://example.com/events",
                "signingSecrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
            }
        ]
    )

    def check(self, at: Address, view: StoreView) -> None:
        """Refuses sinks that do not exist or lack something."""
        sink_named(self.sink.type).check(self.sink)
