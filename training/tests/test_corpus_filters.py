"""The filters of the corpus, one by one."""

import pytest

from training.corpus import filters, paths
from training.tests.made_up import readable_code

# Paths


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a.js", "javascript"),
        ("a.mjs", "javascript"),
        ("a.jsx", "javascript"),
        ("a.d.ts", "typescript"),
        ("a.tsx", "typescript"),
        ("README.MD", "markdown"),
        ("a.py", "python"),
        ("a.json", "json"),
        (".github/workflows/a.yml", "yaml"),
        ("a.yaml", "yaml"),
        ("a.css", "css"),
        ("a.html", "html"),
        ("a.sh", "shell"),
        ("a.pyi", None),
        ("a.rst", None),
        ("LICENSE", None),
    ],
)
def test_language_is_known_by_extension(path, language):
    assert paths.language_of(path) == language


@pytest.mark.parametrize(
    ("path", "start", "language"),
    [
        ("bin/tool", b"#!/bin/sh\n", "shell"),
        ("bin/tool", b"#!/usr/bin/env bash\n", "shell"),
        ("bin/tool", b"#!/usr/bin/env node\n", None),
        ("bin/tool", b"# bash\n", None),
        ("bin/tool.txt", b"#!/bin/sh\n", None),
        ("bin/tool.js", b"#!/bin/sh\n", "javascript"),
    ],
)
def test_a_file_without_extension_is_shell_when_its_first_line_says_so(path, start, language):
    assert paths.language_of(path, start) == language


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("node_modules/a/index.js", "vendored"),
        ("src/third_party/a.js", "vendored"),
        ("lib/ThirdParty/a.js", "vendored"),
        ("examples/jsm/libs/a.js", "vendored"),
        ("CHANGELOG.md", "paperwork"),
        ("changelog/3.0/intro.md", "paperwork"),
        ("README_zh.md", "paperwork"),
        ("dist/a.min.js", "minified"),
        ("min/vs/a.js", "minified"),
        ("dist/chunk-TJKZO7EI.js", "chunk"),
        ("dist/ws-D-DF_k_T.d.cts", "chunk"),
        ("src/shaders/light.js", "shader"),
        ("src/vendorList.js", None),
        ("src/changelog.js", None),
        ("src/my-elements.js", None),
        ("README.md", None),
        ("pip/_vendor/rich/a.py", "vendored"),
        ("setuptools/_vendored/a.py", "vendored"),
        ("pkg/extern/a.py", "vendored"),
        ("dist/a.min.css", "minified"),
        ("a-1.0.dist-info/licenses/a.json", "paperwork"),
    ],
)
def test_paths_of_other_peoples_code_paperwork_and_bundles_are_refused(path, reason):
    assert paths.path_refusal(path) == reason


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("pkg/api_pb2.py", "generated"),
        ("pkg/api_pb2_grpc.py", "generated"),
        ("pkg/_version.py", "generated"),
        ("pkg/parsetab.py", "generated"),
        ("shop/migrations/0001_initial.py", "migration"),
        ("pkg/db/alembic/versions/1a2b.py", "migration"),
        ("tests/data/cases/a.py", "test data"),
        ("pkg/testing/fixtures/a.py", "test data"),
        ("pkg/conversion.py", None),
        ("pkg/migrations.py", None),
        ("pkg/data/loader.py", None),
        ("tests/test_a.py", None),
    ],
)
def test_generated_python_migrations_and_inputs_of_tests_are_refused(path, reason):
    assert paths.path_refusal(path) == reason


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("package-lock.json", "lock file"),
        ("npm-shrinkwrap.json", "lock file"),
        ("pnpm-lock.yaml", "lock file"),
        ("lib/data/cities.json", "data"),
        ("locales/de.yml", "data"),
        ("docs/index.html", "built documentation"),
        ("coverage/base.css", "built documentation"),
        ("package.json", None),
        ("block.json", None),
        ("config/unlock.yaml", None),
        ("templates/data/list.html", None),
        ("docs/conf.yaml", None),
    ],
)
def test_lock_files_data_and_built_documentation_are_refused(path, reason):
    assert paths.path_refusal(path) == reason


def test_what_is_refused_in_other_languages_stays_in_javascript():
    assert paths.path_refusal("test/fixtures/a.js") is None
    assert paths.path_refusal("docs/migrations/a.ts") is None


