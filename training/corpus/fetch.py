"""Fetches the packages of the manifest with `npm` and `pip` and unpacks them. No code of a package is ever run.

`npm pack` downloads the published tarball of exactly one package, without its dependencies and without install scripts.
`pip download` accepts only pure-Python wheels: for a source distribution it would run the build system to get the name.
"""

import base64
import hashlib
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from training.corpus.licences import npm_licences, wheel_licences
from training.corpus.manifest import INTEGRITY_ALGORITHMS, ManifestError, Package, Registry

PACKAGES_PER_CALL = 12  # few enough for one call to show progress, enough to hide the start-up time of a client
# Wheels are chosen for this interpreter on every machine, so that `Requires-Python` does not change what is fetched.
PURE_WHEELS = ["--only-binary=:all:", "--platform=any", "--implementation=py", "--abi=none", "--python-version=3.12"]


def integrity_of(file: Path, registry: Registry = "npm") -> str:
    """Subresource-integrity string of a file with the algorithm of its registry: 'sha512-<base64>'."""
    algorithm = INTEGRITY_ALGORITHMS[registry]
    digest = hashlib.new(algorithm, file.read_bytes()).digest()
    return f"{algorithm}-{base64.b64encode(digest).decode('ascii')}"


def check_licence(package: Package, folder: Path) -> None:
    """Raises ManifestError when the package states another licence than the manifest."""
    shipped = npm_licences(folder) if package.registry == "npm" else wheel_licences(folder)
    if package.licence not in shipped:
        source = "package.json" if package.registry == "npm" else "METADATA"
        says = " or ".join(sorted(shipped)) or "nothing"
        raise ManifestError(f"{package.name}: manifest says {package.licence}, {source} says {says}")


def unpack(package: Package, file: Path, folder: Path) -> None:
    """Verifies and unpacks one tarball or wheel into `folder`. Raises ManifestError on a wrong checksum or licence."""
    found = integrity_of(file, package.registry)
    if found != package.integrity:
        raise ManifestError(f"{package.name}: expected {package.integrity}, got {found}")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    top = unpack_tarball(package, file, partial) if package.registry == "npm" else unpack_wheel(package, file, partial)
    check_licence(package, top)
    top.rename(folder)
    shutil.rmtree(partial, ignore_errors=True)


def unpack_tarball(package: Package, tarball: Path, folder: Path) -> Path:
    """The top folder of an npm tarball, unpacked below `folder`; it is called 'package' by convention only."""
    with tarfile.open(tarball) as archive:
        archive.extractall(folder, filter="data")  # refuses absolute paths, '..' and links that lead outside
    tops = [entry for entry in folder.iterdir() if entry.is_dir()]
    if len(tops) != 1:
        raise ManifestError(f"{package.name}: expected one top folder in the tarball, found {len(tops)}")
    return tops[0]


def unpack_wheel(package: Package, wheel: Path, folder: Path) -> Path:
    """Unpacks a wheel into `folder` and returns it. Raises ManifestError on a path that leads outside."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            # zipfile would not refuse such a path, but write the file to another place.
            if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
                raise ManifestError(f"{package.name}: the wheel has a path that leads outside: {name!r}")
        archive.extractall(folder)
    return folder


def fetch_packages(packages: Sequence[Package], folder: Path) -> None:
    """Downloads and unpacks the packages that are missing in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [package for package in packages if not (folder / package.folder).is_dir()]
    with tqdm(total=len(missing), desc="fetch", unit="package", disable=None if missing else True) as progress:
        for registry, download in (("npm", download_tarballs), ("pypi", download_wheels)):
            of_registry = [package for package in missing if package.registry == registry]
            for start in range(0, len(of_registry), PACKAGES_PER_CALL):
                chunk = of_registry[start : start + PACKAGES_PER_CALL]
                with tempfile.TemporaryDirectory(dir=folder, prefix=".fetch-") as target:
                    download(chunk, Path(target))
                    # Found by content: a file of that name with other content must be refused, and registries choose
                    # the names.
                    files = {integrity_of(file, registry): file for file in sorted(Path(target).iterdir())}
                    for package in chunk:
                        if package.integrity not in files:
                            raise ManifestError(f"{package.name}: no downloaded file has {package.integrity}")
                        unpack(package, files[package.integrity], folder / package.folder)
                        progress.update()


def download_tarballs(packages: Sequence[Package], folder: Path) -> None:
    """Downloads the tarballs of npm packages into `folder`."""
    wanted = [f"{package.name}@{package.version}" for package in packages]
    subprocess.run(
        ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), *wanted],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def download_wheels(packages: Sequence[Package], folder: Path) -> None:
    """Downloads the wheels of PyPI packages into `folder`; pip itself refuses a file with another checksum."""
    lines = []
    for package in packages:
        digest = base64.b64decode(package.integrity.removeprefix("sha256-")).hex()
        lines.append(f"{package.name}=={package.version} --hash=sha256:{digest}\n")
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as requirements:
        requirements.writelines(lines)
        requirements.flush()
        subprocess.run(
            [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            + ["--require-hashes", *PURE_WHEELS, "--dest", str(folder), "--requirement", requirements.name],
            check=True,
            stdout=subprocess.DEVNULL,
        )
