"""Rules of users: a CEL expression over `self`, written on the object in the annotation `emco.io/health`.

It answers with true (current) or false (in progress), or with the name of a verdict, to which a
message may be added: `'Failed: ' + self.status.error`. A field that is not there yet is waited for.
"""

from functools import lru_cache
from typing import Any, Final

import cel

from emco.domain.errors import Invalid
from emco.domain.health.verdict import CURRENT, Health, Live, Verdict, progress

ANNOTATION: Final = "emco.io/health"
MAX_LENGTH: Final = 2000


def expression_of(live: Live) -> str:
    """The object's own rule; empty when it has none."""
    annotations = live.get("metadata", {}).get("annotations") or {}
    return str(annotations.get(ANNOTATION) or "").strip()


def check(item: Live) -> None:
    """Raise `Invalid`, naming the object and what is wrong, when it carries a rule that cannot work.

    Found are mistakes of grammar, and unknown names as far as it gets without a status.
    """
    if not (text := expression_of(item)):
        return
    where = f"The annotation {ANNOTATION} of {item['kind']} {item['metadata']['name']}"
    if len(text) > MAX_LENGTH:
        raise Invalid(f"{where} is too long", f"at most {MAX_LENGTH} characters")
    try:
        _program(text).execute({"self": dict(item)})
    except (KeyError, TypeError):
        return  # what it asks for comes with the status
    except (ValueError, RuntimeError) as error:
        raise Invalid(f"{where} cannot work", f"{error}; the object is `self`") from None


def judge(text: str, live: Live) -> Health:
    """The verdict of a rule. One that breaks on the object keeps it in progress and says how."""
    try:
        answer = _program(text).execute({"self": dict(live)})
    except KeyError as missing:
        return progress("NotThereYet", f"the field {missing} is not set")
    except (ValueError, TypeError, RuntimeError) as error:
        return progress("RuleBroken", str(error))
    if answer is True:
        return CURRENT
    if answer is False:
        return progress("RuleSaysNo", text)
    name, _, message = str(answer).partition(":")
    if name not in (Verdict.CURRENT, Verdict.IN_PROGRESS, Verdict.FAILED):
        return progress("RuleBroken", f"it answers {answer!r}, neither true, false nor a verdict")
    return Health(verdict=Verdict(name), reason="Rule", message=message.strip())


@lru_cache(maxsize=256)
def _program(text: str) -> Any:
    return cel.compile(text)
