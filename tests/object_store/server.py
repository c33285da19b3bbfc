"""An S3 server on localhost (moto's), and in front of it all that goes wrong on the way to a real one.

The fixture `s3` of `tests/conftest.py` starts one per test process, gives each test a bucket of its own, and
sets what users set, so that ``s3://`` just works, in this process and in commands that the test starts:

    def test_something(s3):
        place(f"{s3.url}/hello.txt").write_text("hello")
        torn = s3.trouble(DROP_UPLOAD, method="PUT", key=r"\\.arrow$", nth=2)
        ...
        assert torn.n_met == 1
"""

import io
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Lock, Thread
from urllib.parse import unquote

SLOW_DOWN = 503
DROP_UPLOAD = "drop upload"  # the connection ends in the middle of the request's body
DROP_DOWNLOAD = "drop download"  # it ends in the middle of the answer's
STORE_SHORT = "store short"  # answered 200, and half of the object is stored
CODES = {500: "InternalError", SLOW_DOWN: "SlowDown", 403: "AccessDenied", 404: "NoSuchBucket"}
ERROR = "<?xml version='1.0'?><Error><Code>{code}</Code><Message>{code}, injected</Message></Error>"
REASONS = {403: "Forbidden", 404: "Not Found", 500: "Internal Server Error", 503: "Slow Down"}


@dataclass(frozen=True)
class Request:
    """One request, as it came in.

    Attributes:
        method: Of HTTP.
        key: Of the object, without its bucket; empty for a listing.
        query: Of the URL.
    """

    method: str
    key: str
    query: str

    @property
    def is_listing(self) -> bool:
        return self.method == "GET" and "list-type" in self.query


@dataclass
class Trouble:
    """What happens to the `nth` request of a kind, and to as many as `times` from there on.

    Attributes:
        what: A status, a number of seconds that its answer waits (float), or one of the words above.
        method: Of HTTP, a regular expression.
        key: Found in the object's key; of a listing, in its query.
        nth: From 1.
        times: How many.
        n_seen: Requests of the kind so far.
        n_met: Those that it happened to.
    """

    what: int | float | str
    method: str
    key: str
    nth: int
    times: float
    n_seen: int = 0
    n_met: int = 0

    def meets(self, request: Request) -> bool:
        told = request.query if request.is_listing else request.key
        if not re.fullmatch(self.method, request.method) or not re.search(self.key, told):
            return False
        self.n_seen += 1
        if not self.nth <= self.n_seen < self.nth + self.times:
            return False
        self.n_met += 1
        return True


