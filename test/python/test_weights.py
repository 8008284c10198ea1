"""
Weights in a real S3 server (moto) and mirrored for a real client of the hub (huggingface_hub), through the self-hosted worker.
Run: python -m pytest test/python/test_weights.py (test/requirements.txt)
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import huggingface_hub
import pytest
from conftest import NODE, ROOT, self_hosted
from hub import Hub, Repo
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from s3 import BUCKET, s3_client, s3_server, s3_with_clock

MODEL_REPO = "acme/tiny"
PRIVATE_REPO = "acme/private"
MIB = 2**20


def content(size: int, seed: int) -> bytes:
    return random.Random(seed).randbytes(size)


def run(*command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE, *command], check=False, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    hub = Hub()
    files = {
        "config.json": b'{"model_type": "tiny"}',
        "tokenizer/vocab.txt": "a\nb\nü\n".encode(),
        "empty.txt": b"",
        "model.safetensors": content(10 * MIB + 123, 1),
    }
    lfs = frozenset({"model.safetensors"})
    hub.repos[MODEL_REPO] = Repo(files, lfs)
    hub.repos[PRIVATE_REPO] = Repo({"secret.bin": content(1000, 2)}, frozenset({"secret.bin"}), token="hf_upstream")
    hub.repos["other/tiny"] = Repo({"config.json": b"{}"})
    servers = hub.start()
    yield hub
    for server in servers:
        server.shutdown()


@pytest.fixture(scope="module")
def storage() -> Iterator[dict[str, str]]:
    with s3_server() as variables:
        yield variables


def s3(storage: dict[str, str]):
    return s3_client(storage["S3_ENDPOINT"])


def stored_keys(storage: dict[str, str], prefix: str) -> list[str]:
    listed = s3(storage).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [entry["Key"] for entry in listed.get("Contents", [])]


def wait_for(condition: Callable[[], bool]) -> None:
    """Raises AssertionError when it does not come about."""
    for _ in range(100):
        if condition():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come about in 10 s")


@pytest.fixture(scope="module")
def key() -> tuple[str, str]:
    """A key of the service, and its line for API_KEYS."""
    lines = run("scripts/new-key.ts", "gpu", environment={}).stdout.splitlines()
    return lines[0].split()[-1], lines[1].split()[-1]


@pytest.fixture(scope="module")
def service(worker_bundle: None, storage: dict[str, str], hub: Hub, key: tuple[str, str]) -> Iterator[str]:
    """The address of a worker without models of its own: `nano` is in S3, and the mirror fetches from the hub."""
    pushed = run("scripts/models.ts", "push", "nano", "--s3", environment=storage)
    assert pushed.returncode == 0, pushed.stderr
    variables = {
        **storage,
        "API_KEYS": key[1],
        "HF_MIRROR_REPOS": "acme/*",
        "HF_MIRROR_UPSTREAM": hub.url,
        "HF_MIRROR_TOKEN": "hf_upstream",
    }
    with self_hosted(variables, models=ROOT / "docs") as url:
        yield url


@pytest.fixture
def ask(service: str, key: tuple[str, str]) -> Callable[..., urllib.request.Request]:
    """Asks the service with the key."""

    def ask(path: str, data: bytes | None = None, **headers: str):
        headers = {
            "authorization": f"Bearer {key[0]}",
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        return urllib.request.urlopen(urllib.request.Request(service + path, data=data, headers=headers))

    return ask


class TestModelsInS3:
    def test_should_be_served_from_there(self, ask: Callable) -> None:
        body = json.dumps({"model": "nano", "prompt": "def add(a, b):\n    return ", "max_tokens": 4}).encode()
        with ask("/v1/completions", body, content_type="application/json") as response:
            assert json.load(response)["usage"]["completion_tokens"] > 0

    def test_should_be_listed_and_verified(self, service: str, storage: dict[str, str]) -> None:
        assert "nano  3" in run("scripts/models.ts", "list", "--s3", environment=storage).stdout
        verified = run("scripts/models.ts", "verify", "nano", "--s3", environment=storage)
        assert (verified.returncode, verified.stdout) == (0, "1 models are what their manifests say\n")
        assert "nano/model.safetensors" in verified.stderr

    def test_should_be_pushed_in_parts_when_large_and_found_damaged_when_they_are(
        self, storage: dict[str, str], tmp_path: Path
    ) -> None:
        files = {"config.json": b"{}", "tokenizer.json": b"{}", "model.safetensors": content(20 * MIB, 3)}
        folder = tmp_path / "large"
        folder.mkdir()
        for name, data in files.items():
            (folder / name).write_bytes(data)
        entries = [
            {"path": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
            for name, data in files.items()
        ]
        (folder / "manifest.json").write_text(json.dumps({"name": "large", "files": entries}))
        command = ["scripts/models.ts", "push", "large", "--s3", "--models", str(tmp_path)]
        assert run(*command, environment=storage).returncode == 0
        stored = s3(storage).get_object(Bucket=BUCKET, Key="large/model.safetensors")
        assert stored["ETag"].endswith('-3"')
        assert stored["Body"].read() == files["model.safetensors"]
        again = run(*command, environment=storage)
        assert again.stderr.count("is there") == len(files)

        damaged = bytearray(files["model.safetensors"])
        damaged[5] ^= 1
        s3(storage).put_object(Bucket=BUCKET, Key="large/model.safetensors", Body=bytes(damaged))
        verified = run("scripts/models.ts", "verify", "large", "--s3", environment=storage)
        assert verified.returncode == 1
        assert verified.stdout == "wrong: large/model.safetensors\n"

    def test_should_not_be_pushed_when_they_do_not_match_their_manifest(
        self, storage: dict[str, str], tmp_path: Path
    ) -> None:
        folder = tmp_path / "wrong"
        folder.mkdir()
        entries = [
            {"path": name, "size": 2, "sha256": hashlib.sha256(b"{}").hexdigest()}
            for name in ("config.json", "tokenizer.json", "model.safetensors")
        ]
        for name in ("config.json", "tokenizer.json"):
            (folder / name).write_bytes(b"{}")
        (folder / "model.safetensors").write_bytes(b"[]")
        (folder / "manifest.json").write_text(json.dumps({"name": "wrong", "files": entries}))
        pushed = run("scripts/models.ts", "push", "wrong", "--s3", "--models", str(tmp_path), environment=storage)
        assert pushed.returncode == 1
        assert "model.safetensors is damaged" in pushed.stderr
        assert stored_keys(storage, "wrong/") == ["wrong/config.json", "wrong/tokenizer.json"]


class TestAClockThatIsOff:
    @pytest.mark.parametrize("minutes", [20, -20])
    @pytest.mark.parametrize("action", [["list"], ["verify", "nano"]])
    def test_should_be_named_as_the_store_names_it(self, minutes: int, action: list[str]) -> None:
        with s3_with_clock(timedelta(minutes=minutes)) as storage:
            ran = run("scripts/models.ts", *action, "--s3", environment=storage)
        assert ran.returncode == 1
        assert "answered 403 RequestTimeTooSkewed" in ran.stderr

    def test_should_not_matter_within_what_the_store_allows(self) -> None:
        with s3_with_clock(timedelta(minutes=5)) as storage:
            ran = run("scripts/models.ts", "verify", "nano", "--s3", environment=storage)
        assert "RequestTimeTooSkewed" not in ran.stderr


class TestMirror:
    """Tests in the order of a first and a second machine; each downloads into a cache of its own."""

    @pytest.fixture
    def options(self, service: str, key: tuple[str, str], tmp_path: Path) -> dict[str, object]:
        return {"endpoint": service, "token": key[0], "cache_dir": tmp_path / "cache"}

    def test_should_fill_the_store_on_the_first_pull_through_cuts(
        self, hub: Hub, options: dict[str, object], storage: dict[str, str]
    ) -> None:
        hub.cuts[:] = [5 * MIB, 10, 0]
        folder = Path(huggingface_hub.snapshot_download(MODEL_REPO, **options))
        files = hub.repos[MODEL_REPO].files
        assert {
            str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()
        } == files
        assert folder.name == hub.repos[MODEL_REPO].commit
        assert hub.cuts == []
        pulls = [request for request in hub.requests if request.startswith("GET /storage/")]
        assert len(pulls) == 4
        assert all("bytes=" in request for request in pulls[1:])
        # The client asks for no empty file, and the index of a file follows its last byte.
        expected = len(files) - 1
        wait_for(lambda: len([name for name in stored_keys(storage, "hf/") if name.endswith("index.json")]) == expected)

    def test_should_not_touch_the_hub_on_the_second_pull(self, hub: Hub, options: dict[str, object]) -> None:
        hub.requests.clear()
        folder = Path(huggingface_hub.snapshot_download(MODEL_REPO, **options))
        assert (folder / "model.safetensors").read_bytes() == hub.repos[MODEL_REPO].files["model.safetensors"]
        assert hub.requests == []

    def test_should_be_where_hf_endpoint_points(
        self, hub: Hub, service: str, key: tuple[str, str], tmp_path: Path
    ) -> None:
        script = f"from huggingface_hub import hf_hub_download as d; print(d({MODEL_REPO!r}, 'tokenizer/vocab.txt'))"
        environment = {**os.environ, "HF_ENDPOINT": service, "HF_TOKEN": key[0], "HF_HOME": str(tmp_path)}
        ran = subprocess.run(
            [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
        )
        assert Path(ran.stdout.strip()).read_bytes() == hub.repos[MODEL_REPO].files["tokenizer/vocab.txt"]

    def test_should_go_on_where_a_client_was_cut(self, hub: Hub, ask: Callable) -> None:
        path = f"/{MODEL_REPO}/resolve/main/model.safetensors"
        with ask(path) as response:
            head = response.read(3 * MIB)
            etag = response.headers["etag"]
        with ask(path, range=f"bytes={len(head)}-", if_range=etag) as response:
            assert response.status == 206
            tail = response.read()
        assert head + tail == hub.repos[MODEL_REPO].files["model.safetensors"]

    def test_should_resume_what_the_client_library_had_begun(self, hub: Hub, options: dict[str, object]) -> None:
        from huggingface_hub.file_download import http_get

        expected = hub.repos[MODEL_REPO].files["model.safetensors"]
        target = Path(str(options["cache_dir"]))
        target.write_bytes(expected[: 6 * MIB])
        url = huggingface_hub.hf_hub_url(MODEL_REPO, "model.safetensors", endpoint=str(options["endpoint"]))
        headers = {"authorization": f"Bearer {options['token']}"}
        with target.open("ab") as file:
            http_get(url, file, resume_size=6 * MIB, headers=headers, expected_size=len(expected))
        assert target.read_bytes() == expected

    def test_should_list_the_files_of_a_repository(self, hub: Hub, options: dict[str, object]) -> None:
        api = huggingface_hub.HfApi(endpoint=str(options["endpoint"]), token=str(options["token"]))
        repo = hub.repos[MODEL_REPO]
        info = api.model_info(MODEL_REPO, files_metadata=True)
        assert info.sha == repo.commit
        assert {file.rfilename: file.size for file in info.siblings} == {
            name: len(data) for name, data in repo.files.items()
        }
        assert api.list_repo_files(MODEL_REPO, revision=repo.commit) == list(repo.files)
        assert api.file_exists(MODEL_REPO, "config.json")
        assert not api.file_exists(MODEL_REPO, "none.json")

    def test_should_have_a_private_repository_fetched_with_the_token_of_the_mirror(
        self, hub: Hub, options: dict[str, object]
    ) -> None:
        path = Path(huggingface_hub.hf_hub_download(PRIVATE_REPO, "secret.bin", **options))
        assert path.read_bytes() == hub.repos[PRIVATE_REPO].files["secret.bin"]

    @pytest.mark.parametrize("token", [False, "qs_wrong"])
    @pytest.mark.parametrize("repo", [MODEL_REPO, PRIVATE_REPO])
    def test_should_give_nothing_without_a_key(self, options: dict[str, object], repo: str, token: object) -> None:
        for download in (
            lambda: huggingface_hub.snapshot_download(repo, **{**options, "token": token}),
            lambda: huggingface_hub.hf_hub_download(repo, "config.json", **{**options, "token": token}),
        ):
            with pytest.raises((HfHubHTTPError, LocalEntryNotFoundError)) as raised:
                download()
            assert "401" in str(raised.value) or "401" in str(raised.value.__cause__)

    def test_should_raise_the_errors_of_the_hub(self, hub: Hub, options: dict[str, object]) -> None:
        def download(repo: str, file: str = "config.json", revision: str = "main") -> None:
            huggingface_hub.hf_hub_download(repo, file, revision=revision, **options)

        with pytest.raises(RemoteEntryNotFoundError):
            download(MODEL_REPO, "none.json")
        with pytest.raises(RevisionNotFoundError):
            download(MODEL_REPO, revision="none")
        with pytest.raises(RepositoryNotFoundError):
            download("acme/none")
        hub.requests.clear()
        with pytest.raises(RepositoryNotFoundError):
            download("other/tiny")
        assert hub.requests == []

    def test_should_refuse_paths_that_lead_elsewhere(self, hub: Hub, ask: Callable) -> None:
        hub.requests.clear()
        for path in (
            f"/{MODEL_REPO}/resolve/main/..%2f..%2fnano%2fconfig.json",
            f"/{MODEL_REPO}/resolve/main/%2e%2e/%2e%2e/other/tiny/resolve/main/config.json",
            f"/{MODEL_REPO}/resolve/main/tokenizer/..%5c..%5cconfig.json",
            f"/{MODEL_REPO}/resolve/..%2f..%2fmain/config.json",
            "/acme/..%2fother%2ftiny/resolve/main/config.json",
            "/acme%2f..%2fother/tiny/resolve/main/config.json",
            "/acme/tiny--x/resolve/main/config.json",
            "/api/models/acme/..%2f..%2fother/revision/main",
            f"/api/models/{MODEL_REPO}/revision/..%2f..%2f..%2fother%2ftiny",
            f"/api/models/{MODEL_REPO}/tree/main/..%2f..",
        ):
            with pytest.raises(urllib.error.HTTPError) as raised:
                ask(path)
            assert raised.value.code == 404, path
        assert hub.requests == []
