"""A Hub on localhost, which speaks the protocol of `huggingface_hub` 2.4, for a client in a fresh process.

`huggingface_hub` reads HF_ENDPOINT when it is imported, so the client must be another process:

    def test_something(hub_server, tmp_path):
        answer = hub_server.python("from ser_transfer.hub import fetch; ...", home=tmp_path / "home")

It would upload through hf_xet wherever that is installed, and hf_xet speaks to storage that this Hub lacks:
`environment` sets HF_HUB_DISABLE_XET, so that large files go by Git LFS. Downloads go by HTTP wherever the
Hub names no xet hash.
"""

import base64
import json
import os
import re
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest
from hub.repository import File, Repository, User, entry, is_large, quoted

OWNER, READER, STRANGER = "hf_ada_may_write", "hf_ada_may_read", "hf_bob_may_write"
USERS = {
    OWNER: User("ada", organisations=("lab",)),
    READER: User("ada", may_write=False),
    STRANGER: User("bob"),
}
DROP, DROP_AFTER = "drop", "drop after"  # the connection: half way through the request, or after its effect
REPOSITORY = r"/api/(?P<type>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"


@dataclass
class Request:
    method: str
    path: str
    token: str | None
    status: int | str = 0


@dataclass
class Trouble:
    """What happens to the next requests whose ``"METHOD /path"`` a pattern finds."""

    pattern: str
    status: int | str
    times: int
    headers: dict[str, str]
    reached: threading.Event = field(default_factory=threading.Event)
    released: threading.Event = field(default_factory=threading.Event)


class Refusal(Exception):  # noqa: N818
    def __init__(self, status: int, message: str, code: str = "", **others: str):
        super().__init__(message)
        self.status, self.code, self.others = status, code, others


