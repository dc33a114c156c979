"""Chooses the address that the app listens on, and names the one to open in a browser."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

HOST = "127.0.0.1"  # only this machine
FIRST_PORT, TRIED_PORTS = 7860, 100  # the same as Gradio's
EVERY_NETWORK = ("0.0.0.0", "::")  # hosts that stand for all addresses of this machine
OUTSIDE = ("192.0.2.1", 9)  # an address for documentation (RFC 5737); nothing is sent there
# Files and variables that Docker, Podman and Kubernetes leave inside a container.
CONTAINER_FILES = ("/.dockerenv", "/run/.containerenv")
CONTAINER_VARIABLES = ("KUBERNETES_SERVICE_HOST", "container")


class AddressError(OSError, ValueError):
    """The app cannot listen on the host or the port that was asked for."""


def choose_address(host: str | None, port: int | None) -> tuple[str, int]:
    """The host and a free port to listen on.

    Args:
        host: a name or an address of this machine; ``GRADIO_SERVER_NAME``, or else `HOST`, by
            default.
        port: from 1 to 65535; ``GRADIO_SERVER_PORT``, or else the first that is free from
            `FIRST_PORT` on, by default.

    Raises AddressError.
    """
    host = host or os.environ.get("GRADIO_SERVER_NAME") or HOST
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    asked = os.environ.get("GRADIO_SERVER_PORT") if port is None else str(port)
    if not asked:
        ports = range(FIRST_PORT, FIRST_PORT + TRIED_PORTS)
    else:
        number = _checked_port("The port", asked)
        ports = range(number, number + 1)
    for number in ports:
        if _is_free(host, number):
            return host, number
    taken = f"Port {ports[0]} is" if len(ports) == 1 else f"Ports {ports[0]} to {ports[-1]} are"
    raise AddressError(
        f"{taken} in use: end the program that uses it, or choose another port with --port."
    )


def check_environment() -> None:
    """Check what Gradio reads from the environment as it is imported: it would end in a traceback.

    Raises AddressError.
    """
    asked = os.environ.get("GRADIO_SERVER_PORT")
    if asked is not None:
        _checked_port("The environment variable GRADIO_SERVER_PORT", asked)


def _checked_port(name: str, asked: str) -> int:
    if not (asked.isdecimal() and len(asked) <= 5 and 1 <= int(asked) <= 65535):
        raise AddressError(f"{name} is {asked or 'empty'}; it must be a number from 1 to 65535.")
    return int(asked)


def _is_free(host: str, port: int) -> bool:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":  # elsewhere this would let two programs share a port
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        if error.errno == errno.EACCES:
            raise AddressError(
                f"Only an administrator may use port {port}; choose one from 1024 on with --port."
            ) from None
        raise _not_ours(host) from None
    except UnicodeError:  # a name that no host can have
        raise _not_ours(host) from None
    return True


def _not_ours(host: str) -> AddressError:
    return AddressError(
        f"The host {host} is not an address of this machine: use {HOST} for only this machine, "
        f"or {EVERY_NETWORK[0]} for other devices as well."
    )


def url(host: str, port: int) -> str:
    """The address to open in a browser on this machine."""
    name = "localhost" if host in EVERY_NETWORK else bracketed(host)
    return f"http://{name}:{port}"


def bracketed(host: str) -> str:
    """A host as it stands in a URL: an address of IPv6 is in brackets."""
    return f"[{host}]" if ":" in host else host


def others_open(host: str, port: int) -> str:
    """A sentence on how other devices reach the app; empty if they cannot."""
    if host not in EVERY_NETWORK:
        return ""
    if in_container():
        return (
            "This is a container, so its own address cannot be opened from other devices: publish "
            f"port {port} (docker run -p {port}:{port} ...) and open the address of the machine "
            "that it runs on."
        )
    address = lan_address()
    if address is None:
        return "Other devices cannot open it: this machine is not on a network."
    return f"Other devices in this network open http://{address}:{port}"


def in_container() -> bool:
    """Whether this process runs in a container, which has a network of its own."""
    return any(Path(file).exists() for file in CONTAINER_FILES) or any(
        os.environ.get(name) for name in CONTAINER_VARIABLES
    )


def lan_address() -> str | None:
    """The IPv4 address of this machine on its network; None if it is not on one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(OUTSIDE)  # a datagram socket only chooses the network to send over
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith(("0.", "127.")) else address
