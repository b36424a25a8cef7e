"""Generic intents out of the store: what a deployment asks for, and the values that its patches look up."""

from collections.abc import Sequence

from emco.domain.errors import Invalid, NotFound
from emco.domain.kinds.delivery import Deployment, GroupIntent
from emco.domain.kinds.fleet import ClusterKv, KeyValues
from emco.domain.kinds.generic import (
    GENERIC_KEY,
    Customization,
    GenericK8sIntent,
    GenericResource,
)
from emco.domain.kinds.tenancy import LogicalCloudKv, Project
from emco.domain.plan.customise import Lookup, has_lookup
from emco.domain.plan.model import Customisation, GenericInput
from emco.domain.resource import Address
from emco.store.reader import Reader


def generic_inputs(view: Reader, deployment: Address) -> tuple[GenericInput, ...]:
    """The resources of the intents that the deployment's group intents name, in path order.

    Raises `Invalid` when an intent that is named does not exist.
    """
    groups = [group for _, group in view.specs(GroupIntent, deployment)]
    named = sorted({g.intent[GENERIC_KEY] for g in groups if GENERIC_KEY in g.intent})
    found: list[GenericInput] = []
    for name in named:
        intent = Address.of(GenericK8sIntent, [*deployment.names(Deployment), name])
        if view.find(GenericK8sIntent, intent) is None:
            raise Invalid("Intent not found", f"a group intent names {intent}, which is not there")
        found += _resources(view, intent)
    return tuple(found)


def _resources(view: Reader, intent: Address) -> list[GenericInput]:
    changes: dict[Address, list[Customisation]] = {}
    for stored in view.iterate(Customization, intent):
        if isinstance(spec := stored.spec, Customization):
            above = stored.address.ancestor(Customization, GenericResource)
            changes.setdefault(above, []).append(
                Customisation(name=stored.address.name, spec=spec, files=stored.file or "")
            )
    return [
        GenericInput(
            intent=intent.name,
            name=stored.address.name,
            spec=spec,
            file=stored.file or "",
            customisations=tuple(changes.get(stored.address, ())),
        )
        for stored in view.iterate(GenericResource, intent)
        if isinstance(spec := stored.spec, GenericResource)
    ]


def generic_lookup(view: Reader, deployment: Address, inputs: Sequence[GenericInput]) -> Lookup:
    """What `$(…)$` in patches stands for, as it is in this snapshot; read only if there is any.

    Facts about clusters are everybody's; of logical clouds only those of the deployment's project.
    """
    known: dict[str, KeyValues] = {}
    project = deployment.ancestor(Deployment, Project)
    if any(
        has_lookup(operation.value)
        for given in inputs
        for change in given.customisations
        for operation in change.spec.patch_json
    ):
        known = {
            at.path: spec
            for kind, under in ((ClusterKv, None), (LogicalCloudKv, project))
            for at, spec in view.specs(kind, under)
        }

    def lookup(path: str, key: str) -> object:
        if (found := known.get(path)) is None:
            raise NotFound("Key value pair not found", f"there is no {path}")
        return found.value(key)

    return lookup
