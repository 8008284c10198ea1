"""The check of golden vectors: it accepts the rounding of another processor, and no change of the arithmetic."""

import torch

from training.export.golden import compare_completions, compare_tensors


def made_up() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {f"layer.{index}": torch.randn(8, 64, generator=generator) for index in range(9)}


def test_a_number_at_a_rounding_boundary_may_differ():
    stored, computed = made_up(), made_up()
    for index in (6, 7, 8):
        computed[f"layer.{index}"][3, 5] += 0.1
    assert compare_tensors(stored, computed) == []


def test_another_computation_is_a_problem():
    stored, computed = made_up(), made_up()
    for tensor in computed.values():
        tensor *= 1.01
    assert compare_tensors(stored, computed) == ["0 of 9 tensors are the same"]


def test_a_tensor_that_differs_much_is_a_problem():
    stored, computed = made_up(), made_up()
    computed["layer.8"] += 0.1
    [problem] = compare_tensors(stored, computed)
    assert problem.startswith("layer.8 differs by 0.")
    assert compare_tensors(stored, {}) == ["denoiser.safetensors has other tensors"]


def completion(prefix: str, **changes: object) -> dict:
    return {"policy": "one", "prefix": prefix, "suffix": "", "ids": [1, 2], "logProbabilities": [-0.5, -1.0]} | changes


def test_completions_that_both_have_are_the_same():
    stored = [completion(prefix) for prefix in "abcde"]
    assert compare_completions(stored, [completion(prefix) for prefix in "abcxyz"]) == []
    assert compare_completions(stored, stored[:2]) == ["2 of 5 completions are there"]
    [problem] = compare_completions(stored, [*stored[:4], completion("e", ids=[1, 3])])
    assert "('one', 'e', '') differs" in problem


def test_few_log_probabilities_may_differ_and_none_by_much():
    """A sum at a rounding boundary may become another integer on another machine."""
    stored = [completion(prefix) for prefix in "abcde"]

    def changed(count: int, by: float) -> list[dict]:
        return [completion(each["prefix"], logProbabilities=[-0.5, -1.0 - by]) for each in stored[:count]]

    assert compare_completions(stored, [*changed(5, 1e-4)]) == []
    assert compare_completions(stored, [*changed(1, 1e-2), *stored[1:]]) == []
    assert compare_completions(stored, [*changed(2, 1e-2), *stored[2:]]) == [
        "3 of 5 completions have the same log-probabilities"
    ]
    assert compare_completions(stored, [*changed(1, 0.1), *stored[1:]]) == [
        "the log-probabilities of ('one', 'a', '') differ"
    ]
