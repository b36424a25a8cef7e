"""Every verb at any moment of any other: whatever people ask for, and whenever, these things hold.

One operation runs at a time. State and progress always fit together. What is refused is refused
with a reason. After a terminate nothing of ours is left, and nothing of anybody else was changed.
"""

import os
import time
import uuid
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from emco.domain.lifecycle import RUNNING, Progress, State
from tests.e2e.system import Kube, Shop, System, chart, config_map, deployment

VERBS = tuple(
    "update rollback update rollback stop resume resume terminate instantiate approve".split()
)
"""Those that keep it going come more often."""
ON_BUSY = (None, "refuse", "queue", "supersede")
PAUSES = (0.0, 0.05, 0.3, 1.5)

EXAMPLES = int(os.environ.get("EMCO_TEST_EXAMPLES", "6"))

FITTING = {
    State.CREATED: {Progress.CREATED},
    State.APPROVED: {Progress.CREATED, Progress.TERMINATED, Progress.TERMINATE_STOPPED},
    State.INSTANTIATED: {
        Progress.INSTANTIATING,
        Progress.INSTANTIATED,
        Progress.INSTANTIATE_FAILED,
    },
    State.INSTANTIATE_STOPPED: {Progress.INSTANTIATING, Progress.INSTANTIATE_STOPPED},
    State.TERMINATED: {Progress.TERMINATING, Progress.TERMINATED, Progress.TERMINATE_FAILED},
    State.TERMINATE_STOPPED: {Progress.TERMINATING, Progress.TERMINATE_STOPPED},
}


class People(RuleBasedStateMachine):
    """Asks for things, without waiting for what was asked before."""

    make: Callable[[], tuple[Shop, dict[str, Kube]]]

    def __init__(self) -> None:
        super().__init__()
        self.shop, self.kubes = type(self).make()
        self.version = 0
        self.theirs = {name: self._their_object(kube) for name, kube in self.kubes.items()}
        self.shop.verb("instantiate")

    def _their_object(self, kube: Kube) -> str:
        kube.post("/api/v1/namespaces", {"metadata": {"name": self.shop.namespace}})
        path = f"/api/v1/namespaces/{self.shop.namespace}/configmaps"
        made = kube.post(path, config_map("theirs", v="1"))
        return str(made["metadata"]["resourceVersion"])

    @rule(
        verb=st.sampled_from(VERBS),
        on_busy=st.sampled_from(ON_BUSY),
        revision=st.integers(1, 2),
        pause=st.sampled_from(PAUSES),
    )
    def ask(self, verb: str, on_busy: str | None, revision: int, pause: float) -> None:
        """Ask for something; it is accepted, or refused with a sentence."""
        body = {"spec": {"revision": str(revision)}} if verb == "rollback" else None
        query = {"onBusy": on_busy} if on_busy and verb != "approve" else {}
        answer = self.shop.client.post(f"{self.shop.url}/{verb}", json=body, params=query)
        assert answer.status_code in (202, 404, 409), answer.text
        if answer.status_code != 202:
            assert answer.json()["title"]
        time.sleep(pause)

    @rule(slow=st.booleans(), both=st.booleans())
    def describe(self, slow: bool, both: bool) -> None:
        """Describe something else, for the next update."""
        self.version += 1
        annotations = {"sandbox.emco.io/ready-after": "1s"} if slow else {}
        items = [config_map(f"m{self.version % 3}", v=str(self.version))]
        items += [deployment("w", annotations=annotations)] if slow else []
        self.shop.change("web", chart("web", config_map("a", v=str(self.version)), *items))
        self.shop.place("web", ["c1", "c2"] if both else ["c2"])

    @rule()
    def wait(self) -> None:
        """Let it come to rest."""
        self._settle()

    @invariant()
    def one_operation_runs_at_a_time(self) -> None:
        """Whatever waits is marked as waiting."""
        running = [o for o in self.shop.get("operations") if o["ended"] is None and not o["queued"]]
        # The one that is superseded is closed a moment after the other was accepted.
        assert len(running) <= 2, running

    @invariant()
    def state_and_progress_fit(self) -> None:
        """No half-way record is ever seen."""
        seen = self.shop.explain()
        assert Progress(seen["progress"]) in FITTING[State(seen["state"])], seen

    def teardown(self) -> None:
        """Terminate it, and look what is left."""
        self._settle()
        if self.shop.explain()["progress"] not in (None, "Created", "Terminated"):
            self.shop.client.post(f"{self.shop.url}/terminate")
            self._settle()
        seen = self.shop.explain()
        assert seen["progress"] in ("Created", "Terminated"), seen
        assert seen["units"] == []
        assert [o for o in self.shop.get("operations") if o["ended"] is None] == []
        for name, kube in self.kubes.items():
            path = f"/api/v1/namespaces/{self.shop.namespace}"
            found = kube.names("configmaps", self.shop.namespace)
            assert [n for n in found if n != "kube-root-ca.crt"] == ["theirs"], name
            assert kube.names("deployments", self.shop.namespace, "apis/apps/v1") == []
            theirs = kube.get(f"{path}/configmaps/theirs")
            assert theirs["metadata"]["resourceVersion"] == self.theirs[name]
            kube.http.delete(path)

    def _settle(self) -> None:
        def is_at_rest() -> bool:
            seen: dict[str, Any] = self.shop.explain()
            return Progress(seen["progress"]) not in RUNNING and not seen["queue"]

        self.shop.until(is_at_rest)


def test_any_verb_at_any_moment(
    system: System, kubeconfigs: dict[str, str], kubes: dict[str, Kube]
) -> None:
    def make() -> tuple[Shop, dict[str, Kube]]:
        name = f"any{uuid.uuid4().hex[:8]}"
        shop = Shop(system.client, name, f"ns-{name}")
        shop.cloud(kubeconfigs)
        archive = chart("web", config_map("a", v="0"))
        shop.deployment({"web": archive}, {"web": ["c1", "c2"]})
        return shop, kubes

    machine = type("PeopleHere", (People,), {"make": staticmethod(make)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=20,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # a run takes seconds: shrinking would take for ever
            suppress_health_check=list(HealthCheck),
        ),
    )
