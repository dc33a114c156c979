"""Where the app listens, and which address it tells people to open."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from lenet_digits.demo import address
from lenet_digits.demo.address import AddressError, choose_address, lan_address, others_open, url

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GRADIO_SERVER_NAME", "GRADIO_SERVER_PORT", *address.CONTAINER_VARIABLES):
        monkeypatch.delenv(name, raising=False)


@contextlib.contextmanager
def taken_port(host: str = "127.0.0.1") -> Iterator[int]:
    with socket.create_server((host, 0)) as server:
        yield server.getsockname()[1]


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.parametrize("port", [-1, 0, 65536, 80000, 99999])
def test_a_port_out_of_range_is_a_sentence(port: int) -> None:
    with pytest.raises(AddressError, match="from 1 to 65535"):
        choose_address(None, port)


def test_a_port_in_the_environment_is_judged_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GRADIO_SERVER_PORT", "web")
    with pytest.raises(AddressError, match="The port is web"):
        choose_address(None, None)
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7999")
    assert choose_address("localhost", None) == ("localhost", 7999)


@pytest.mark.parametrize("port", ["abc", "", "99999", "9" * 5000])
def test_the_command_judges_the_environment_before_gradio_does(
    port: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {"GRADIO_SERVER_PORT": port}
    result = subprocess.run(
        [sys.executable, "-m", "lenet_digits", "app"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert "GRADIO_SERVER_PORT is" in line
    assert line.endswith("it must be a number from 1 to 65535.")


@pytest.mark.parametrize("host", ["[::1", "::1]", "["])
def test_half_a_pair_of_brackets_is_not_a_host(host: str) -> None:
    with pytest.raises(AddressError, match="not an address of this machine"):
        choose_address(host, None)


@pytest.mark.parametrize("host", [None, "0.0.0.0"])
def test_a_taken_port_is_refused_with_what_to_do(host: str | None) -> None:
    with taken_port() as port:
        with pytest.raises(AddressError, match=f"Port {port} is in use.*--port") as error:
            choose_address(host, port)
        assert "launch" not in str(error.value)
    assert choose_address(host, port)[1] == port


def test_a_taken_port_is_passed_over_where_none_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with taken_port() as port:
        monkeypatch.setattr(address, "FIRST_PORT", port)
        assert choose_address(None, None)[1] > port


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "a" * 70, "..", "256.1.1.1"])
def test_a_host_that_is_not_this_machine_is_a_sentence(host: str) -> None:
    with pytest.raises(AddressError, match="not an address of this machine"):
        choose_address(host, 7999)


def test_an_address_of_ipv6_is_in_brackets_in_a_url() -> None:
    assert url("::1", 80) == "http://[::1]:80"
    assert url("127.0.0.1", 80) == "http://127.0.0.1:80"


def test_other_devices_get_the_address_on_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(address, "CONTAINER_FILES", ())
    monkeypatch.setattr(address, "lan_address", lambda: "192.168.1.5")
    assert others_open("0.0.0.0", 7860).endswith("http://192.168.1.5:7860")
    assert others_open("127.0.0.1", 7860) == ""
    monkeypatch.setattr(address, "lan_address", lambda: None)
    assert "http" not in others_open("0.0.0.0", 7860)


def test_the_address_on_the_network_is_one_of_this_machine() -> None:
    found = lan_address()
    if found is None:
        pytest.skip("this machine is not on a network")
    assert not ipaddress.ip_address(found).is_loopback
    with socket.socket() as probe:
        probe.bind((found, 0))


def test_in_a_container_no_address_is_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("container", "podman")
    said = others_open("0.0.0.0", 7860)
    assert "container" in said
    assert "http" not in said


@pytest.mark.skipif(sys.platform == "win32" or not has_ipv6(), reason="needs IPv6 and signals")
def test_the_app_serves_on_ipv6_and_says_where() -> None:
    with taken_port("127.0.0.1") as port:
        pass  # free now
    with subprocess.Popen(
        [sys.executable, "-m", "lenet_digits", "app", "--host", "::1", "--port", str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    ) as app:  # fmt: skip
        assert app.stdout is not None
        timer = threading.Timer(100, app.kill)
        timer.start()
        line = app.stdout.readline()
        assert f"http://[::1]:{port}" in line
        with urllib.request.urlopen(f"http://[::1]:{port}/", timeout=60) as page:
            assert page.status == 200
        app.send_signal(signal.SIGTERM)
        app.stdout.read()
        timer.cancel()
    assert app.returncode == 128 + signal.SIGTERM
