"""The corpus pipeline on made-up packages: no network, no real corpus."""

import base64
import hashlib
import io
import json
import math
import random
import tarfile
import zipfile
from pathlib import Path

import pytest

from training.corpus.build import build_corpus
from training.corpus.documents import Document, load_documents, write_documents
from training.corpus.duplicates import SKETCH_SIZE, SketchIndex, exact_key, shingle_hashes, similarity, sketch
from training.corpus.fetch import check_licence, integrity_of, unpack
from training.corpus.manifest import INTEGRITY_ALGORITHMS, SPLITS, ManifestError, Package, load_manifest
from training.corpus.paths import is_declaration
from training.corpus.selection import (
    MAX_DECLARATION_SHARE,
    MAX_LANGUAGE_SHARE,
    MAX_LOCALE_FILES,
    MAX_PACKAGE_SHARE,
    byte_size,
    common_limit,
    limit_declarations,
    limit_languages,
    limit_locales,
    limit_packages,
    limit_tests,
    one_form_a_module,
    package_byte_limit,
)
from training.corpus.statistics import describe
from training.pretrain import data
from training.tests.made_up import readable_code

REGISTRIES = tuple(INTEGRITY_ALGORITHMS)


def package(
    name: str, split: str = "train", licence: str = "MIT", integrity: str = "sha512-", registry="npm"
) -> Package:
    return Package(name, "1.0.0", licence, integrity, split, registry)


def statement_of(described: Package) -> dict[str, str]:
    """The file in which a package states its licence; in npm's case too short for the corpus."""
    if described.registry == "npm":
        return {"package.json": json.dumps({"license": described.licence})}
    return {f"{described.name}-1.0.0.dist-info/METADATA": f"License-Expression: {described.licence}\n\n"}


def write_package(folder: Path, described: Package, files: dict[str, str]) -> None:
    root = folder / described.folder
    for path, text in {**statement_of(described), **files}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(text.encode("utf-8"))


# Duplicates


def test_texts_that_differ_in_white_space_only_are_exact_duplicates():
    code = readable_code(6)
    assert exact_key(code) == exact_key(code.replace("  ", "\t").replace("\n", "\n\n"))
    assert exact_key(code) != exact_key(code + ";")


def test_similarity_is_one_for_equal_and_near_zero_for_unrelated_texts():
    a, b = sketch(readable_code(7)), sketch("A text about something else, with no line in common with the code.")
    assert similarity(a, a) == 1.0
    assert similarity(a, b) < 0.05


def test_similarity_estimates_the_jaccard_index():
    draw = random.Random(8)
    common, only_a, only_b = ("".join(draw.choices("abcdefghijklmnop", k=n)) for n in (20_000, 5_000, 5_000))
    # 20,000 shared of 30,000 shingles; 0.12 is about three standard errors of a sketch of 128.
    assert similarity(sketch(common + only_a), sketch(common + only_b)) == pytest.approx(2 / 3, abs=0.12)


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17])
def test_texts_about_as_short_as_a_shingle_have_a_sketch(length):
    assert len(sketch("x" * length)) == 1
    assert similarity(sketch("x" * length), sketch("x" * length)) == 1.0


def test_a_sketch_is_the_smallest_of_all_hashes():
    for text in (readable_code(9, functions=200), "ab" * 3_000, readable_code(10)):
        assert sketch(text).tolist() == sorted(set(shingle_hashes(text).tolist()))[:SKETCH_SIZE]


def test_the_index_finds_an_edited_copy_and_nothing_else():
    index = SketchIndex()
    for seed in range(20):
        index.add(sketch(readable_code(seed)))
    edited = readable_code(11).replace("return", "yield", 2)
    assert index.best_similarity(sketch(edited)) > 0.9
    assert index.best_similarity(sketch(readable_code(99))) < 0.5


# Selection


def test_source_wins_over_what_was_compiled_from_it():
    paths = ["dist/cjs/a.js", "dist/esm/a.js", "dist/esm/a.d.ts", "src/a.ts", "dist/only-built.js", "README.md"]
    assert one_form_a_module(paths) == ["README.md", "dist/only-built.js", "src/a.ts"]


def test_es_modules_win_over_commonjs():
    assert one_form_a_module(["cjs/a.js", "esm/a.js", "lib/b.cjs", "lib/b.mjs"]) == ["esm/a.js", "lib/b.mjs"]


def test_one_declaration_of_javascript_is_kept_beside_it():
    assert one_form_a_module(["lib/a.js", "lib/a.d.ts", "types/a.d.ts"]) == ["lib/a.d.ts", "lib/a.js"]


def test_modules_of_one_name_in_different_folders_are_different():
    assert len(one_form_a_module(["src/a/index.ts", "src/b/index.ts", "src/index.ts"])) == 3


