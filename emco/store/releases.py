"""Releases and the runs of their hooks: what makes an install an install, and a hook run once."""

from collections.abc import Callable, Set

from sqlalchemy import Connection, delete, insert, select, update

from emco.domain.errors import NotFound
from emco.domain.events import hook_news
from emco.domain.plan.hooks import Scope
from emco.domain.releases import OPEN, HookRow, ReleaseRow
from emco.domain.resource import Address
from emco.store import tables as t
from emco.store.engine import Database
from emco.store.events import append
from emco.store.reader import resource_id


class Releases:
    """Rows that belong to one deployment and end with it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def releases(self, deployment: Address) -> list[ReleaseRow]:
        """Every unit that was ever begun and is not uninstalled, by cluster and app."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.release.c.document)
                .join(t.resource, t.resource.c.id == t.release.c.deployment)
                .where(t.resource.c.path == deployment.path)
                .order_by(t.release.c.cluster, t.release.c.app)
            ).scalars()
            return [ReleaseRow.model_validate(row) for row in rows]

    def change_release(
        self,
        deployment: Address,
        cluster: str,
        app: str,
        change: Callable[[ReleaseRow | None], ReleaseRow | None],
    ) -> ReleaseRow | None:
        """Read, change and write one unit's release in one transaction; None stays none."""

        def work(connection: Connection) -> ReleaseRow | None:
            owner = resource_id(connection, deployment)
            mine = (
                t.release.c.deployment == owner,
                t.release.c.cluster == cluster,
                t.release.c.app == app,
            )
            document = connection.execute(
                select(t.release.c.document).where(*mine).with_for_update()
            ).scalar()
            old = None if document is None else ReleaseRow.model_validate(document)
            new = change(old)
            if new is None or new == old:
                return new
            document = new.model_dump(mode="json")
            if old is None:
                connection.execute(
                    insert(t.release).values(
                        deployment=owner, cluster=cluster, app=app, document=document
                    )
                )
            else:
                connection.execute(update(t.release).where(*mine).values(document=document))
            return new

        return self._database.write(work)

    def forget_release(self, deployment: Address, cluster: str, app: str) -> None:
        """The unit is uninstalled: its release and its hooks' runs go. A second call changes nothing.

        What ran once for several clusters is remembered until the app has left the last of them.
        """

        def work(connection: Connection) -> None:
            owner = resource_id(connection, deployment)
            connection.execute(
                delete(t.release).where(
                    t.release.c.deployment == owner,
                    t.release.c.cluster == cluster,
                    t.release.c.app == app,
                )
            )
            others = connection.execute(
                select(t.release.c.cluster).where(
                    t.release.c.deployment == owner, t.release.c.app == app
                )
            ).first()
            doomed = delete(t.hook).where(t.hook.c.deployment == owner, t.hook.c.app == app)
            if others is not None:
                here = t.hook.c.id.endswith(f":{app}@{cluster}", autoescape=True)
                doomed = doomed.where(here)
            connection.execute(doomed)

        self._database.write(work)

    # -- hooks ----------------------------------------------------------------------------------

    def hooks(self, deployment: Address) -> list[HookRow]:
        """Every run of every hook that is remembered, the oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(
                select(t.hook.c.document)
                .join(t.resource, t.resource.c.id == t.hook.c.deployment)
                .where(t.resource.c.path == deployment.path)
            ).scalars()
            found = [HookRow.model_validate(row) for row in rows]
        return sorted(found, key=lambda row: (row.since, row.id))

    def hook(self, deployment: Address, id: str) -> HookRow:  # noqa: A002 — what it is
        """One run; `NotFound` naming those there are."""
        rows = self.hooks(deployment)
        for row in rows:
            if row.id == id:
                return row
        there = ", ".join(row.id for row in rows) or "none"
        raise NotFound("Hook not found", f"{deployment} has no hook {id}; there are: {there}")

    def prune_hooks(self, deployment: Address, cluster: str, app: str, keep: Set[str]) -> None:
        """Forget a unit's hooks of all runs but those of `keep`, unless they are still open."""
        ids = [
            row.id
            for row in self.hooks(deployment)
            if row.app == app
            and (row.cluster == cluster or row.scope is not Scope.RELEASE)
            and row.run not in keep
            and row.state not in OPEN
        ]
        if ids:
            self._database.write(
                lambda connection: connection.execute(
                    delete(t.hook).where(
                        t.hook.c.deployment == resource_id(connection, deployment),
                        t.hook.c.id.in_(ids),
                    )
                )
            )

    def change_hook(
        self, deployment: Address, first: HookRow, change: Callable[[HookRow], HookRow]
    ) -> HookRow:
        """Read, change and write one run in one transaction; `first` is what it is when there is none."""

        def work(connection: Connection) -> HookRow:
            owner = resource_id(connection, deployment)
            # Of two clusters that note the same hook first, the second must wait for the first.
            connection.execute(
                select(t.lifecycle.c.resource)
                .where(t.lifecycle.c.resource == owner)
                .with_for_update()
            )
            mine = (t.hook.c.deployment == owner, t.hook.c.id == first.id)
            document = connection.execute(select(t.hook.c.document).where(*mine)).scalar()
            old = None if document is None else HookRow.model_validate(document)
            new = change(old or first)
            if old is None:
                connection.execute(
                    insert(t.hook).values(
                        deployment=owner,
                        id=first.id,
                        app=first.app,
                        document=new.model_dump(mode="json"),
                    )
                )
            elif new != old:
                connection.execute(
                    update(t.hook).where(*mine).values(document=new.model_dump(mode="json"))
                )
            append(connection, [(deployment, hook_news(old, new))])
            return new

        return self._database.write(work)
