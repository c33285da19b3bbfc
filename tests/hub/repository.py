"""What a Hub keeps: repositories, their commits, and who may read and write them."""

import hashlib
from dataclasses import dataclass, field
from urllib.parse import quote

GIT_ATTRIBUTES = b"*.safetensors filter=lfs diff=lfs merge=lfs -text\n"
LARGE = (".bin", ".npy", ".onnx", ".parquet", ".pkl", ".pt", ".safetensors", ".skops", ".wav", ".zip")


@dataclass(frozen=True)
class User:
    """Whose a token is, and whether it may write."""

    name: str
    may_write: bool = True
    organisations: tuple[str, ...] = ()


@dataclass(frozen=True)
class File:
    """Bytes in a commit; large ones are named by SHA-256, small ones by git's hash of a blob."""

    content: bytes
    large: bool

    @property
    def oid(self) -> str:
        if self.large:
            return hashlib.sha256(self.content).hexdigest()
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass(frozen=True)
class Commit:
    oid: str
    title: str
    files: dict[str, File]


@dataclass
class Repository:
    """`id` is ``owner/name``, with ``datasets/`` or ``spaces/`` before it, as in the Hub's addresses."""

    id: str
    private: bool = False
    gated: bool = False
    commits: list[Commit] = field(default_factory=list)
    branches: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.commit({".gitattributes": File(GIT_ATTRIBUTES, large=False)}, "initial commit")

    @property
    def name(self) -> str:
        """``owner/name``."""
        return "/".join(self.id.split("/")[-2:])

    @property
    def owner(self) -> str:
        return self.name.split("/")[0]

    def commit(self, files: dict[str, File], title: str, branch: str = "main") -> Commit:
        parent = self.branches.get(branch, "")
        named = "".join(f"{name} {file.oid}\n" for name, file in sorted(files.items()))
        oid = hashlib.sha1(f"{parent} {len(self.commits)} {title}\n{named}".encode()).hexdigest()
        self.commits.append(Commit(oid, title, dict(sorted(files.items()))))
        self.branches[branch] = oid
        return self.commits[-1]

    def at(self, revision: str) -> Commit | None:
        oid = self.branches.get(revision) or self.tags.get(revision) or revision
        return next((commit for commit in self.commits if commit.oid == oid), None)

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """What a reader of a revision sees, without what the Hub put there itself."""
        found = self.at(revision).files
        return {name: file.content for name, file in found.items() if name != ".gitattributes"}

    def readable_by(self, user: User | None) -> bool:
        return not self.private or (user is not None and self.owner in (user.name, *user.organisations))

    def writable_by(self, user: User | None) -> bool:
        return user is not None and user.may_write and self.owner in (user.name, *user.organisations)

    def described(self, revision: str) -> dict:
        commit = self.at(revision)
        return {
            "_id": "0" * 24,
            "id": self.name,
            "modelId": self.name,
            "author": self.owner,
            "sha": commit.oid,
            "private": self.private,
            "gated": "auto" if self.gated else False,
            "disabled": False,
            "tags": [],
            "downloads": 0,
            "likes": 0,
            "createdAt": "2026-01-01T00:00:00.000Z",
            "lastModified": "2026-01-01T00:00:00.000Z",
            "siblings": [{"rfilename": name} for name in commit.files],
        }

    def tree(self, revision: str) -> list[dict]:
        return [entry(name, file) for name, file in self.at(revision).files.items()]

    def refs(self) -> dict:
        def listed(kind, refs):
            return [
                {"name": name, "ref": f"refs/{kind}/{name}", "targetCommit": oid}
                for name, oid in refs.items()
            ]

        return {
            "branches": listed("heads", self.branches),
            "tags": listed("tags", self.tags),
            "converts": [],
        }


def entry(name: str, file: File) -> dict:
    found = {"type": "file", "path": name, "size": len(file.content), "oid": file.oid}
    if file.large:
        found["lfs"] = {"oid": file.oid, "size": len(file.content), "pointerSize": 130}
        found["oid"] = hashlib.sha1(file.oid.encode()).hexdigest()  # of the pointer
    return found


def is_large(name: str, sample: bytes, n_bytes: int) -> bool:
    """The Hub goes by names, by size, and by whether git would call it binary."""
    return name.endswith(LARGE) or n_bytes > 10_000_000 or b"\0" in sample


def quoted(name: str) -> str:
    return quote(name, safe="/")