def test_locale_tables_are_limited_and_the_choice_is_stable():
    documents = [Document("p", f"locales/{number}.js", "javascript", "x") for number in range(30)]
    documents.append(Document("p", "lib/a.js", "javascript", "x"))
    kept, dropped = limit_locales(documents)
    assert len(kept) == MAX_LOCALE_FILES + 1
    assert len(dropped) == 30 - MAX_LOCALE_FILES
    again, _ = limit_locales(documents[::-1])
    assert sorted(d.path for d in again) == sorted(d.path for d in kept)


def test_declarations_are_at_most_their_share():
    documents = [Document("p", f"{n}.js", "javascript", "x" * 100) for n in range(20)]
    documents += [Document("p", f"{n}.d.ts", "typescript", "x" * 100) for n in range(20)]
    kept, dropped = limit_declarations(documents)
    declared = sum(byte_size(d) for d in kept if is_declaration(d.path))
    assert len(kept) + len(dropped) == 40
    assert 0 < declared <= MAX_DECLARATION_SHARE * sum(map(byte_size, kept))


def test_tests_are_at_most_their_share_of_the_python():
    documents = [Document("p", f"p/{n}.py", "python", "x" * 100) for n in range(20)]
    documents += [Document("p", f"tests/{n}.py", "python", "x" * 100) for n in range(20)]
    documents += [Document("p", "tests/a.js", "javascript", "x" * 100)]
    kept, dropped = limit_tests(documents)
    assert len(kept) + len(dropped) == 41
    assert len([d for d in kept if d.path.startswith("p/")]) == 20
    assert len([d for d in kept if d.path.startswith("tests/")]) == 5 + 1


@pytest.mark.parametrize(
    ("sizes", "budget", "limit"),
    [([], 10, math.inf), ([1, 2, 3], 6, math.inf), ([1, 2, 3], 5, 2), ([4, 4], 6, 3), ([1, 100, 100], 21, 10)],
)
def test_the_common_limit_uses_up_the_budget(sizes, budget, limit):
    assert common_limit(sizes, budget) == limit
    assert sum(min(size, limit) for size in sizes) == min(budget, sum(sizes))


def test_languages_beside_code_keep_to_their_share_and_small_packages_stay_whole():
    documents = [Document("code", f"{n}.js", "javascript", "x" * 100) for n in range(1_000)]
    documents += [Document("big", f"{n}.css", "css", "x" * 10) for n in range(1_000)]
    documents += [Document("small", "0.css", "css", "x" * 10)]
    kept, dropped = limit_languages(documents)
    css = [d for d in kept if d.language == "css"]
    assert len([d for d in kept if d.language == "javascript"]) == 1_000
    assert "small" in {d.package for d in css}
    assert {d.package for d in dropped} == {"big"}
    share = MAX_LANGUAGE_SHARE["css"] / (1 - sum(MAX_LANGUAGE_SHARE.values())) * 100_000
    assert share - 10 < sum(map(byte_size, css)) <= share


def test_no_package_exceeds_its_share_after_the_cut():
    documents = [Document(f"small-{n}", "a.js", "javascript", "x" * 100) for n in range(100)]
    documents += [Document("big", f"{n}.js", "javascript", "x" * 50) for n in range(1_000)]
    kept, dropped = limit_packages(documents)
    big = sum(byte_size(d) for d in kept if d.package == "big")
    assert {d.package for d in dropped} == {"big"}
    assert 0.8 * MAX_PACKAGE_SHARE < big / sum(map(byte_size, kept)) <= MAX_PACKAGE_SHARE


def test_a_corpus_of_few_packages_is_not_cut():
    assert package_byte_limit([10, 1_000]) == 1_010
    assert package_byte_limit([]) == 0


# Manifest and packages


def test_the_manifest_is_valid_and_splits_by_package():
    packages = load_manifest()
    names = {
        (registry, split): {p.name for p in packages if (p.registry, p.split) == (registry, split)}
        for registry in REGISTRIES
        for split in SPLITS
    }
    for registry in REGISTRIES:
        assert len(names[registry, "train"]) >= 80
        assert len(names[registry, "validation"]) >= 5
        assert len(names[registry, "test"]) >= 6
    assert sum(map(len, names.values())) == len({p.name for p in packages})
    # Scores of earlier models are comparable only on the packages that they were measured on.
    assert names["npm", "validation"] >= {"@tanstack/query-core", "express", "kafkajs", "knex", "zod"}
    assert names["npm", "test"] >= {"@reduxjs/toolkit", "ajv", "fastify", "koa", "mysql2"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"licence": "GPL-3.0"}, r"GPL-3\.0"),
        ({"split": "holdout"}, "holdout"),
        ({"integrity": "sha1-abc"}, "sha512"),
        ({"registry": "pypi"}, "sha256"),
        ({"registry": "cran"}, "cran"),
    ],
)
def test_a_manifest_with_an_unknown_value_is_refused(tmp_path, change, message):
    entry = {"name": "a", "version": "1.0.0", "licence": "MIT", "integrity": "sha512-x", "split": "train", **change}
    (tmp_path / "manifest.json").write_text(json.dumps({"packages": [entry]}))
    with pytest.raises(ManifestError, match=message):
        load_manifest(tmp_path / "manifest.json")


