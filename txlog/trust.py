"""Which log nodes may be spoken to without a shared secret.

Decides: that without a secret only this machine is trusted, on either side.
Must not know: what is spoken, where settings come from.

A side without a secret believes whatever answers. On the machine itself the operator decides what
listens. On a network any machine can take the address of a node.
"""

from __future__ import annotations

import ipaddress


class NoSecret(ValueError):
    """A secret is needed and none is set; one line for the operator."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_callee(hosts: list[str], secret: bytes | None, without_secret: bool, option: str) -> None:
    """May log nodes on these hosts be called? ``without_secret``: the operator says so; ``option``:
    in which words. Raises `NoSecret`.
    """
    if secret is not None or without_secret:
        return
    for host in hosts:
        if not is_loopback(host):
            raise NoSecret(
                f"log node {host} is not on a loopback address: that needs --secret-file, else "
                "whatever answers there is believed "
                f"({option} allows it, where a tunnel or an isolated network protects the "
                "connection)"
            )
