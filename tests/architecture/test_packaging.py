"""What can be checked of the container files where no container runs."""

import re
from pathlib import Path

import yaml

from emco.cli.app import VERBS
from emco.sandbox import toolchain
from emco.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_compose_runs_verbs_that_exist_with_settings_that_exist() -> None:
    for name in ("api", "worker"):
        service = COMPOSE["services"][name]
        assert service["command"][0] == "emco"
        assert service["command"][1] in VERBS
        for variable in service["environment"]:
            assert variable.removeprefix("EMCO_").lower() in Settings.model_fields


def test_compose_has_every_part_and_each_waits_for_what_it_needs() -> None:
    services = COMPOSE["services"]
    assert set(services) == {"postgres", "temporal", "temporal-ui", "api", "worker"}
    for name, service in services.items():
        for needed, how in service.get("depends_on", {}).items():
            assert how == {"condition": "service_healthy"}, name
            assert "healthcheck" in services[needed]


def test_compose_never_ships_a_password() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for secret in ("POSTGRES_PASSWORD", "EMCO_SECRET_KEYS"):
        assert f"${{{secret}:?" in text
    assert not re.search(r"(?i)(password|pwd|keys): +[^$\s]", text)


def test_ports_are_published_on_loopback_only() -> None:
    for service in COMPOSE["services"].values():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_the_image_is_made_of_files_that_exist() -> None:
    for line in DOCKERFILE.splitlines():
        if line.startswith("COPY") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source


def test_the_image_renders_with_the_helm_that_the_tests_ran() -> None:
    assert f"internal/version.version={toolchain.HELM}" in DOCKERFILE
    assert f"helm.sh/helm/v4 {toolchain.HELM}" in (ROOT / "tools" / "go.mod").read_text()


def test_the_locks_name_no_host_and_hash_everything() -> None:
    for lock in (ROOT / "requirements").glob("*.txt"):
        text = lock.read_text()
        assert "://" not in text
        for line in text.splitlines():
            assert line.startswith((" ", "#")) or line.endswith("\\"), (lock.name, line)


def test_recorded_histories_name_no_folder_and_no_process() -> None:
    for history in (ROOT / "tests" / "replay" / "histories").glob("*.json"):
        text = history.read_text()
        assert 'File \\"' not in text, history.name
        assert not re.search(r'"\d+@', text), history.name
