"""The packages of the corpus: registry, exact version, licence, integrity and split of each.

The split is by package, never by file, so that validation and test text comes from projects the model has not seen.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from training.corpus.licences import PERMISSIVE_LICENCES, is_permissive

MANIFEST_PATH = Path(__file__).with_name("manifest.json")

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
Registry = Literal["npm", "pypi"]
# The hash that each registry publishes, so that it can be compared: sha512 of tarballs, sha256 of wheels.
INTEGRITY_ALGORITHMS: dict[Registry, str] = {"npm": "sha512", "pypi": "sha256"}


class ManifestError(ValueError):
    """The manifest, or a package fetched by it, is invalid."""


@dataclass(frozen=True)
class Package:
    """One package. `integrity` is the subresource-integrity string ("sha512-<base64>") of the file the registry has.

    That file is the tarball for npm and the pure-Python wheel for PyPI.
    """

    name: str
    version: str
    licence: str
    integrity: str
    split: Split
    registry: Registry = "npm"

    @property
    def folder(self) -> str:
        """A folder name that is unique for the package and version: '@babel/core' 7.1.0 -> 'babel-core-7.1.0'."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


def load_manifest(path: Path = MANIFEST_PATH) -> list[Package]:
    """Packages in manifest order.

    Raises ManifestError on an unknown registry, split or licence and on a name listed twice, in whatever registry.
    """
    packages = [Package(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["packages"]]
    names: set[str] = set()
    for package in packages:
        if package.name in names:
            raise ManifestError(f"{package.name} is listed twice")
        if not is_permissive(package.licence):
            raise ManifestError(
                f"{package.name}: licence {package.licence} is not one of {sorted(PERMISSIVE_LICENCES)}"
            )
        if package.split not in SPLITS:
            raise ManifestError(f"{package.name}: split {package.split!r} is not one of {SPLITS}")
        if package.registry not in INTEGRITY_ALGORITHMS:
            raise ManifestError(f"{package.name}: registry {package.registry!r} is not one of npm, pypi")
        algorithm = INTEGRITY_ALGORITHMS[package.registry]
        if not package.integrity.startswith(f"{algorithm}-"):
            raise ManifestError(f"{package.name}: integrity must be a {algorithm} string, is {package.integrity!r}")
        names.add(package.name)
    return packages