@pytest.mark.parametrize(
    ("path", "test"),
    [
        ("tests/a.py", True),
        ("pkg/testing/a.py", True),
        ("pkg/test_a.py", True),
        ("pkg/a_test.py", True),
        ("pkg/conftest.py", True),
        ("pkg/latest.py", False),
        ("pkg/contests/a.py", False),
        ("pkg/testclient.py", False),
    ],
)
def test_tests_are_known_by_folder_or_name(path, test):
    assert paths.is_test(path) is test


# Texts


def test_bytes_that_are_not_utf8_are_no_text():
    assert filters.decode(b'const a = "\xff";') is None


@pytest.mark.parametrize("code", [0, 7, 11, 27, 127])
def test_control_characters_are_no_text(code):
    assert filters.decode(b"const a = 1;" + bytes([code])) is None


def test_tab_and_form_feed_are_text():
    assert filters.decode(b"\ta\fb\n") == "\ta\fb\n"


def test_line_ends_become_lf_and_the_byte_order_mark_goes():
    assert filters.decode(b"\xef\xbb\xbfa\r\nb\rc\n") == "a\nb\nc\n"


def test_readable_code_is_accepted():
    assert filters.text_refusal(readable_code(1), "javascript") is None


@pytest.mark.parametrize(("size", "reason"), [(199, "short"), (200, None)])
def test_texts_below_200_bytes_are_short(size, reason):
    text = (readable_code(1)[: size - 1] + "\n").ljust(size)
    assert len(text) == size
    assert filters.text_refusal(text, "javascript") == reason


@pytest.mark.parametrize(("language", "size"), [("json", 17_000), ("yaml", 41_000), ("css", 81_000), ("html", 51_000)])
def test_configuration_and_styles_are_long_earlier(language, size):
    text = readable_code(1, functions=1_000)[:size]
    assert filters.text_refusal(text, "javascript") is None
    assert filters.text_refusal(text, language) == "long"


def test_a_short_configuration_is_whole():
    text = '{\n  "extends": "base",\n  "compilerOptions": {\n    "outDir": "dist"\n  }\n}\n'
    assert filters.text_refusal(text, "json") is None
    assert filters.text_refusal(text, "javascript") == "short"


def test_json_arrays_are_data():
    text = '[\n  {\n    "name": "one",\n    "kind": "first"\n  },\n  {\n    "name": "two"\n  }\n]\n'
    assert filters.text_refusal(text, "json") == "data"


def test_texts_above_200_kilobytes_are_long():
    text = readable_code(1, functions=2_000)
    assert len(text) > filters.MAX_BYTES
    assert filters.text_refusal(text, "javascript") == "long"


