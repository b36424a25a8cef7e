"""Public names that Temporal keeps: workflow ids, search attributes, and how a deployment is written.

They are the interface of the temporal CLI and survive every refactoring.
"""

from typing import Final

from temporalio.common import SearchAttributeKey

from emco.domain.errors import Invalid
from emco.domain.kinds.delivery import Deployment
from emco.domain.kinds.notification import StatusSubscription
from emco.domain.resource import Address

PROJECT: Final = SearchAttributeKey.for_keyword("EmcoProject")
APP: Final = SearchAttributeKey.for_keyword("EmcoApp")
CLUSTER: Final = SearchAttributeKey.for_keyword("EmcoCluster")
STATE: Final = SearchAttributeKey.for_keyword("EmcoState")
SEARCH_ATTRIBUTES: Final = (PROJECT, APP, CLUSTER, STATE)

DEPLOYMENT_WORKFLOW: Final = "Deployment"
PREVIEW_WORKFLOW: Final = "PlanPreview"
STATUS_WORKFLOW: Final = "ClusterStatus"
SUBSCRIPTION_WORKFLOW: Final = "Subscription"
LOOK_AGAIN_SIGNAL: Final = "look-again"
TEST_UPDATE: Final = "test"
POLICIES_SIGNAL: Final = "look-again"
DEPENDENCIES_SIGNAL: Final = "dependencies-changed"
MILESTONES_SIGNAL: Final = "milestones"
GATES_SIGNAL: Final = "gates"
WANTED_SIGNAL: Final = "wanted"


def deployment_address(short: str) -> Address:
    """`project/compositeApp/version/name` as the address in the store; `Invalid` when it is not one."""
    names = short.split("/")
    if len(names) != 4 or not all(names):
        raise Invalid(
            "Not a deployment", f"'{short}' is not of the form project/compositeApp/version/name"
        )
    return Address.of(Deployment, names)


def short_name(deployment: Address) -> str:
    """The reverse of `deployment_address`."""
    return "/".join(deployment.names(Deployment))


def workflow_id(short: str) -> str:
    """The id of the deployment's workflow: there is one at a time, whoever starts it."""
    return f"deployment/{short}"


def preview_id(short: str, unique: str) -> str:
    """The id of a plan that is only looked at."""
    return f"plan/{short}/{unique}"


def cluster_workflow_id(short: str, operation: str, cluster: str) -> str:
    """The id of one cluster's part of one operation."""
    return f"deployment/{short}/{operation}/{cluster}"


def status_id(cluster: str) -> str:
    """The id of the workflow that follows one cluster, given as `provider+cluster`."""
    return f"status/{cluster.replace('+', '/', 1)}"


def subscription_address(short: str) -> Address:
    """`project/name` as the address of a subscription."""
    return Address.of(StatusSubscription, short.split("/"))


def subscription_name(subscription: Address) -> str:
    """The reverse of `subscription_address`."""
    return "/".join(subscription.names(StatusSubscription))


def subscription_id(short: str) -> str:
    """The id of a subscription's workflow."""
    return f"subscription/{short}"
