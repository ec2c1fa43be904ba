"""docker-compose.yml without docker.

Every service's command and health check run as plain processes, and together they serve.

Decides: how a service's words become the words of a process on this machine: hostnames are
loopback, ports and folders are free ones. The test checks docker's view of the file only with
Debian's docker-compose: it must accept the file.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml

from tests.ops.running import ROOT, wait_until
from tests.ports import free_ports

FILE = ROOT / "docker-compose.yml"
NODES = [f"{kind}-{az}" for kind in ("log", "engine") for az in "abc"]

Service = dict[str, Any]


@pytest.fixture(scope="module")
def services() -> dict[str, Service]:
    loaded: dict[str, Service] = yaml.safe_load(FILE.read_text())["services"]
    return loaded


class Machine:
    """This machine in the place of docker."""

    def __init__(self, services: dict[str, Service], folder: Path) -> None:
        self.services = services
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        ports = iter(range(base := free_ports(6), base + 6))
        self.ports: dict[tuple[str, str], str] = {
            (name, self.own_port(name)): str(next(ports)) for name in NODES
        }

    def own_port(self, name: str) -> str:
        command = self.services[name]["command"]
        return str(command[command.index("--port") + 1])

    def translate(self, name: str, words: list[str]) -> list[str]:
        assert words[0] in ("memstore", "txlog"), "commands are the image's own"
        return [sys.executable, "-m", words[0], *(self.word(name, word) for word in words[1:])]

    def word(self, name: str, word: str) -> str:
        for (host, port), mapped in self.ports.items():
            word = re.sub(rf"\b{host}:{port}\b", f"127.0.0.1:{mapped}", word)
        own = self.ports.get((name, self.own_port(name))) if name in NODES else None
        if own:
            word = re.sub(rf"^(127\.0\.0\.1:)?{self.own_port(name)}$", rf"\g<1>{own}", word)
        for volume in self.services[name].get("volumes", []):
            source, mount, *_ = volume.split(":")
            if word == mount or word.startswith(mount + "/"):
                place = self.folder / source
                place.mkdir(exist_ok=True)
                word = str(place) + word.removeprefix(mount)
        return "127.0.0.1" if word == "0.0.0.0" or word in NODES else word

    def start(self, name: str) -> subprocess.Popen[bytes]:
        with open(self.folder / f"{name}.out", "ab") as out:
            command = self.translate(name, self.services[name]["command"])
            child = subprocess.Popen(
                command,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.running[name] = child
        return child

    def run(self, name: str) -> None:
        """Run a one-shot service: it must end with success."""
        assert self.start(name).wait(60) == 0, self.said(name)

    def health(self, name: str) -> int:
        kind, *words = self.services[name]["healthcheck"]["test"]
        assert kind == "CMD"
        command = self.translate(name, words)
        return subprocess.run(
            command,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=30,
            check=False,
        ).returncode

    def wait_healthy(self, names: list[str]) -> None:
        def healthy(name: str) -> bool:
            assert self.running[name].poll() is None, self.said(name)
            return self.health(name) == 0

        def wait(name: str) -> None:
            wait_until(partial(healthy, name), lambda: f"{name} is healthy:\n{self.said(name)}", 60)

        with ThreadPoolExecutor(2) as pool:
            assert list(pool.map(wait, names)) == [None] * len(names)

    def said(self, name: str) -> str:
        return f"{name}: {(self.folder / f'{name}.out').read_text()}"

    def stop(self) -> None:
        for child in self.running.values():
            if child.poll() is None:
                os.kill(child.pid, signal.SIGKILL)
            child.wait(10)


@pytest.fixture
def machine(services: dict[str, Service], tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(services, tmp_path)
    yield machine
    machine.stop()


@pytest.mark.system
def test_every_service_runs_and_the_whole_serves(machine: Machine) -> None:
    machine.run("secrets")
    for name in NODES[:3]:
        machine.start(name)
    machine.wait_healthy(NODES[:3])  # without a group: `init` waits for them
    machine.run("init")
    assert machine.health(NODES[3]) != 0, "not healthy before it runs"
    for name in NODES[3:]:
        machine.start(name)
    machine.wait_healthy(NODES)
    machine.run("init")  # at a later start it has nothing to do and succeeds

    password = (machine.folder / "secrets" / "client-password").read_text().strip()
    clients = {
        name: redis.Redis(
            port=int(machine.ports[name, machine.own_port(name)]),
            password=password,
            socket_timeout=5,
        )
        for name in NODES[3:]
    }
    roles = {name: client.info("replication")["memstore_role"] for name, client in clients.items()}
    assert sorted(roles.values()) == ["primary", "replica", "replica"]
    primary = next(name for name, role in roles.items() if role == "primary")
    assert clients[primary].set("greeting", "hello")
    for client in clients.values():
        assert client.get("greeting") == b"hello"
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=int(machine.ports[primary, machine.own_port(primary)])).ping()


def test_the_order_of_starting(services: dict[str, Service]) -> None:
    """The test above starts the services in the file's own order."""

    def waits_for(name: str) -> dict[str, str]:
        return {
            other: wanted["condition"]
            for other, wanted in services[name].get("depends_on", {}).items()
        }

    assert waits_for("secrets") == {}
    assert waits_for("init") == dict.fromkeys(NODES[:3], "service_healthy")
    for name in NODES[:3]:
        assert waits_for(name) == {"secrets": "service_completed_successfully"}
    for name in NODES[3:]:
        assert waits_for(name) == {"init": "service_completed_successfully"}