class HubServer:
    """A Hub of its own, empty at first.

    Attributes:
        endpoint: Its address.
        repositories: By ``owner/name``, or ``datasets/owner/name``; see `Repository` for what to assert on.
        large_files: What was uploaded by Git LFS, by SHA-256, whether a commit names it or not.
        requests: In the order in which they were answered.
    """

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.large_files: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.troubles: list[Trouble] = []
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.hub = self
        port = self._http.server_port
        self.endpoint = f"http://127.0.0.1:{port}"
        self.storage = f"http://localhost:{port}"  # another host to a client, which must not get the token
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self):
        for trouble in self.troubles:
            trouble.released.set()
        self._http.shutdown()
        self._http.server_close()

    def plant(self, id: str, files: dict[str, bytes], **settings) -> Repository:
        """Put a commit there by another way than the client's."""
        repository = self.repositories.get(id) or Repository(id, **settings)
        self.repositories[id] = repository
        kept = {
            name: File(content, is_large(name, content[:512], len(content)))
            for name, content in files.items()
        }
        for file in kept.values():
            if file.large:
                self.large_files[file.oid] = file.content
        repository.commit(kept, "planted")
        return repository

    def fail_next(self, pattern: str, status: int | str, times: int = 1, **headers: str) -> Trouble:
        """Let the next requests fail whose ``"METHOD /path"`` the pattern finds.

        Args:
            pattern: Such as ``"POST .*/commit/"``.
            status: Of HTTP, or `DROP`, or `DROP_AFTER`.
            times: How many of them.
            headers: Of the answer, such as ``retry_after="3"``.
        """
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.troubles.append(Trouble(pattern, status, times, named))
        return self.troubles[-1]

    def hold_next(self, pattern: str) -> Trouble:
        """Let one request wait, once its body is here, until ``released`` is set; then it is dropped."""
        return self.fail_next(pattern, "hold")

    def environment(self, home: Path, token: str | None = OWNER, **others: str) -> dict[str, str]:
        """Give the environment of a client whose Hub this is, with its cache below `home`."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
        return {
            **kept,
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "127.0.0.1,localhost",
            "OMP_NUM_THREADS": "1",
            **({"HF_TOKEN": token} if token else {}),
            **others,
        }

    def start(
        self, script: str, home: Path, token: str | None = OWNER, **others: str
    ) -> subprocess.Popen[str]:
        """Start a script in a fresh Python process that speaks to this Hub."""
        return subprocess.Popen(
            [sys.executable, "-c", script],
            env=self.environment(home, token, **others),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def python(self, script: str, home: Path, token: str | None = OWNER, **others: str) -> str:
        """Run a script so, and give what it printed; it must succeed."""
        process = self.start(script, home, token, **others)
        printed, complaints = process.communicate(timeout=600)  # seconds; a machine may be busy
        assert process.returncode == 0, complaints
        return printed


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def _handle(self):
        self.address = urlsplit(self.path)
        self.place = unquote(self.address.path)
        given = self.headers.get("Authorization", "")
        request = Request(self.command, self.place, given.removeprefix("Bearer ") or None)
        asked = f"{self.command} {self.place}"
        trouble = next(
            (each for each in self.hub.troubles if each.times and re.search(each.pattern, asked)), None
        )
        if trouble:
            trouble.times -= 1
            request.status = trouble.status
        try:
            if request.status == DROP:
                if self.command in ("POST", "PUT"):
                    self.rfile.read1(10)
                return self._drop(request)
            body = self._body()
            if request.status == "hold":
                trouble.reached.set()
                trouble.released.wait()
                return self._drop(request)
            if isinstance(request.status, int) and request.status:
                # A page, not JSON: what stands before the Hub answers so.
                headers = {"Content-Type": "text/html", **trouble.headers}
                return self._send(request, request.status, b"<h1>trouble</h1>", headers)
            try:
                with self.hub.lock:
                    status, content, headers = self._answer(request.token, body)
            except Refusal as refusal:
                status, content = (
                    refusal.status,
                    json.dumps({"error": str(refusal), **refusal.others}).encode(),
                )
                headers = {"X-Error-Message": str(refusal)}
                headers |= {"X-Error-Code": refusal.code} if refusal.code else {}
            if request.status == DROP_AFTER:
                return self._drop(request)
            return self._send(request, status, content, headers)
        except (ConnectionError, ValueError):  # the client is gone
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _handle  # noqa: N815

    @property
    def hub(self) -> HubServer:
        return self.server.hub

    def _drop(self, request):
        self.hub.requests.append(request)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _send(self, request, status, content, headers):
        request.status = status
        self.hub.requests.append(request)
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while n_bytes := int(self.rfile.readline(), 16):
            body += self.rfile.read(n_bytes)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, token, body):
        """Find who answers, by the method and the place."""
        if self.place.startswith("/storage/"):  # signed addresses, so no token
            return self._store(body) if self.command == "PUT" else self._range(self._stored())
        self.user = None
        if token is not None:
            self.user = USERS.get(token)
            if self.user is None:
                raise Refusal(401, "Invalid credentials in Authorization header")
        for method, pattern, answer in ROUTES:
            if method == self.command and (found := re.fullmatch(pattern, self.place)):
                return answer(self, body, **found.groupdict())
        raise Refusal(404, f"there is no {self.command} {self.place} here")

    # Who and what

    def _whoami(self, body):
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        role = "write" if self.user.may_write else "read"
        organisations = [{"type": "org", "name": name} for name in self.user.organisations]
        return _json(
            {
                "type": "user",
                "name": self.user.name,
                "orgs": organisations,
                "auth": {"type": "access_token", "accessToken": {"displayName": "test", "role": role}},
            }
        )

    def _check_card(self, body):
        import yaml

        content = json.loads(body)["content"]
        try:
            head = re.match(r"---\n(.*?)\n---\n", content, re.DOTALL)
            metadata = yaml.safe_load(head[1]) if head else {}
            errors = [] if isinstance(metadata, dict) else [{"message": "the metadata are no mapping"}]
        except yaml.YAMLError as error:
            errors = [{"message": str(error)}]
        return _json({"errors": errors, "warnings": []}, 400 if errors else 200)

    def _create(self, body):
        asked = json.loads(body)
        kind = asked.get("type") or "model"
        if self.user is None:
            raise Refusal(401, "Invalid username or password.")
        owner = asked.get("organization") or self.user.name
        id = ("" if kind == "model" else f"{kind}s/") + f"{owner}/{asked['name']}"
        made = Repository(id, private=asked.get("visibility") == "private")
        if not made.writable_by(self.user):
            raise Refusal(
                403, f'You don\'t have the rights to create a {kind} under the namespace "{owner}".'
            )
        if id in self.hub.repositories:
            raise Refusal(409, f"You already created this {kind} repo", url=f"{self.hub.endpoint}/{id}")
        self.hub.repositories[id] = made
        return _json({"url": f"{self.hub.endpoint}/{id}", "name": made.name, "id": "0" * 24})

    def _repository(self, type, name, revision="main", *, write=False) -> Repository:
        id = name if type in (None, "models") else f"{type}/{name}"
        repository = self.hub.repositories.get(id)
        if repository is None or not repository.readable_by(self.user):
            if self.user is None:
                raise Refusal(401, "Invalid username or password.", "RepoNotFound")
            raise Refusal(404, "Repository not found", "RepoNotFound")
        if write and not repository.writable_by(self.user):
            raise Refusal(403, "Forbidden: you must have write access to this repo")
        if repository.at(revision) is None:
            raise Refusal(404, f"Invalid rev id: {revision}", "RevisionNotFound")
        return repository

    def _info(self, body, type, name, revision="main"):
        return _json(self._repository(type, name, revision).described(revision))

    def _tree(self, body, type, name, revision, path=None):
        """List one folder, or all files in pages of two, so that a client must turn them."""
        if path or parse_qs(self.address.query).get("recursive") != ["true"]:
            return self._folder(type, name, revision, path or "")
        files = self._repository(type, name, revision).tree(revision)
        start = int(parse_qs(self.address.query).get("cursor", ["0"])[0])
        status, content, headers = _json(files[start : start + 2])
        if start + 2 < len(files):
            headers["Link"] = (
                f'<{self.hub.endpoint}{quoted(self.place)}?recursive=true&cursor={start + 2}>; rel="next"'
            )
        return status, content, headers

    def _folder(self, type, name, revision, path):
        files = self._repository(type, name, revision).at(revision).files
        start = f"{path}/" if path else ""
        found = {}
        for each, file in files.items():
            if each.startswith(start):
                child, slash, _ = each.removeprefix(start).partition("/")
                inner = {"type": "directory", "path": start + child, "size": 0, "oid": "0" * 40}
                found[child] = inner if slash else entry(each, file)
        if not found:
            raise Refusal(404, f"{path} does not exist on {revision}", "EntryNotFound")
        return _json(list(found.values()))

    def _paths(self, body, type, name, revision):
        asked = parse_qs(body.decode()).get("paths", []) if b"{" not in body else json.loads(body)["paths"]
        files = self._repository(type, name, revision).at(revision).files
        return _json([entry(path, files[path]) for path in asked if path in files])

    def _refs(self, body, type, name):
        return _json(self._repository(type, name).refs())

    def _commits(self, body, type, name, revision):
        self._repository(type, name, revision)
        commits = reversed(self._repository(type, name, revision).commits)
        return _json(
            [
                {
                    "id": commit.oid,
                    "title": commit.title,
                    "message": "",
                    "authors": [],
                    "date": "2026-01-01T00:00:00.000Z",
                }
                for commit in commits
            ]
        )

    def _tag(self, body, type, name, revision):
        repository = self._repository(type, name, revision, write=True)
        repository.tags[json.loads(body)["tag"]] = repository.at(revision).oid
        return _json({})

    def _branch(self, body, type, name, branch):
        start = json.loads(body or b"{}").get("startingPoint", "main")
        repository = self._repository(type, name, start, write=True)
        repository.branches[branch] = repository.at(start).oid
        return _json({})

    # Upload

    def _preupload(self, body, type, name, revision):
        there = self._repository(type, name, revision, write=True).at(revision).files
        files = []
        for asked in json.loads(body)["files"]:
            path, sample = asked["path"], base64.b64decode(asked["sample"])
            mode = "lfs" if is_large(path, sample, asked["size"]) else "regular"
            oid = {"oid": there[path].oid} if path in there else {}
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, **oid})
        return _json({"files": files})

    def _batch(self, body, type, name):
        self._repository(type, name, write=True)
        objects = []
        for asked in json.loads(body)["objects"]:
            actions = {"upload": {"href": f"{self.hub.storage}/storage/{asked['oid']}?signed=1"}}
            there = asked["oid"] in self.hub.large_files
            objects.append({**asked, **({} if there else {"actions": actions})})
        return _json({"transfer": "basic", "objects": objects})

    def _store(self, body):
        oid = self.place.rpartition("/")[2]
        if sha256(body).hexdigest() != oid:
            raise Refusal(400, "what was sent does not hash to its name")
        self.hub.large_files[oid] = body
        return 200, b"", {"ETag": f'"{oid}"'}

    def _commit(self, body, type, name, revision):
        repository = self._repository(type, name, revision, write=True)
        if revision not in repository.branches:
            raise Refusal(400, "a commit needs a branch")
        lines = [json.loads(line) for line in body.splitlines()]
        head = lines[0]["value"]
        if head.get("parentCommit", repository.branches[revision]) != repository.branches[revision]:
            raise Refusal(412, "A commit has happened since. Please refresh and try again.")
        files = dict(repository.at(revision).files)
        for line in lines[1:]:
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = File(base64.b64decode(value["content"]), large=False)
            elif line["key"] == "lfsFile":
                if value["oid"] not in self.hub.large_files:
                    raise Refusal(400, f"the content of {value['path']} was not uploaded")
                files[value["path"]] = File(self.hub.large_files[value["oid"]], large=True)
            elif files.pop(value["path"], None) is None:
                raise Refusal(404, "A file with this name doesn't exist", "EntryNotFound")
        made = repository.commit(files, head["summary"], revision)
        return _json(
            {
                "success": True,
                "commitOid": made.oid,
                "commitUrl": f"{self.hub.endpoint}/{repository.id}/commit/{made.oid}",
                "hookOutput": "",
            }
        )

    # Download

    def _resolve(self, body, name, revision, path, type=None):
        repository = self._repository(type, name, revision)
        if repository.gated and not repository.writable_by(self.user):
            raise Refusal(
                403 if self.user else 401, f"Access to model {repository.name} is restricted.", "GatedRepo"
            )
        commit = repository.at(revision)
        if path not in commit.files:
            raise Refusal(404, "Entry not found", "EntryNotFound")
        file = commit.files[path]
        headers = {"X-Repo-Commit": commit.oid, "ETag": f'"{file.oid}"', "Accept-Ranges": "bytes"}
        if not file.large:
            return self._range(file.content, headers)
        headers |= {
            "X-Linked-ETag": f'"{file.oid}"',
            "X-Linked-Size": str(len(file.content)),
            "Location": f"{self.hub.storage}/storage/{file.oid}?signed=1",
        }
        return 302, b"", headers

    def _stored(self) -> bytes:
        return self.hub.large_files[self.place.rpartition("/")[2]]

    def _range(self, content, headers=()):
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return 200, content, dict(headers)
        start, end = int(asked[1]), int(asked[2] or len(content) - 1)
        return (
            206,
            content[start : end + 1],
            {**dict(headers), "Content-Range": f"bytes {start}-{end}/{len(content)}"},
        )


def _json(value, status=200):
    return status, json.dumps(value).encode(), {"Content-Type": "application/json"}


GIT = r"/(?:(?P<type>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"
ROUTES = [
    ("GET", "/api/whoami-v2", Handler._whoami),
    ("POST", "/api/validate-yaml", Handler._check_card),
    ("POST", "/api/repos/create", Handler._create),
    ("GET", REPOSITORY, Handler._info),
    ("GET", REPOSITORY + r"/revision/(?P<revision>.+)", Handler._info),
    ("GET", REPOSITORY + r"/tree/(?P<revision>[^/]+)(?:/(?P<path>.+))?", Handler._tree),
    ("POST", REPOSITORY + r"/paths-info/(?P<revision>[^/]+)", Handler._paths),
    ("GET", REPOSITORY + "/refs", Handler._refs),
    ("GET", REPOSITORY + r"/commits/(?P<revision>.+)", Handler._commits),
    ("POST", REPOSITORY + r"/tag/(?P<revision>.+)", Handler._tag),
    ("POST", REPOSITORY + r"/branch/(?P<branch>.+)", Handler._branch),
    ("POST", REPOSITORY + r"/preupload/(?P<revision>.+)", Handler._preupload),
    ("POST", REPOSITORY + r"/commit/(?P<revision>.+)", Handler._commit),
    ("POST", GIT + r"\.git/info/lfs/objects/batch", Handler._batch),
    *(
        (method, GIT + r"/resolve/(?P<revision>[^/]+)/(?P<path>.+)", Handler._resolve)
        for method in ("GET", "HEAD")
    ),
]


@pytest.fixture
def hub_server():
    """A Hub of this test's own, empty at first; see `HubServer`."""
    server = HubServer()
    yield server
    server.close()
