"""Events as messages in a chat that takes Slack's incoming webhooks (Slack, Mattermost, Rocket.Chat, …)."""

import json
from collections.abc import Sequence
from typing import Final

from emco.domain.events import Event, Severity
from emco.domain.notices import Sink, SinkSpec, require_url

_SIGNS: Final = {
    Severity.INFO: ":white_check_mark:",
    Severity.WARNING: ":warning:",
    Severity.ERROR: ":x:",
}


class Slack(Sink, name="slack"):
    """One message for each request; with `batch`, a line for each event."""

    @classmethod
    def check(cls, spec: SinkSpec) -> None:
        """It needs a URL, most of the time a secret one."""
        require_url(spec)

    async def send(self, events: Sequence[Event]) -> None:
        """Slack knows no ids: a message told twice is seen twice."""
        body = json.dumps({"text": "\n".join(map(line, events))}).encode()
        headers = {name: value.get_secret_value() for name, value in self.spec.headers.items()}
        await self.http.post(
            self.spec.address, body, {**headers, "Content-Type": "application/json"}
        )


def line(event: Event) -> str:
    """What happened in one line of Slack's markup."""
    where = event.deployment or event.logical_cloud or event.project
    what = " ".join(filter(None, (event.app, event.cluster and f"on {event.cluster}")))
    if event.resource is not None:
        what = f"{event.resource} of {what}" if what else str(event.resource)
    went = f"{event.source} → {event.target}" if event.source else event.target
    told = " ".join(filter(None, (_SIGNS[event.severity], f"*{where}*", what, event.view, went)))
    return _escaped(f"{told}: {event.message}" if event.message else told)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
