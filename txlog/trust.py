"""Which log nodes may be used without a shared secret.

Decides: that without a secret a node or client trusts only this machine.
Must not know: what is sent, the source of the settings.

A side without a secret trusts any answer. On the machine itself the operator decides which programs
listen. On a network any machine can take the address of a node.
"""

from __future__ import annotations

import ipaddress


class NoSecret(ValueError):
    """A secret is needed and none is set; the text is one line for the operator."""


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_callee(hosts: list[str], secret: bytes | None, without_secret: bool, option: str) -> None:
    """Check that log nodes on these hosts may be called.

    ``without_secret``: the operator allows it; ``option``: the words with which it does. Raises
    `NoSecret`.
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
