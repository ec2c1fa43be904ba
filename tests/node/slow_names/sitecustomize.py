"""For tests: a resolver for the processes that have this folder in PYTHONPATH.
It simulates names of machines that run or are stopped.

A name ``log-...`` is this machine. A file of that name in the folder $SLOW_NAMES makes the look-up
slow: it takes as many seconds as the file says, and then fails.
"""

import os
import socket
import time
from pathlib import Path
from typing import Any

_real = socket.getaddrinfo


def _getaddrinfo(host: Any, *arguments: Any, **named: Any) -> Any:
    if isinstance(host, str) and host.startswith("log-"):
        try:
            seconds = float((Path(os.environ["SLOW_NAMES"]) / host).read_text())
        except OSError:
            return _real("127.0.0.1", *arguments, **named)
        time.sleep(seconds)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
    return _real(host, *arguments, **named)


socket.getaddrinfo = _getaddrinfo