def test_zones_are_networks(services: dict[str, Service]) -> None:
    for az in "abc":
        for kind in ("log", "engine"):
            assert services[f"{kind}-{az}"]["networks"] == [f"az-{az}", "backbone"]
            assert (
                services[f"{kind}-{az}"]["command"][
                    services[f"{kind}-{az}"]["command"].index("--az") + 1
                ]
                == az
            )


def test_nothing_is_published_beyond_loopback_and_no_secret_is_in_a_file(
    services: dict[str, Service],
) -> None:
    for name, service in services.items():
        for port in service.get("ports", []):
            host, outside, inside = port.split(":")
            assert host == "127.0.0.1"
            assert (
                outside == inside == service["command"][service["command"].index("--port") + 1]
            ), f"{name} announces the port it is published on"
        assert "environment" not in service
    for text in (FILE.read_text(), (ROOT / "Dockerfile").read_text()):
        assert not re.search(r"requirepass|PASSWORD=|SECRET=", text)


def test_whatever_calls_a_log_node_has_the_secret(services: dict[str, Service]) -> None:
    """In the test above all names are on loopback, where no secret is needed."""
    for name, service in services.items():
        for words in (service["command"], service.get("healthcheck", {}).get("test", [])):
            if "txlog" in words or any("log-a:7401" in word for word in words):
                assert words[words.index("--secret-file") + 1] == "/secrets/log-secret", name


def test_one_service_builds_the_image_that_all_run(services: dict[str, Service]) -> None:
    """Earlier, eight builds of the same image left seven without a name."""
    assert [name for name, service in services.items() if "build" in service] == ["secrets"]
    assert {service["image"] for service in services.values()} == {"memstore"}
    for name in services:
        needed = {name}
        while (
            more := {other for one in needed for other in services[one].get("depends_on", {})}
            - needed
        ):
            needed |= more
        assert "secrets" in needed, f"{name} may start before the image is built"


def test_no_service_can_gain_privileges(services: dict[str, Service]) -> None:
    assert all(
        service["security_opt"] == ["no-new-privileges:true"] for service in services.values()
    )


def test_the_image_is_not_root() -> None:
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert "ARG BASE_IMAGE=python:3.12-slim" in lines
    assert "FROM ${BASE_IMAGE}" in lines
    last = lines[lines.index("FROM ${BASE_IMAGE}") :]
    assert "USER memstore" in last


def test_the_image_is_compiled_and_has_no_compiler() -> None:
    first, _, last = (ROOT / "Dockerfile").read_text().partition("\nFROM ${BASE_IMAGE}\n")
    assert "MEMSTORE_COMPILE=require" in first
    assert "gcc" in first
    assert "apt-get" not in last
    assert "COPY --from=build" in last


def test_what_the_image_copies_exists_and_reaches_the_builder() -> None:
    copied = re.findall(
        r"^COPY (?!--from)(.*) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    names = [name for line in copied for name in line.split()]
    assert {"setup.py", "hot_modules.txt", "building"} <= set(names)
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for name in names:
        assert (ROOT / name).exists()
        assert f"!{name}" in ignored


@pytest.mark.skipif(
    shutil.which("docker-compose") is None, reason="docker-compose is not installed"
)
def test_docker_compose_accepts_the_file() -> None:
    result = subprocess.run(
        ["docker-compose", "-f", str(FILE), "config"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    accepted = yaml.safe_load(result.stdout)["services"]
    assert sorted(accepted) == sorted([*NODES, "secrets", "init"])
