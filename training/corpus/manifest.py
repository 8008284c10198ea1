"""The list of packages the corpus is made of: exact version, licence, integrity and split of each.

The split is by package, never by file, so that validation and test text comes from projects the model has not seen.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

MANIFEST_PATH = Path(__file__).with_name("manifest.json")

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)

# Licences that ask for nothing but (at most) attribution.
PERMISSIVE_LICENCES = frozenset({"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT"})


class ManifestError(ValueError):
    """The manifest, or a package that was fetched by it, is not what it must be."""


@dataclass(frozen=True)
class Package:
    """One npm package. `integrity` is the subresource-integrity string of its tarball ("sha512-<base64>")."""

    name: str
    version: str
    licence: str
    integrity: str
    split: Split

    @property
    def folder(self) -> str:
        """A folder name that is unique for the package and version: '@babel/core' 7.1.0 -> 'babel-core-7.1.0'."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}"


def load_manifest(path: Path = MANIFEST_PATH) -> list[Package]:
    """Packages in manifest order. Raises ManifestError on an unknown split or licence and on a package listed twice."""
    packages = [Package(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))["packages"]]
    names: set[str] = set()
    for package in packages:
        if package.name in names:
            raise ManifestError(f"{package.name} is listed twice")
        if package.licence not in PERMISSIVE_LICENCES:
            raise ManifestError(
                f"{package.name}: licence {package.licence} is not one of {sorted(PERMISSIVE_LICENCES)}"
            )
        if package.split not in SPLITS:
            raise ManifestError(f"{package.name}: split {package.split!r} is not one of {SPLITS}")
        if not package.integrity.startswith("sha512-"):
            raise ManifestError(f"{package.name}: integrity must be a sha512 string, is {package.integrity!r}")
        names.add(package.name)
    return packages
