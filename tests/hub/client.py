"""Scripts for a client in a fresh process, and what the tests say of its folders and requests."""

import json

# Nobody waits in these tests: what would have been slept is written down.
BEGIN = """
import json, os, sys, time
from pathlib import Path
from ser_transfer.hub import HubError, fetch, push_folder
waits = []
time.sleep = waits.append
def line(call, *given, **named):
    try:
        return call(*given, **named)
    except HubError as error:
        return str(error)
def read(folder):
    files = [path for path in Path(folder).rglob("*") if path.is_file() and path.name != ".gitattributes"]
    return {path.relative_to(folder).as_posix(): path.read_bytes().hex() for path in files}
"""


def written(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")}


def run(server, script, home, **environment):
    return json.loads(server.python(BEGIN + script, home, **environment).splitlines()[-1])


def asked(server, method, part):
    return [request for request in server.requests if request.method == method and part in request.path]
