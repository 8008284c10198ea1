"""
The mirror as its clients meet it: huggingface_hub of today and of the 0.x line, @huggingface/hub, curl, and what llama.cpp asks, over sockets,
against a hub that misbehaves and three processes that share a store. Run: python -m pytest test/python/test_mirror.py (test/requirements.txt)
"""

import hashlib
import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import huggingface_hub
import pytest
from conftest import NODE, ROOT, self_hosted, self_hosted_process
from hub import Hub, Repo
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RemoteEntryNotFoundError
from s3 import s3_server, store_variables

MIB = 2**20
OLD_CLIENT = "huggingface_hub==0.36.2"


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def damaged(data: bytes, at: int = 5) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def behaving_hub() -> Iterator[Hub]:
    hub = Hub()
    servers = hub.start()
    yield hub
    for server in servers:
        server.shutdown()


@pytest.fixture
def hub(behaving_hub: Hub) -> Iterator[Hub]:
    """The one hub, reset after each test."""
    behaving_hub.requests.clear()
    behaving_hub.headers.clear()
    yield behaving_hub
    behaving_hub.wrong.clear()
    behaving_hub.refusals.clear()
    behaving_hub.api_refusal = None
    behaving_hub.tells_length = True
    behaving_hub.hops = False
    behaving_hub.pause = 0.0


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """A key in the form of the hub's tokens, and its line for API_KEYS."""
    ran = subprocess.run(
        [NODE, "scripts/new-key.ts", "gpu", "--hub"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    lines = ran.stdout.splitlines()
    return lines[0].split()[-1], lines[1].split()[-1]


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    with s3_server() as variables:
        yield variables


@pytest.fixture(scope="module")
def variables(worker_bundle: None, storage: dict[str, str], behaving_hub: Hub, key: tuple[str, str]) -> dict[str, str]:
    return {**storage, "API_KEYS": key[1], "HF_MIRROR_REPOS": "*", "HF_MIRROR_UPSTREAM": behaving_hub.url}


@pytest.fixture(scope="module")
def service(variables: dict[str, str]) -> Iterator[str]:
    with self_hosted(variables, ROOT / "docs", "--processes", "3") as url:
        yield url


@pytest.fixture
def options(service: str, key: tuple[str, str], tmp_path: Path) -> dict[str, object]:
    return {"endpoint": service, "token": key[0], "cache_dir": tmp_path / "cache"}


@pytest.fixture(scope="module")
def old_client(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment in which Python finds the last huggingface_hub with requests."""
    folder = tmp_path_factory.mktemp("old")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(folder), OLD_CLIENT]
    subprocess.run(install, check=True, capture_output=True)
    return {**os.environ, "PYTHONPATH": str(folder)}


def ask(service: str, key: tuple[str, str], path: str, method: str = "GET", **headers: str):
    sent = {"authorization": f"Bearer {key[0]}", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return urllib.request.urlopen(urllib.request.Request(service + path, method=method, headers=sent))


def lfs_repo(data: bytes, **files: bytes) -> Repo:
    return Repo({"model.safetensors": data, "config.json": b"{}", **files}, frozenset({"model.safetensors"}))


class TestDamage:
    """The hub sends a wrong byte once; afterwards it is right."""

    def test_should_never_be_whole_for_a_client_that_resumes(self, hub: Hub, options: dict[str, object]) -> None:
        data = content(29 * MIB, 1)
        hub.repos["damage/new"] = lfs_repo(data)
        hub.wrong["model.safetensors"] = damaged(data)
        path = huggingface_hub.hf_hub_download("damage/new", "model.safetensors", **options)
        assert sha256(Path(path).read_bytes()) == sha256(data)

    def test_should_never_be_whole_for_an_old_client(
        self, hub: Hub, options: dict[str, object], old_client: dict[str, str]
    ) -> None:
        data = content(29 * MIB, 2)
        hub.repos["damage/old"] = lfs_repo(data)
        hub.wrong["model.safetensors"] = damaged(data)
        arguments = {name: str(value) for name, value in options.items()}
        script = (
            "import huggingface_hub as h; assert h.__version__.startswith('0.'); "
            f"print(h.hf_hub_download('damage/old', 'model.safetensors', **{arguments!r}))"
        )
        for _ in range(3):
            ran = subprocess.run(
                [sys.executable, "-c", script], env=old_client, capture_output=True, text=True, check=False
            )
            # It treats a broken body as an error, and resumes in the next run.
            if ran.returncode == 0:
                break
        assert ran.returncode == 0, ran.stderr
        assert sha256(Path(ran.stdout.split()[-1]).read_bytes()) == sha256(data)

    def test_should_never_be_whole_for_curl(self, hub: Hub, service: str, key: tuple[str, str], tmp_path: Path) -> None:
        data = content(9 * MIB, 3)
        hub.repos["damage/curl"] = lfs_repo(data)
        hub.wrong["model.safetensors"] = damaged(data)
        target = tmp_path / "file"
        url = f"{service}/damage/curl/resolve/main/model.safetensors"
        header = ["-H", f"authorization: Bearer {key[0]}"]
        command = ["curl", "-sSf", "-C", "-", *header, "-o", str(target), url]
        codes = [subprocess.run(command, capture_output=True, check=False).returncode for _ in range(3)]
        assert codes[0] != 0
        # "The server does not support ranges": curl keeps to its file, and says so.
        assert all(code == 33 for code in codes[1:])
        target.unlink()
        assert subprocess.run(command, capture_output=True, check=False).returncode == 0
        assert sha256(target.read_bytes()) == sha256(data)

    def test_should_not_be_resumed_after_a_crash(
        self, hub: Hub, variables: dict[str, str], key: tuple[str, str]
    ) -> None:
        data = content(20 * MIB, 4)
        hub.repos["damage/crash"] = lfs_repo(data)
        hub.wrong["model.safetensors"] = damaged(data)
        hub.pause = 0.4
        path = "/damage/crash/resolve/main/model.safetensors"
        with self_hosted_process(variables, ROOT / "docs") as (url, server), ask(url, key, path) as response:
            head = response.read(5 * MIB)
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            server.kill()
            for child in children:
                os.kill(int(child), signal.SIGKILL)
        hub.pause = 0
        assert head != data[: len(head)]
        with self_hosted(variables, ROOT / "docs") as url:
            # The first one after the crash may break off; no answer with 206 may complete the wrong beginning.
            for _ in range(3):
                try:
                    with ask(url, key, path, range=f"bytes={len(head)}-") as response:
                        body = response.read()
                        status = response.status
                except (http.client.IncompleteRead, urllib.error.HTTPError):
                    continue
                assert len(body) < len(data) - len(head) or (status == 200 and body == data)
            assert (status, sha256(body)) == (200, sha256(data))


class TestRefusals:
    @pytest.mark.parametrize(
        ("refusal", "raised", "status"),
        [
            ((403, {"X-Error-Code": "GatedRepo"}), GatedRepoError, 403),
            ((401, {"X-Error-Code": "GatedRepo"}), GatedRepoError, 403),
            ((404, {"X-Error-Code": "EntryNotFound"}), RemoteEntryNotFoundError, 404),
            ((503, {}), HfHubHTTPError, 503),
        ],
    )
    def test_should_be_those_of_the_hub(
        self, hub: Hub, options: dict[str, object], refusal: tuple, raised: type, status: int
    ) -> None:
        name = f"refused/{random.getrandbits(40):x}"
        hub.repos[name] = lfs_repo(content(5 * MIB, random.getrandbits(20)))
        hub.refusals["model.safetensors"] = refusal
        with pytest.raises(raised) as error:
            huggingface_hub.hf_hub_download(name, "model.safetensors", **options)
        assert error.value.response.status_code == status

    def test_should_send_the_wait_and_not_ask_the_hub_before_it_is_over(
        self, hub: Hub, service: str, key: tuple[str, str]
    ) -> None:
        hub.repos["limited/file"] = lfs_repo(content(5 * MIB, 6))
        ask(service, key, "/api/models/limited/file").read()
        limit = (429, {"Retry-After": "7"})
        hub.refusals["model.safetensors"] = limit
        hub.requests.clear()
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(service, key, "/limited/file/resolve/main/model.safetensors")
        assert (raised.value.code, raised.value.headers["retry-after"]) == (429, "7")
        assert len(hub.requests) == 1
        hub.api_refusal = limit
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(service, key, "/api/models/limited/other")
        assert (raised.value.code, raised.value.headers["retry-after"]) == (429, "7")
        assert len(hub.requests) == 2

    def test_should_say_that_the_hub_is_down(self, hub: Hub, service: str, key: tuple[str, str]) -> None:
        hub.api_refusal = (503, {})
        with pytest.raises(urllib.error.HTTPError) as raised:
            ask(service, key, "/api/models/down/tiny")
        assert raised.value.code == 503

    def test_should_be_the_fault_of_the_hub_where_it_sends_a_page_for_a_file(
        self, hub: Hub, options: dict[str, object]
    ) -> None:
        data = content(5 * MIB, 16)
        hub.repos["page/tiny"] = lfs_repo(data)
        hub.wrong["config.json"] = b"<html>Sign in</html>"
        with pytest.raises(HfHubHTTPError, match="does not send this file as it lists it") as error:
            huggingface_hub.hf_hub_download("page/tiny", "config.json", **options)
        assert error.value.response.status_code == 502
        assert Path(huggingface_hub.hf_hub_download("page/tiny", "config.json", **options)).read_bytes() == b"{}"


def test_tokens_should_reach_the_hub_alone_through_its_redirects(
    hub: Hub, variables: dict[str, str], key: tuple[str, str]
) -> None:
    data = content(5 * MIB, 15)
    hub.repos["private/tiny"] = Repo({"model.safetensors": data}, frozenset({"model.safetensors"}), token="hf_upstream")
    hub.hops = True
    with self_hosted({**variables, "HF_MIRROR_TOKEN": "hf_upstream"}, ROOT / "docs") as url:
        path = "/private/tiny/resolve/main/model.safetensors"
        assert ask(url, key, path, cookie="session=1").read() == data
    # The listing in two requests; the file, which the hub redirects to itself and then to its storage.
    assert [server for server, _ in hub.headers] == [*[hub.url] * 4, hub.storage_url]
    sent = [(server, headers.get("authorization")) for server, headers in hub.headers]
    assert set(sent) == {(hub.url, "Bearer hf_upstream"), (hub.storage_url, None)}
    assert not any("cookie" in headers or key[0] in str(headers) for _, headers in hub.headers)


class TestRepositories:
    def test_should_be_downloaded_from_a_hub_that_sends_no_lengths(self, hub: Hub, options: dict[str, object]) -> None:
        data = content(5 * MIB, 7)
        hub.repos["chunked/tiny"] = lfs_repo(data)
        hub.tells_length = False
        folder = Path(huggingface_hub.snapshot_download("chunked/tiny", **options))
        assert (folder / "model.safetensors").read_bytes() == data
        assert (folder / "config.json").read_bytes() == b"{}"

    def test_should_be_downloaded_next_to_files_with_unusual_names(self, hub: Hub, options: dict[str, object]) -> None:
        odd = {
            "runs/2024-05-01T12:30:00/events.out": b"events",
            "C1_or_C2?_100%_#é.txt": b"premise",
            "a\\b.txt": b"left out",
        }
        hub.repos["odd/names"] = lfs_repo(content(100, 8), **odd)
        folder = Path(huggingface_hub.snapshot_download("odd/names", **options))
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        del odd["a\\b.txt"]
        assert found == {"model.safetensors": content(100, 8), "config.json": b"{}", **odd}

    def test_should_list_paths_and_references_for_python(self, hub: Hub, options: dict[str, object]) -> None:
        hub.repos["told/paths"] = lfs_repo(content(100, 9))
        api = huggingface_hub.HfApi(endpoint=str(options["endpoint"]), token=str(options["token"]))
        infos = api.get_paths_info("told/paths", ["config.json", "none"], expand=True)
        assert [(info.path, info.size) for info in infos] == [("config.json", 2)]
        [branch] = api.list_repo_refs("told/paths").branches
        assert (branch.name, branch.target_commit) == ("main", hub.repos["told/paths"].commit)

    def test_should_answer_what_llama_cpp_asks(self, hub: Hub, service: str, key: tuple[str, str]) -> None:
        data = content(5 * MIB, 10)
        repo = hub.repos["llama/tiny"] = lfs_repo(data)
        refs = json.load(ask(service, key, "/api/models/llama/tiny/refs"))
        [commit] = [branch["targetCommit"] for branch in refs["branches"] if branch["name"] == "main"]
        assert commit == repo.commit
        tree = json.load(ask(service, key, f"/api/models/llama/tiny/tree/{commit}?recursive=true"))
        assert [entry["path"] for entry in tree if entry["type"] == "file"] == list(repo.files)
        address = f"/llama/tiny/resolve/{commit}/model.safetensors"
        with ask(service, key, address, "HEAD") as response:
            assert response.headers["content-length"] == str(len(data))
        with ask(service, key, address, "HEAD", range="bytes=5-") as response:
            assert response.status == 200
        assert not any("resolve" in request for request in hub.requests)
        assert ask(service, key, address).read() == data

    def test_should_be_downloaded_by_the_client_in_javascript(
        self, hub: Hub, service: str, key: tuple[str, str], tmp_path: Path
    ) -> None:
        data = content(5 * MIB, 11)
        hub.repos["js/tiny"] = lfs_repo(data, **{"empty.txt": b""})
        script = str(ROOT / "test/python/hub_client.mjs")
        command = [NODE, script, service, key[0], "js/tiny", str(tmp_path)]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        assert json.loads(ran.stdout) == {
            "listed": ["model.safetensors", "config.json", "empty.txt"],
            "sizes": {"config.json": 2, "model.safetensors": len(data)},
            "exists": True,
            "none": False,
            "sha256": sha256(data),
            "slice": True,
            "pointer": f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256(data)}\nsize {len(data)}\n",
            "empty": 0,
            "cached": sha256(data),
            "snapshot": sha256(data),
        }


def test_one_pull_should_be_enough_for_all_processes(hub: Hub, service: str, key: tuple[str, str]) -> None:
    data = content(24 * MIB, 12)
    hub.repos["many/readers"] = lfs_repo(data)
    hub.pause = 0.05
    path = "/many/readers/resolve/main/model.safetensors"
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: ask(service, key, path, connection="close").read(), range(8)))
    assert {sha256(data) for data in read} == {sha256(data)}
    assert len([request for request in hub.requests if "/storage/" in request]) == 1


def test_a_download_should_be_finished_after_sigterm(hub: Hub, variables: dict[str, str], key: tuple[str, str]) -> None:
    data = content(24 * MIB, 13)
    hub.repos["last/words"] = lfs_repo(data)
    hub.pause = 0.5
    with self_hosted_process(variables, ROOT / "docs") as (url, server):
        with ask(url, key, "/last/words/resolve/main/model.safetensors") as response:
            head = response.read(MIB)
            server.terminate()
            assert sha256(head + response.read()) == sha256(data)
        assert server.wait(30) == 0


class FullStore(BaseHTTPRequestHandler):
    """An empty S3 that refuses writes."""

    protocol_version = "HTTP/1.1"
    list_answer = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        is_list = "list-type" in self.path
        self.answer(200 if is_list else 404, self.list_answer if is_list else b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.answer(507, b"<Error><Code>InsufficientStorage</Code></Error>")

    def do_DELETE(self) -> None:
        self.answer(204, b"")

    def answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def test_a_store_that_refuses_writes_should_keep_no_client_from_its_files(
    hub: Hub, variables: dict[str, str], key: tuple[str, str], tmp_path: Path
) -> None:
    full = ThreadingHTTPServer(("127.0.0.1", 0), FullStore)
    threading.Thread(target=full.serve_forever, daemon=True).start()
    data = content(9 * MIB, 14)
    hub.repos["full/store"] = lfs_repo(data)
    store = store_variables(f"http://127.0.0.1:{full.server_port}")
    try:
        with self_hosted({**variables, **store}, ROOT / "docs") as url:
            options = {"endpoint": url, "token": key[0], "cache_dir": tmp_path}
            folder = Path(huggingface_hub.snapshot_download("full/store", **options))
            assert (folder / "model.safetensors").read_bytes() == data
            with ask(url, key, "/full/store/resolve/main/model.safetensors", range="bytes=5000000-") as response:
                assert (response.status, response.read() == data) == (200, True)
    finally:
        full.shutdown()