@pytest.mark.parametrize(("length", "minified"), [(filters.MAX_LINE, False), (filters.MAX_LINE + 1, True)])
def test_one_very_long_line_is_minified(length, minified):
    assert filters.is_minified(readable_code(1) + "a b " * (length // 4) + "c" * (length % 4), "javascript") is minified


def test_long_lines_throughout_are_minified():
    assert filters.is_minified(("let a = b; " * 10 + "\n") * 20, "javascript")


def test_long_lines_are_usual_in_markdown():
    assert not filters.is_minified(("Some words in one paragraph. " * 7 + "\n\n") * 20, "markdown")


def test_code_without_white_space_is_minified():
    assert filters.is_minified("var a=function(b){return(c+b)*d};\n" * 20, "javascript")


@pytest.mark.parametrize(
    "marker",
    [
        "// @generated by a tool",
        "/* DO NOT EDIT */",
        "// This file was automatically generated.",
        "// File generated from our specification",
        "//# sourceMappingURL=data:application/json;base64,AAAA",
        "/******/ (() => { // webpackBootstrap",
        "  typeof exports === 'object' && typeof module !== 'undefined' ? factory(exports) :",
    ],
)
@pytest.mark.parametrize("place", ["top", "end"])
def test_markers_of_generators_and_bundlers_are_found_at_both_ends(marker, place):
    code = readable_code(2, functions=60)
    text = f"{marker}\n{code}" if place == "top" else f"{code}\n{marker}\n"
    assert filters.text_refusal(text, "javascript") == "generated"


def test_code_that_speaks_of_generated_files_is_kept():
    code = readable_code(2, functions=60)
    assert len(code) > 2 * filters.GENERATED_WINDOW
    middle = code.index("\n", len(code) // 2) + 1
    text = f"{code[:middle]}const banner = 'DO NOT EDIT';\n{code[middle:]}"
    assert filters.text_refusal(text, "javascript") is None


@pytest.mark.parametrize(
    ("language", "line"),
    [
        ("python", "# Generated by Django 5.0 on 2024-01-01"),
        ("python", "# Code generated by a tool."),
        ("yaml", "# This was autogenerated from the schema"),
        ("css", "/* Generated with the theme builder */"),
        ("html", '<meta name="generator" content="Sphinx">'),
        ("html", "<!-- Generated by javadoc -->"),
    ],
)
def test_generators_sign_at_the_top_of_other_languages(language, line):
    assert filters.text_refusal(f"{line}\n{readable_code(2)}", language) == "generated"


def test_python_that_speaks_of_generating_is_kept():
    text = f'"""Reads what is generated by the builder."""\n{readable_code(2)}'
    assert filters.text_refusal(text, "python") is None


def test_helpers_of_compilers_mean_nothing_in_python():
    assert filters.text_refusal(readable_code(3) + "__extends = 1\n", "python") is None


def test_code_compiled_for_old_engines_is_refused():
    assert filters.text_refusal(readable_code(3) + "_classCallCheck(this, A);\n", "javascript") == "transpiled"


def test_markdown_may_name_the_helpers_of_compilers():
    assert filters.text_refusal(readable_code(3) + "The helper _classCallCheck.\n", "markdown") is None


def test_tables_of_numbers_are_refused():
    rows = "\n".join("  " + ", ".join(str(7919 * (row * 8 + k)) for k in range(8)) + "," for row in range(40))
    assert filters.text_refusal(f"export const table = [\n{rows}\n];\n", "javascript") == "table"


def test_encoded_data_is_refused():
    assert filters.text_refusal(f"{readable_code(4)}const image = '{'iVBORw0K' * 26}';\n", "javascript") == "table"


def test_repeated_lines_are_refused():
    assert filters.text_refusal("  define('same', 'line');\n" * 50, "javascript") == "table"


def test_a_licence_notice_at_the_top_is_removed():
    code = readable_code(5)
    assert filters.strip_boilerplate("/*\n * Copyright (c) Somebody\n * MIT License\n */\n\n" + code) == code
    assert filters.strip_boilerplate("// Copyright Somebody\n// MIT\n\n" + code) == code


def test_a_licence_notice_is_removed_in_every_language():
    code = readable_code(5)
    assert filters.strip_boilerplate("# Copyright Somebody\n# MIT\n\n" + code, "python") == code
    assert filters.strip_boilerplate("# Licensed under MIT\n\n" + code, "yaml") == code
    assert filters.strip_boilerplate("<!-- (c) Somebody -->\n" + code, "html") == code
    assert filters.strip_boilerplate("/* (c) Somebody */\n" + code, "css") == code


def test_shebang_and_encoding_before_a_licence_notice_stay():
    top = "#!/usr/bin/env python\n# -*- coding: utf-8 -*-\n"
    assert filters.strip_boilerplate(f"{top}#\n# Copyright Somebody\n\nimport os\n", "python") == f"{top}import os\n"


def test_a_doctype_before_a_licence_notice_stays():
    assert filters.strip_boilerplate("<!doctype html>\n<!-- licence -->\n<p>\n", "html") == "<!doctype html>\n<p>\n"


def test_the_shebang_before_a_licence_notice_stays():
    assert filters.strip_boilerplate("#!/usr/bin/env node\n/* @license MIT */\na();\n") == "#!/usr/bin/env node\na();\n"


def test_a_comment_at_the_top_that_is_no_licence_notice_stays():
    text = "/** Sorts a list. */\n" + readable_code(5)
    assert filters.strip_boilerplate(text) == text


def test_references_to_source_maps_are_removed():
    assert filters.strip_boilerplate("a();\n//# sourceMappingURL=a.js.map\n") == "a();\n"
    assert filters.strip_boilerplate("a {\n}\n/*# sourceMappingURL=a.css.map */\n", "css") == "a {\n}\n"
