"""The licences that the corpus accepts, and the licence that a package states.

npm packages state an SPDX expression. Wheels state one since metadata 2.4 (`License-Expression`); older ones have free
text (`License`) and classifiers, of which "BSD License" does not say which BSD licence it is.
"""

import json
import re
from email.parser import HeaderParser
from pathlib import Path

# Licences that require at most attribution. PSF-2.0 is the licence of Python itself: attribution and a
# summary of changes. MIT-0, 0BSD and Unlicense do not ask for attribution; the last is a dedication to the public.
PERMISSIVE_LICENCES = frozenset(
    {"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "Unlicense"}
)

_BSD = frozenset({"BSD-2-Clause", "BSD-3-Clause"})
CLASSIFIERS = {
    "Apache Software License": frozenset({"Apache-2.0"}),
    "BSD License": _BSD,
    "ISC License (ISCL)": frozenset({"ISC"}),
    "MIT License": frozenset({"MIT"}),
    "MIT No Attribution License (MIT-0)": frozenset({"MIT-0"}),
    "Python Software Foundation License": frozenset({"PSF-2.0"}),
    "The Unlicense (Unlicense)": frozenset({"Unlicense"}),
}
# Free text as written, without 'the', 'licen[cs]e', 'version' and all characters except letters, digits and dots.
FREE_TEXTS = {
    "apache": frozenset({"Apache-2.0"}),
    "apache2": frozenset({"Apache-2.0"}),
    "apache2.0": frozenset({"Apache-2.0"}),
    "apachesoftware": frozenset({"Apache-2.0"}),
    "apachesoftware2.0": frozenset({"Apache-2.0"}),
    "asl2": frozenset({"Apache-2.0"}),
    "bsd": _BSD,
    "bsd2clause": frozenset({"BSD-2-Clause"}),
    "simplifiedbsd": frozenset({"BSD-2-Clause"}),
    "2clausebsd": frozenset({"BSD-2-Clause"}),
    "bsd3": frozenset({"BSD-3-Clause"}),
    "bsd3clause": frozenset({"BSD-3-Clause"}),
    "3clausebsd": frozenset({"BSD-3-Clause"}),
    "newbsd": frozenset({"BSD-3-Clause"}),
    "modifiedbsd": frozenset({"BSD-3-Clause"}),
    "isc": frozenset({"ISC"}),
    "mit": frozenset({"MIT"}),
    "expat": frozenset({"MIT"}),
    "psf": frozenset({"PSF-2.0"}),
    "psf2.0": frozenset({"PSF-2.0"}),
    "unlicense": frozenset({"Unlicense"}),
}


def is_permissive(expression: str) -> bool:
    """Whether an SPDX expression allows a permissive licence: any side of an OR, all sides of an AND.

    Expressions with brackets or exceptions (WITH) are refused: none has been needed yet.
    """
    return any(
        all(licence in PERMISSIVE_LICENCES for licence in choice.split(" AND ")) for choice in expression.split(" OR ")
    )


def npm_licences(folder: Path) -> frozenset[str]:
    """The SPDX licence that the package.json of an unpacked package states; empty when it states none."""
    licence = json.loads((folder / "package.json").read_text(encoding="utf-8-sig")).get("license", "")
    if isinstance(licence, dict):  # the deprecated form {"type": "MIT", "url": ...}
        licence = licence.get("type", "")
    return frozenset({str(licence)} if licence else ())


def metadata_licences(metadata: str) -> frozenset[str]:
    """The licences that the METADATA of a wheel may mean: one, or several where it is ambiguous.

    Free text and classifiers must agree. An unknown statement is returned unchanged, so that it matches no permissive
    licence; a classifier of a licence that is not permissive rules out all permissive ones.
    """
    fields = HeaderParser().parsestr(metadata)
    expression = fields.get("License-Expression", "").strip()
    if expression:
        return frozenset({expression})
    classifiers = [value.split(" :: ")[-1] for value in fields.get_all("Classifier", []) if value.startswith("License")]
    classifiers = [name for name in classifiers if name != "OSI Approved"]  # not a licence
    unknown = [name for name in classifiers if name not in CLASSIFIERS]
    if unknown:
        return frozenset(unknown)
    classified = frozenset().union(*(CLASSIFIERS[name] for name in classifiers))
    free = fields.get("License", "").strip()
    if "\n" in free or len(free) > 60:  # the whole licence text
        free = ""
    key = re.sub(r"\b(the|licen[cs]ed?|version|v)\b|[^a-z0-9.]|v(?=\d)", "", free.lower())
    stated = (
        frozenset({free}) if free in PERMISSIVE_LICENCES else FREE_TEXTS.get(key, frozenset({free} if free else ()))
    )
    if not stated or not classified:
        return stated | classified
    return stated & classified or frozenset({" and ".join(sorted(stated | classified))})


def wheel_licences(folder: Path) -> frozenset[str]:
    """The licences that the METADATA of an unpacked wheel may mean; empty when it states none."""
    files = sorted(folder.glob("*.dist-info/METADATA"))
    return metadata_licences(files[0].read_text(encoding="utf-8")) if files else frozenset()
