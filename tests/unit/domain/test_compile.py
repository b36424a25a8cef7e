"""A plan is a pure function of its inputs, and renders nothing twice."""

from hypothesis import given
from hypothesis import strategies as st

from emco.domain.plan.compile import compile_plan, renderings
from emco.domain.plan.model import AppInput, Capabilities, Plan, Rendered, Snapshot, digest_of

apps = st.lists(st.sampled_from("abcdef"), unique=True, min_size=1)
clusters = st.lists(st.sampled_from(["e+1", "e+2", "e+3"]), unique=True, min_size=1)


def snapshot(names: list[str]) -> Snapshot:
    return Snapshot(
        deployment="p/a/v1/d",
        release="r",
        namespace="n",
        cloud="l",
        apps=tuple(AppInput(name=n, chart=f"chart-{n}") for n in names),
    )


def plan(names: list[str], where: list[str], versions: list[str]) -> tuple[Plan, int]:
    given_ = snapshot(names)
    placed = {n: dict.fromkeys(sorted(where), "why") for n in names}
    capabilities = {
        c: Capabilities(kube_version=v) for c, v in zip(sorted(where), versions, strict=False)
    }
    wanted = renderings(given_, placed, capabilities)
    item = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}}
    units = {
        unit: (f"digest-{rendering.key}", Rendered(resources=(item,)))
        for unit, rendering in wanted.items()
    }
    return compile_plan(given_, placed, units), len({r.key for r in wanted.values()})


@given(apps, clusters, st.lists(st.sampled_from(["v1", "v2"]), min_size=3, max_size=3))
def test_one_unit_for_each_app_and_cluster_and_one_rendering_for_each_capability(
    names: list[str], where: list[str], versions: list[str]
) -> None:
    made, rendered = plan(names, where, versions)
    assert {(u.app, u.cluster) for u in made.units} == {(n, c) for n in names for c in where}
    assert rendered == len(names) * len(set(versions[: len(where)]))
    assert made.clusters == tuple(sorted(where))
    for cluster in where:
        assert [u.app for u in made.on(cluster)] == sorted(names)


@given(apps, clusters)
def test_the_digest_never_depends_on_the_order_of_the_inputs(
    names: list[str], where: list[str]
) -> None:
    versions = ["v1"] * 3
    forth, _ = plan(names, where, versions)
    back, _ = plan(list(reversed(names)), list(reversed(where)), versions)
    assert digest_of(forth.model_dump()) == digest_of(back.model_dump())


def test_a_plan_survives_being_stored() -> None:
    made, _ = plan(["a", "b"], ["e+1"], ["v1"] * 3)
    assert Plan.model_validate_json(made.model_dump_json()) == made