class ObjectStoreServer:
    """The server; one per process is enough, since each test has a bucket of its own."""

    def __init__(self):
        from moto.moto_server.werkzeug_app import (
            DomainDispatcherApplication,
            MotoRequestHandler,
            create_backend_app,
        )
        from werkzeug.serving import make_server

        class Quiet(MotoRequestHandler):
            def log(self, *_):
                pass

        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=Quiet)
        self._server.daemon_threads = True
        self._thread = Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self.requests: list[Request] = []
        self.troubles: list[Trouble] = []
        self._lock = Lock()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, environ, start_response):
        _, _, key = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")
        request = Request(environ["REQUEST_METHOD"], key, unquote(environ["QUERY_STRING"]))
        with self._lock:
            self.requests.append(request)
            met = [trouble.what for trouble in self.troubles if trouble.meets(request)]
        for what in met:
            if isinstance(what, float):
                time.sleep(what)
        what = next((what for what in met if not isinstance(what, float)), None)
        if isinstance(what, int):
            return _refuse(environ, start_response, what)
        if what == DROP_UPLOAD:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
            raise _dropped(environ)
        answer = self._moto(environ, start_response)
        if what == STORE_SHORT:
            bucket = unquote(environ["PATH_INFO"]).lstrip("/").partition("/")[0]
            damage(bucket, key, lambda content: content[: len(content) // 2])
        return answer if what != DROP_DOWNLOAD else _half(environ, answer)


@dataclass
class S3:
    """What a test has of the server.

    Attributes:
        server: Shared by all tests of this process.
        bucket: This test's, empty at first.
    """

    server: ObjectStoreServer
    bucket: str
    _begin: int = field(default=0, init=False)

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    @property
    def requests(self) -> list[Request]:
        """Those since the test began, or since `forget`."""
        return self.server.requests[self._begin :]

    def forget(self) -> None:
        """Count requests from here on."""
        self._begin = len(self.server.requests)

    def n_requests(self, method: str = ".*", key: str = "") -> int:
        """Count requests of a kind."""
        return sum(
            re.fullmatch(method, request.method) is not None and re.search(key, request.key) is not None
            for request in self.requests
        )

    @property
    def listings(self) -> list[Request]:
        return [request for request in self.requests if request.is_listing]

    def trouble(
        self, what: int | float | str, *, method: str = ".*", key: str = "", nth: int = 1, times: float = 1
    ) -> Trouble:
        """Let something happen to requests to come; see `Trouble`."""
        made = Trouble(what, method, key, nth, times)
        self.server.troubles.append(made)
        return made

    def calm(self) -> None:
        """Take all troubles back."""
        self.server.troubles.clear()

    @property
    def keys(self) -> list[str]:
        """All objects in the bucket, as the server itself has them."""
        return sorted(_bucket(self.bucket).keys)

    def content(self, key: str) -> bytes:
        """An object's bytes, as the server itself has them."""
        return bytes(_bucket(self.bucket).keys[key].value)

    def damage(self, key: str, change, *, knows_checksum: bool = False) -> None:
        """Change an object's bytes behind everybody's back.

        Args:
            key: Of the object.
            change: Given its bytes, returns others.
            knows_checksum: Whether the store has kept the checksum that came with the upload, as Amazon's
                does; others do not.
        """
        damage(self.bucket, key, change)
        if not knows_checksum:
            found = _bucket(self.bucket).keys[key]
            found.checksum_algorithm = found.checksum_value = None

    def reconnect(self) -> None:
        """Let the next file system be made anew, of what the environment says now."""
        from s3fs import S3FileSystem

        S3FileSystem.clear_instance_cache()

    def put(self, key: str, content: bytes) -> None:
        """Put an object, as somebody else would."""
        from moto.s3.models import s3_backends

        s3_backends["123456789012"]["aws"].put_object(self.bucket, key, content)

    def remove(self, key: str) -> None:
        """Remove an object behind everybody's back."""
        _bucket(self.bucket).keys.pop(key)


def environment(endpoint: str) -> dict[str, str]:
    """What users of an S3 server set."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # None of whoever runs the tests.
        "AWS_CONFIG_FILE": "/nowhere/config",
        "AWS_SHARED_CREDENTIALS_FILE": "/nowhere/credentials",
        "NO_PROXY": "127.0.0.1",
    }


def make_bucket(bucket: str) -> None:
    from moto.s3.models import s3_backends

    s3_backends["123456789012"]["aws"].create_bucket(bucket, "us-east-1")


def damage(bucket: str, key: str, change) -> None:
    found = _bucket(bucket).keys[key]
    found.value = change(bytes(found.value))


def _bucket(name: str):
    from moto.s3.models import s3_backends

    return s3_backends["123456789012"]["aws"].buckets[name]


def _refuse(environ, start_response, status: int):
    with suppress(OSError):  # read, since a client that is still sending would see a broken pipe instead
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    body = b"" if environ["REQUEST_METHOD"] == "HEAD" else ERROR.format(code=CODES[status]).encode()
    headers = [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))]
    start_response(f"{status} {REASONS[status]}", headers)
    return [body]


def _dropped(environ) -> ConnectionError:
    """End the connection under whoever is reading or writing."""
    import socket

    connection = environ["werkzeug.socket"]
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    return ConnectionAbortedError("injected")


def _half(environ, answer):
    """Send half of an answer whose headers promise all of it."""
    content = io.BytesIO(b"".join(answer)).getvalue()
    yield content[: len(content) // 2]
    raise _dropped(environ)