def test_a_manifest_that_lists_a_package_twice_is_refused(tmp_path):
    entry = {"name": "a", "version": "1.0.0", "licence": "MIT", "integrity": "sha512-x", "split": "train"}
    (tmp_path / "manifest.json").write_text(json.dumps({"packages": [entry, {**entry, "split": "test"}]}))
    with pytest.raises(ManifestError, match="twice"):
        load_manifest(tmp_path / "manifest.json")


def test_a_package_with_another_licence_than_the_manifest_is_refused(tmp_path):
    write_package(tmp_path, package("a", licence="GPL-3.0"), {})
    with pytest.raises(ManifestError, match=r"GPL-3\.0"):
        check_licence(package("a"), tmp_path / "a-1.0.0")


def make_tarball(path: Path, files: dict[str, str]) -> str:
    with tarfile.open(path, "w:gz") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text.encode()))
    return "sha512-" + base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def test_a_tarball_is_unpacked_when_its_checksum_is_right(tmp_path):
    integrity = make_tarball(tmp_path / "a.tgz", {"package/package.json": '{"license": "MIT"}', "package/a.js": "a();"})
    unpack(package("a", integrity=integrity), tmp_path / "a.tgz", tmp_path / "a-1.0.0")
    assert (tmp_path / "a-1.0.0" / "a.js").read_text() == "a();"


def test_a_tarball_with_another_checksum_is_refused_before_it_is_unpacked(tmp_path):
    make_tarball(tmp_path / "a.tgz", {"package/package.json": '{"license": "MIT"}'})
    with pytest.raises(ManifestError, match="expected sha512-other"):
        unpack(package("a", integrity="sha512-other"), tmp_path / "a.tgz", tmp_path / "a-1.0.0")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_a_tarball_that_writes_outside_its_folder_is_refused(tmp_path):
    integrity = make_tarball(tmp_path / "a.tgz", {"../../outside.js": "a();"})
    with pytest.raises(tarfile.OutsideDestinationError):
        unpack(package("a", integrity=integrity), tmp_path / "a.tgz", tmp_path / "a-1.0.0")


def make_wheel(path: Path, files: dict[str, str], metadata: str = "License-Expression: MIT\n\n") -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {"a-1.0.0.dist-info/METADATA": metadata, **files}.items():
            archive.writestr(name, text)
    return integrity_of(path, "pypi")


def test_a_wheel_is_unpacked_when_its_checksum_and_licence_are_right(tmp_path):
    integrity = make_wheel(tmp_path / "a.whl", {"a/b.py": "b()\n"})
    assert integrity.startswith("sha256-")
    unpack(package("a", integrity=integrity, registry="pypi"), tmp_path / "a.whl", tmp_path / "a-1.0.0")
    assert (tmp_path / "a-1.0.0" / "a" / "b.py").read_text() == "b()\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a-1.0.0", "a.whl"]


@pytest.mark.parametrize("metadata", ["License-Expression: GPL-3.0-only\n\n", "License-File: LICENSE\n\n"])
def test_a_wheel_that_states_another_licence_or_none_is_refused(tmp_path, metadata):
    integrity = make_wheel(tmp_path / "a.whl", {}, metadata)
    with pytest.raises(ManifestError, match="METADATA says"):
        unpack(package("a", integrity=integrity, registry="pypi"), tmp_path / "a.whl", tmp_path / "a-1.0.0")
    assert not (tmp_path / "a-1.0.0").exists()


@pytest.mark.parametrize("path", ["../outside.py", "/outside.py", "a/../../outside.py"])
def test_a_wheel_that_writes_outside_its_folder_is_refused(tmp_path, path):
    integrity = make_wheel(tmp_path / "a.whl", {path: "a()"})
    with pytest.raises(ManifestError, match="leads outside"):
        unpack(package("a", integrity=integrity, registry="pypi"), tmp_path / "a.whl", tmp_path / "a-1.0.0")


# The whole pipeline


