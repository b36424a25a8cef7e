"""Whatever is written in whatever order: every parent is there, every reference resolves."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from emco.domain.errors import EmcoError
from emco.domain.kinds.apps import App, AppDependency, CompositeApp, find_cycle
from emco.domain.kinds.tenancy import Project
from emco.domain.resource import kind_named
from emco.store.crypto import Keyring
from emco.store.store import Store
from tests.contract.conftest import APP_ROOT, PROJECT, app, dependency, named

names = st.sampled_from("abc")


class Integrity(RuleBasedStateMachine):
    """Apps and dependencies against a dictionary: app to the app it waits for, or None."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        url = f"sqlite:///{Path(self.folder.name) / 'x.db'}"
        self.store = Store.open(url, keys=Keyring([bytes(32)]))
        self.store.create(PROJECT, named("p"), Project())
        self.store.create(APP_ROOT, named("ca"), CompositeApp(composite_app_version="v1"))
        self.model: dict[str, str | None] = {}

    def attempt(self, work: Any) -> bool:
        try:
            work()
        except EmcoError:
            return False
        return True

    @rule(name=names)
    def create_app(self, name: str) -> None:
        made = self.attempt(lambda: self.store.create(app(name), named(name), App(), file=b"x"))
        assert made == (name not in self.model)
        self.model.setdefault(name, None)

    @rule(name=names, needed=names)
    def wait_for(self, name: str, needed: str) -> None:
        spec = AppDependency.model_validate({"app": needed, "opStatus": "Ready"})
        done = self.attempt(lambda: self.store.replace(dependency(name, "d"), named("d"), spec))
        wanted = {**self.model, name: needed}
        graph = {waiting: [app] for waiting, app in wanted.items() if app}
        allowed = name in self.model and needed in self.model and not find_cycle(graph)
        assert done == allowed
        if done:
            self.model[name] = needed

    @rule(name=names)
    def stop_waiting(self, name: str) -> None:
        done = self.attempt(lambda: self.store.delete(dependency(name, "d")))
        assert done == bool(self.model.get(name))
        if done:
            self.model[name] = None

    @rule(name=names)
    def delete_app(self, name: str) -> None:
        done = self.attempt(lambda: self.store.delete(app(name)))
        free = name in self.model and not self.model[name] and name not in self.model.values()
        assert done == free
        if done:
            del self.model[name]

    @invariant()
    def everything_resolves(self) -> None:
        if not hasattr(self, "store"):
            return
        with self.store.snapshot() as view:
            stored = [*view.iterate(App, None), *view.iterate(AppDependency, None)]
            assert {s.address.name for s in stored if s.address.kind == "App"} == set(self.model)
            for item in stored:
                kind = kind_named(item.address.kind)
                assert kind.parent is not None
                assert view.lookup(item.address.ancestor(kind, kind.parent)) is not None
                for _, target in item.spec.references(item.address):
                    assert view.lookup(target) is not None

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            self.folder.cleanup()


TestIntegrity = Integrity.TestCase
TestIntegrity.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
