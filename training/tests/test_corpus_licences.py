"""The licences that packages state."""

import json

import pytest

from training.corpus.licences import is_permissive, metadata_licences, npm_licences, wheel_licences


@pytest.mark.parametrize(
    ("expression", "permissive"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND BSD-3-Clause", True),
        ("MIT AND GPL-3.0-only", False),
        ("MPL-2.0", False),
        ("GPL-2.0-only WITH Classpath-exception-2.0", False),
        ("", False),
    ],
)
def test_an_expression_is_permissive_when_it_leaves_a_permissive_choice(expression, permissive):
    assert is_permissive(expression) is permissive


@pytest.mark.parametrize(
    ("fields", "licences"),
    [
        (["License-Expression: MIT OR Apache-2.0", "License: GPL"], {"MIT OR Apache-2.0"}),
        (["License: BSD-3-Clause"], {"BSD-3-Clause"}),
        (["License: The MIT License"], {"MIT"}),
        (["License: Apache License, Version 2.0"], {"Apache-2.0"}),
        (["Classifier: License :: OSI Approved :: MIT License"], {"MIT"}),
        (["Classifier: License :: OSI Approved :: BSD License"], {"BSD-2-Clause", "BSD-3-Clause"}),
        (["Classifier: License :: OSI Approved"], set()),
        (["License: BSD-2-Clause", "Classifier: License :: OSI Approved :: BSD License"], {"BSD-2-Clause"}),
        (["License: Copyright Somebody", "        and a long text"], set()),
        (["License-File: LICENSE"], set()),
        (["Classifier: Programming Language :: Python"], set()),
    ],
)
def test_metadata_says_which_licences_it_may_mean(fields, licences):
    assert metadata_licences(
        "\n".join(["Metadata-Version: 2.4", "Name: a", *fields, "", "License: of the description"])
    ) == (licences)


@pytest.mark.parametrize(
    "fields",
    [
        ["License: MIT", "Classifier: License :: OSI Approved :: Apache Software License"],
        [
            "Classifier: License :: OSI Approved :: MIT License",
            "Classifier: License :: OSI Approved :: GNU General Public License v3",
        ],
        ["License: My own licence"],
        ["License: My own licence", "Classifier: License :: OSI Approved :: MIT License"],
    ],
)
def test_statements_that_disagree_or_are_unknown_mean_nothing_permissive(fields):
    licences = metadata_licences("\n".join([*fields, "", ""]))
    assert licences
    assert not any(is_permissive(licence) for licence in licences)


def test_package_json_states_a_licence_in_the_new_and_the_old_form(tmp_path):
    for licence, expected in [("MIT", {"MIT"}), ({"type": "ISC"}, {"ISC"}), ("", set())]:
        (tmp_path / "package.json").write_text(json.dumps({"license": licence}))
        assert npm_licences(tmp_path) == expected


def test_a_wheel_without_metadata_states_none(tmp_path):
    assert wheel_licences(tmp_path) == set()
