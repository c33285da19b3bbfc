"""Whether something that may be Ray answers at an address: told in seconds, where Ray would take minutes."""

from __future__ import annotations

import os
import re
import socket

ANSWER_SECONDS = 5.0
# What a client of HTTP/2, and so of gRPC, begins with (RFC 9113, section 3.4): a fixed text, then its
# settings, here none. A server begins with a frame of settings as well: three bytes of length, then type 4.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS = 4


def host_and_port(address: str) -> tuple[str, int] | None:
    """Take an address apart; None where it names no port, such as ``auto`` or a URL that Ray resolves."""
    found = re.fullmatch(r"\[?([^/\[\]]+?)\]?:(\d{1,5})", address)
    return None if found is None else (found[1], int(found[2]))


def answers_at(host: str, port: int) -> str | None:
    """Ask whether a gRPC server, which all of Ray's are, answers at an address.

    Returns:
        None where one does, else what was met instead.
    """
    try:
        with socket.create_connection((host, port), ANSWER_SECONDS) as connection:
            if os.environ.get("RAY_USE_TLS", "0") == "1":
                return None
            connection.sendall(GREETING)
            answer = b""
            while len(answer) < 4 and (more := connection.recv(4 - len(answer))):
                answer += more
    except OSError as error:
        return error.strerror or str(error)
    if len(answer) == 4 and answer[3] == SETTINGS:
        return None
    return "something answers there that is not Ray"
