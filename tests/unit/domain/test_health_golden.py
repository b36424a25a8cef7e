"""The rules on objects as real clusters show them; recorded by `python -m tests.unit.domain.record_health`."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from emco.domain.health import RULES, assess, essence

FILES = sorted(Path(__file__).with_name("health").glob("*.yaml"))
GOLDEN = [case for path in FILES for case in yaml.load_all(path.read_text(), yaml.CSafeLoader)]


@pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden["case"])
def test_a_real_object_is_judged_as_when_it_was_recorded(golden: dict[str, Any]) -> None:
    found = assess(golden["object"])
    assert (found.verdict, found.reason) == (golden["verdict"], golden["reason"])
    assert assess(essence(golden["object"])) == found, "what a watch keeps is enough to judge"


def test_every_rule_was_tried_on_real_objects_for_every_answer_it_has() -> None:
    tried: dict[Callable[..., Any], set[str]] = defaultdict(set)
    for golden in GOLDEN:
        item = golden["object"]
        group = item["apiVersion"].rpartition("/")[0]
        if (rule := RULES.get((group, item["kind"]))) is not None:
            tried[rule].add("ready" if golden["verdict"] == "Current" else "not ready")
    always = {"_namespace", "_cron_job"}
    lacking = {
        rule.__name__: {"ready", "not ready"} - tried[rule]
        for rule in RULES.values()
        if rule.__name__ not in always and len(tried[rule]) < 2
    }
    assert lacking == {}