def test_the_split_is_by_package_and_held_out_copies_of_train_are_dropped(tmp_path):
    train, validation = package("train-package"), package("@scope/held-out", "validation")
    shared = readable_code(20)
    write_package(tmp_path, train, {"src/b.js": shared, "src/a.js": readable_code(21), "src/copy.js": shared})
    write_package(
        tmp_path, validation, {"lib/copied.js": shared.replace("return", "yield", 2), "lib/own.js": readable_code(22)}
    )
    corpus = build_corpus([train, validation], tmp_path)
    assert [(d.package, d.path) for d in corpus.splits["train"]] == [
        ("train-package", "src/a.js"),
        ("train-package", "src/b.js"),
    ]
    assert [(d.package, d.path) for d in corpus.splits["validation"]] == [("@scope/held-out", "lib/own.js")]
    assert corpus.splits["test"] == []
    assert corpus.removed["train"]["exact duplicate"] == 1
    assert corpus.removed["validation"]["near duplicate of another split"] == 1


def test_every_refused_file_is_counted_under_its_reason(tmp_path):
    described = package("p")
    files = {
        "src/good.ts": readable_code(30),
        "src/short.ts": "export {};\n",
        "dist/good.js": readable_code(30),
        "vendor/x.js": readable_code(31),
        "src/binary.js": readable_code(32) + "\0",
        "src/generated.js": "// @generated\n" + readable_code(33),
        "data.json": "{}",
        "package-lock.json": "{}",
    }
    write_package(tmp_path, described, files)
    corpus = build_corpus([described], tmp_path)
    assert [d.path for d in corpus.splits["train"]] == ["src/good.ts"]
    assert +corpus.removed["train"] == {
        "short": 3,  # data.json and package.json among them
        "lock file": 1,
        "other form of a module": 1,
        "vendored": 1,
        "not text": 1,
        "generated": 1,
    }


def test_the_languages_beside_code_are_read_from_both_registries(tmp_path):
    npm, pypi = package("n", "validation"), package("p", "test", registry="pypi")
    web = {"a.css": readable_code(40), "a.html": readable_code(41), "a.yml": readable_code(42)}
    write_package(tmp_path, npm, {**web, "bin/a": "#!/bin/sh\n" + readable_code(43)})
    write_package(tmp_path, pypi, {"p/a.py": readable_code(44), "p/_vendor/b.py": readable_code(45)})
    corpus = build_corpus([npm, pypi], tmp_path)
    assert [(d.path, d.language) for d in corpus.splits["validation"]] == [
        ("a.css", "css"),
        ("a.html", "html"),
        ("a.yml", "yaml"),
        ("bin/a", "shell"),
    ]
    assert [(d.package, d.path, d.language) for d in corpus.splits["test"]] == [("p", "p/a.py", "python")]


def test_texts_of_some_languages_are_selected_by_package(monkeypatch):
    documents = [
        Document("a", "a.js", "javascript", "1"),
        Document("a", "a.py", "python", "2"),
        Document("b", "b.js", "javascript", "3"),
        Document("c", "c.py", "python", "4"),
        Document("c", "d.py", "python", "5"),
    ]
    monkeypatch.setattr(data, "load_documents", lambda _split: documents)
    assert data.texts_by_package("train") == [["1", "2"], ["3"], ["4", "5"]]
    assert data.texts_by_package("train", {"python"}) == [["2"], ["4", "5"]]


def test_documents_are_read_back_as_they_were_written(tmp_path):
    documents = [
        Document("@a/b", "src/a.ts", "typescript", 'const a = "é\u2028😀";\n\tb();\f\n'),
        Document("c", "README.md", "markdown", "# C\n"),
    ]
    write_documents(documents, "test", tmp_path)
    first = (tmp_path / "test.jsonl.zst").read_bytes()
    assert load_documents("test", tmp_path) == documents
    write_documents(documents, "test", tmp_path)
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("test.jsonl.zst", first)]


def test_a_missing_corpus_says_how_to_build_it(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"training\.corpus\.build"):
        load_documents("train", tmp_path)


def test_statistics_count_documents_characters_bytes_and_tokens_by_language():
    documents = [Document("a", "a.js", "javascript", "é\n"), Document("b", "b.md", "markdown", "text\n")]
    statistics = describe({"train": documents}, {"train": {"short": 3}}, {"train": [2, 1]})
    assert statistics["splits"]["train"] == {
        "documents": 2,
        "characters": 7,
        "bytes": 8,
        "tokens": 3,
        "languages": {
            "javascript": {"documents": 1, "characters": 2, "bytes": 3, "tokens": 2},
            "markdown": {"documents": 1, "characters": 5, "bytes": 5, "tokens": 1},
        },
    }
    assert statistics["packages"]["train"] == {"b": 5, "a": 3}
    assert statistics["removed"]["train"] == {"short": 3}
