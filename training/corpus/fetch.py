"""Fetches the packages of the manifest with the `npm` client and unpacks them. No install script is ever run.

`npm pack` downloads the published tarball of exactly one package, without its dependencies.
"""

import base64
import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from training.corpus.manifest import ManifestError, Package

PACKAGES_PER_CALL = 12  # few enough for one call to show progress, enough to hide the start-up time of npm


def integrity_of(tarball: Path) -> str:
    """Subresource-integrity string of a file, as the registry states it: 'sha512-<base64>'."""
    return "sha512-" + base64.b64encode(hashlib.sha512(tarball.read_bytes()).digest()).decode("ascii")


def licence_of(folder: Path) -> str:
    """SPDX licence that the package.json of an unpacked package states ('' when it states none)."""
    licence = json.loads((folder / "package.json").read_text(encoding="utf-8-sig")).get("license", "")
    if isinstance(licence, dict):  # the deprecated form {"type": "MIT", "url": ...}
        licence = licence.get("type", "")
    return str(licence)


def check_licence(package: Package, folder: Path) -> None:
    """Raises ManifestError when the shipped package.json states another licence than the manifest."""
    shipped = licence_of(folder)
    if shipped != package.licence:
        raise ManifestError(
            f"{package.name}: manifest says {package.licence}, package.json says {shipped or 'nothing'}"
        )


def unpack(package: Package, tarball: Path, folder: Path) -> None:
    """Verifies and unpacks one tarball into `folder`. Raises ManifestError on a wrong checksum or licence."""
    found = integrity_of(tarball)
    if found != package.integrity:
        raise ManifestError(f"{package.name}: expected {package.integrity}, got {found}")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with tarfile.open(tarball) as archive:
        archive.extractall(partial, filter="data")  # refuses absolute paths, '..' and links that lead outside
    # npm tarballs have one top folder; it is 'package' by convention only.
    tops = [entry for entry in partial.iterdir() if entry.is_dir()]
    if len(tops) != 1:
        raise ManifestError(f"{package.name}: expected one top folder in the tarball, found {len(tops)}")
    check_licence(package, tops[0])
    tops[0].rename(folder)
    shutil.rmtree(partial)


def fetch_packages(packages: Sequence[Package], folder: Path) -> None:
    """Downloads and unpacks what is missing below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [package for package in packages if not (folder / package.folder).is_dir()]
    with tqdm(total=len(missing), desc="fetch", unit="package", disable=None if missing else True) as progress:
        for start in range(0, len(missing), PACKAGES_PER_CALL):
            chunk = missing[start : start + PACKAGES_PER_CALL]
            tarballs = [folder / f"{package.folder}.tgz" for package in chunk]
            wanted = [
                f"{package.name}@{package.version}"
                for package, tarball in zip(chunk, tarballs, strict=True)
                if not tarball.exists()
            ]
            if wanted:
                subprocess.run(
                    ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), *wanted],
                    check=True,
                    stdout=subprocess.DEVNULL,
                )
            for package, tarball in zip(chunk, tarballs, strict=True):
                unpack(package, tarball, folder / package.folder)
                tarball.unlink()
                progress.update()
