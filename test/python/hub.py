"""A hub for tests: the part of the Hugging Face Hub's API that downloads use, over HTTP, with storage that files in LFS are redirected to."""

import hashlib
import json
import re
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, quote, unquote, urlsplit

# Files of one page of a listing.
PAGE = 2

STORAGE_ETAG = "storage"


@dataclass
class Repo:
    """One commit of a repository, on branch main. Files whose paths are in `lfs` are redirected to the storage."""

    files: dict[str, bytes]
    lfs: frozenset[str] = frozenset()
    token: str | None = None

    @property
    def commit(self) -> str:
        return hashlib.sha1(b"".join(self.files.values())).hexdigest()

    def entry(self, path: str) -> dict[str, object]:
        content = self.files[path]
        if path not in self.lfs:
            oid = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            return {"type": "file", "path": path, "oid": oid, "size": len(content)}
        sha256 = hashlib.sha256(content).hexdigest()
        pointer = {"oid": sha256, "size": len(content), "pointerSize": 134}
        oid = hashlib.sha1(sha256.encode()).hexdigest()
        return {"type": "file", "path": path, "oid": oid, "size": len(content), "lfs": pointer, "xetHash": sha256}


@dataclass
class Hub:
    repos: dict[str, Repo] = field(default_factory=dict)
    # Method, path and range of each request.
    requests: list[str] = field(default_factory=list)
    # Server and headers of each request, names in lower case.
    headers: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    # Whether files in LFS are redirected to another address of the hub before the storage.
    hops: bool = False
    # For the next answers of the storage: bytes after which the connection is cut.
    cuts: list[int] = field(default_factory=list)
    # Bytes of files, by path: sent in place of the right ones in the next answer from the beginning.
    wrong: dict[str, bytes] = field(default_factory=dict)
    # Status and headers of files in place of their content, by path.
    refusals: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    # The same of everything in the API.
    api_refusal: tuple[int, dict[str, str]] | None = None
    # Whether answers tell their length.
    tells_length: bool = True
    # Seconds between pieces of 1 MiB.
    pause: float = 0.0
    url: str = ""

    # Another server: what is meant for the hub is not to reach it.
    storage_url: str = ""

    def start(self) -> list[ThreadingHTTPServer]:
        handler = type("Handler", (HubHandler,), {"hub": self})
        servers = [ThreadingHTTPServer(("127.0.0.1", 0), handler) for _ in range(2)]
        self.url, self.storage_url = (f"http://127.0.0.1:{server.server_port}" for server in servers)
        for server in servers:
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return servers

    def stored(self, sha256: str) -> bytes | None:
        for repo in self.repos.values():
            for path in repo.lfs:
                if hashlib.sha256(repo.files[path]).hexdigest() == sha256:
                    return repo.files[path]
        return None


class HubHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.hub.headers.append(
            (
                f"http://127.0.0.1:{self.server.server_port}",
                {name.lower(): value for name, value in self.headers.items()},
            )
        )
        self.hub.requests.append(" ".join(filter(None, [self.command, parts.path, self.headers.get("range")])))
        if stored := re.fullmatch(r"/storage/([0-9a-f]{64})", parts.path):
            # Signed addresses take no other authorization, as with S3.
            if self.headers.get("authorization"):
                return self.answer(400)
            return self.send(self.hub.stored(stored[1]) or b"", STORAGE_ETAG)
        if hop := re.fullmatch(r"/hop(/storage/[0-9a-f]{64})", parts.path):
            return self.answer(302, {"Location": self.hub.storage_url + hop[1]})
        match = re.fullmatch(r"(/api/models)?/([^/]+/[^/]+)/(revision|tree|resolve)/([^/]+)(?:/(.+))?", parts.path)
        if match is None:
            return self.answer(404)
        if match[1] and self.hub.api_refusal:
            return self.answer(*self.hub.api_refusal)
        name, action, revision, path = match[2], match[3], unquote(match[4]), unquote(match[5] or "")
        repo = self.hub.repos.get(name)
        if repo is None or (repo.token and self.headers.get("authorization") != f"Bearer {repo.token}"):
            return self.answer(401, {"X-Error-Code": "RepoNotFound"})
        if revision not in ("main", repo.commit):
            return self.answer(404, {"X-Error-Code": "RevisionNotFound"})
        if action == "revision":
            siblings = [{"rfilename": path} for path in repo.files]
            info = {"id": name, "sha": repo.commit, "private": repo.token is not None, "tags": [], "siblings": siblings}
            return self.json(info)
        if action == "tree":
            return self.tree(repo, parts.path, int(parse_qs(parts.query).get("cursor", ["0"])[0]))
        return self.resolve(repo, path)

    def tree(self, repo: Repo, path: str, start: int) -> None:
        entries = [repo.entry(name) for name in repo.files]
        more = start + PAGE < len(entries)
        link = f'<https://hub.example{path}?recursive=true&cursor={start + PAGE}>; rel="next"'
        self.json(entries[start : start + PAGE], {"Link": link} if more else {})

    def resolve(self, repo: Repo, path: str) -> None:
        if path not in repo.files:
            return self.answer(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": repo.commit})
        if refusal := self.hub.refusals.get(path):
            return self.answer(*refusal)
        entry = repo.entry(path)
        if path in self.hub.wrong and not self.headers.get("range"):
            return self.send(self.hub.wrong.pop(path), str(entry["oid"]))
        if path in repo.lfs:
            storage = f"/storage/{entry['lfs']['oid']}"
            signed = f"{self.hub.storage_url}{storage}?signature={quote('a/b')}"
            location = f"/hop{storage}" if self.hub.hops else signed
            return self.answer(302, {"Location": location, "X-Repo-Commit": repo.commit})
        return self.send(repo.files[path], str(entry["oid"]))

    def json(self, value: object, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(value).encode()
        self.answer(200, {"Content-Type": "application/json", **(headers or {})}, body)

    def send(self, content: bytes, etag: str) -> None:
        start = int((re.fullmatch(r"bytes=(\d+)-", self.headers.get("range") or "") or [0, 0])[1])
        part = content[start:]
        headers = {"ETag": f'"{etag}"', "Content-Length": str(len(part))}
        if self.headers.get("range"):
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if not self.hub.tells_length:
            del headers["Content-Length"]
            headers["Transfer-Encoding"] = "chunked"
        is_cut = etag == STORAGE_ETAG and self.hub.cuts and self.command == "GET"
        cut = self.hub.cuts.pop(0) if is_cut else None
        self.answer(206 if self.headers.get("range") else 200, headers, part if cut is None else part[:cut])
        if cut is not None:
            self.close_connection = True

    def answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        headers = headers or {}
        is_chunked = "Transfer-Encoding" in headers
        length = {} if is_chunked else {"Content-Length": str(len(body))}
        for name, value in (length | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        if not self.hub.pause:
            pieces = [body]
        else:
            pieces = [body[start : start + 2**20] for start in range(0, len(body), 2**20)]
        for piece in pieces:
            if piece and self.hub.pause:
                time.sleep(self.hub.pause)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked and piece else piece)
        if is_chunked:
            self.wfile.write(b"0\r\n\r\n")
