"""Examples, scores, tables and losses of the evaluation, on a tiny model with random weights."""

import dataclasses
import json
import random
from collections import Counter

import numpy as np
import pytest
import torch

from training.evaluation import evaluate, held_out_losses, ngram
from training.evaluation.completer import Completer
from training.evaluation.held_out_losses import characters_of_tokens, even_windows, prefix_losses
from training.evaluation.infilling_tasks import LINE_TASKS, TASKS, Example, draw_examples
from training.evaluation.ngram import NgramModel
from training.evaluation.repair import (
    COUNTS,
    KINDS,
    PlantedCanvas,
    SlotPrediction,
    early_mistakes,
    predict_planted,
    repair_rates,
    wrong_token,
)
from training.evaluation.sampler import SERVICE, Context, Thresholds, canvas_logits, infill, prompt_ids
from training.evaluation.scores import Completion, compare, edit_similarity, in_words, interval, summarize
from training.export import weights as export
from training.export.model_card import ModelCardError, RunRecord, code, model_card, train_command
from training.model.config import DENOISERS, SpecialTokens
from training.model.denoiser import Denoiser
from training.model.tokenizer import train_tokenizer
from training.tests.made_up import readable_code

PACKAGES = [[readable_code(seed) for seed in (1, 2, 3)], [readable_code(4)]]
EXAMPLE = Example("function add(a, b) {\n  return ", "a + b;", "\n}\n")


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer([readable_code(seed) for seed in range(4)], 340)


@pytest.fixture(scope="module")
def special(tokenizer) -> SpecialTokens:
    return SpecialTokens.of(tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer) -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(dataclasses.replace(DENOISERS["tiny"], vocab_size=tokenizer.get_vocab_size()))
    for parameter in network.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=2 * parameter.shape[1] ** -0.5)
    return network.eval()


@pytest.fixture
def completer(model, tokenizer) -> Completer:
    return Completer(model, tokenizer, max_tokens=12)


@pytest.mark.parametrize("task", TASKS)
def test_an_example_is_a_document_cut_in_three(task):
    documents = {text for package in PACKAGES for text in package}
    for example in draw_examples(PACKAGES, task, 40, seed=1):
        assert example.prefix + example.middle + example.suffix in documents
        assert example.middle.strip()
        if task in LINE_TASKS:
            assert "\n" not in example.middle
            assert example.suffix == "" or example.suffix.startswith("\n")


def test_a_whole_line_begins_at_a_line_start_or_after_the_indentation():
    for example in draw_examples(PACKAGES, "line", 40, seed=1):
        assert example.prefix.rsplit("\n", 1)[-1].strip() == ""


def test_a_seed_gives_the_same_examples_and_another_seed_others():
    assert draw_examples(PACKAGES, "random", 10, 1) == draw_examples(PACKAGES, "random", 10, 1)
    assert draw_examples(PACKAGES, "random", 10, 1) != draw_examples(PACKAGES, "random", 10, 2)


def test_every_package_counts_the_same_however_large_it_is():
    examples = draw_examples(PACKAGES, "random", 300, seed=1)
    of_small = sum(e.prefix + e.middle + e.suffix == PACKAGES[1][0] for e in examples)
    assert 110 < of_small < 190  # 150 expected, deviation 9


def test_edit_similarity_counts_characters():
    assert edit_similarity("return a;", "return a;") == 1
    assert edit_similarity("abcd", "abxd") == 0.75
    assert edit_similarity("", "abc") == 0
    assert edit_similarity("kitten", "sitting") == pytest.approx(1 - 3 / 7)


def test_the_interval_of_a_mean_holds_it_and_narrows_with_more_values():
    few, many = np.array([0.0, 1.0] * 20), np.array([0.0, 1.0] * 500)
    for values in (few, many):
        low, high = interval(values)
        # the standard error of a mean of n fair coins is 0.5/√n; 95 % are 1.96 of them
        assert low == pytest.approx(0.5 - 0.98 / len(values) ** 0.5, rel=0.1)
        assert high == pytest.approx(0.5 + 0.98 / len(values) ** 0.5, rel=0.1)


def completion(text: str, tokens: int = 4, slots: int = 10) -> Completion:
    return Completion(text, tokens, steps=2, slot_evaluations=slots, prompt_ms=1.0, decode_ms=3.0)


def test_a_summary_divides_all_slots_by_all_tokens():
    summary = summarize([completion("a", 1, 8), completion("b", 9, 12)], ["a", "x"])
    assert summary["slot_evaluations_per_token"] == 2.0
    assert summary["exact_match"] == 0.5
    assert summary["steps"] == 2


def test_the_words_of_a_row_say_who_is_ahead():
    middles = ["a", "b", "c", "d"] * 10
    right, wrong = [completion(middle) for middle in middles], [completion("?", slots=4) for _ in middles]
    found = {"diffusion": right, "ar": wrong}
    task = {
        "systems": {system: summarize(completions, middles) for system, completions in found.items()},
        "differences": compare(found, middles),
    }
    assert in_words("exact_match", task) == "diffusion beats AR by 100.0 points [100.0, 100.0]"
    assert in_words("slot_evaluations_per_token", task) == "AR is cheaper than diffusion, 2.5 times"
    assert in_words("steps", task) == "no difference to AR"
    task["differences"] = compare({"diffusion": wrong, "ar": wrong}, middles)
    assert in_words("exact_match", task) == "no clear difference to AR (+0.0 points [0.0, 0.0])"


def test_diffusion_is_the_sampler_and_leaves_the_prompt_as_it_was(completer, model, tokenizer, special):
    prompt, thresholds = completer.prompt(EXAMPLE), Thresholds.of(model.config)
    first = completer.diffuse(prompt, "random", thresholds)
    completer.decode(prompt, "line_rest")
    second = completer.diffuse(prompt, "random", thresholds)
    streams = prompt_ids(EXAMPLE.prefix, EXAMPLE.suffix, tokenizer, special, model.config)
    expected = infill(model, special, *streams, 12, thresholds, SERVICE)
    assert first.text == second.text == tokenizer.decode(expected.ids)
    assert first.slot_evaluations == expected.slot_evaluations
    assert first.tokens == len(expected.ids) + expected.ended


def test_at_a_line_diffusion_stops_at_its_end_and_opens_no_canvas_after_it(completer, model):
    prompt, thresholds = completer.prompt(EXAMPLE), Thresholds.of(model.config)
    free = completer.diffuse(prompt, "random", thresholds)
    completer.ends_line = bool  # with any text
    stopped = completer.diffuse(prompt, "line_rest", thresholds)
    assert stopped.text
    assert free.text.startswith(stopped.text)
    assert stopped.tokens <= SERVICE.width(model.config, completer.max_tokens) < free.tokens
    completer.ends_line = lambda said: False
    assert completer.diffuse(prompt, "line_rest", thresholds).text == free.text.split("\n", 1)[0]


def test_ar_has_one_evaluation_a_token(completer):
    for task in TASKS:
        found = completer.decode(completer.prompt(EXAMPLE), task)
        assert 0 < found.tokens == found.slot_evaluations == found.steps <= 12


def test_left_to_right_decoders_know_the_length_of_a_random_span(completer, tokenizer, special):
    length = len(tokenizer.encode(EXAMPLE.middle).ids)
    prompt = completer.prompt(EXAMPLE)
    assert completer.decode(prompt, "random").tokens <= length
    stream = np.array([special.end_of_text, *tokenizer.encode("return a; " * 50).ids, special.end_of_text], np.uint16)
    model = NgramModel.build(stream, tokenizer.get_vocab_size(), special.end_of_text)
    assert completer.decode_ngram(prompt, "random", model).tokens == length


def test_left_to_right_decoders_end_at_the_line_end(completer, tokenizer, special):
    text = "  return b;\n}\n" * 50
    stream = np.array([special.end_of_text, *tokenizer.encode(text).ids, special.end_of_text], np.uint16)
    model = NgramModel.build(stream, tokenizer.get_vocab_size(), special.end_of_text)
    found = completer.decode_ngram(completer.prompt(EXAMPLE), "line_rest", model)
    assert found.text == "b;"
    assert found.decode_ms >= 0


def test_characters_of_tokens_add_up_to_the_text(tokenizer, special):
    text = "const a = 'é 🇩🇪 変数';\n\t// नमस्ते"
    counts = characters_of_tokens(tokenizer)
    assert counts[tokenizer.encode(text, add_special_tokens=False).ids].sum() == len(text)
    assert counts[special.end_of_text] == 0


def test_windows_reach_from_the_first_token_to_the_last():
    windows = even_windows(np.arange(100), 4, 10)
    assert windows[0, 0] == 0
    assert windows[-1, -1] == 99
    with pytest.raises(ValueError, match="has 100 tokens, a window needs 101"):
        even_windows(np.arange(100), 1, 101)


def test_prefix_losses_are_those_of_a_stream_read_token_by_token(model, special):
    windows = np.random.default_rng(0).integers(6, 300, size=(3, 12))
    losses = prefix_losses(model, special, windows)
    assert losses.shape == (3, 11)
    context = Context(model, 1)
    with torch.no_grad():
        context.extend([special.prefix, int(windows[1, 0])])
        for i, token in enumerate(windows[1, 1:].tolist()):
            expected = -torch.log_softmax(model.logits(context.last_hidden), -1)[token].item()
            assert losses[1, i] == pytest.approx(expected, rel=1e-3)
            context.extend([token])


def write_model(folder, model, tokenizer) -> None:
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    export.write_safetensors(folder / "model.safetensors", export.quantized_tensors(model)[0])
    (folder / "config.json").write_text(json.dumps(model.config.to_json()))
    export.write_manifest(folder)


@pytest.fixture
def corpus_of_made_up_code(monkeypatch, tokenizer, special):
    """Stands for the corpus and for the n-gram model of its train split."""

    def stream(_tokenizer, _split):
        pieces = [tokenizer.encode(text).ids for package in PACKAGES for text in package]
        return np.array([special.end_of_text, *(t for ids in pieces for t in (*ids, special.end_of_text))], np.uint16)

    built = NgramModel.build(stream(None, None), tokenizer.get_vocab_size(), special.end_of_text)
    monkeypatch.setattr(evaluate, "texts_by_package", lambda split: PACKAGES)
    monkeypatch.setattr(evaluate, "split_tokens", stream)
    monkeypatch.setattr(evaluate, "ngram_of_train", lambda path: built)
    monkeypatch.setattr(held_out_losses, "CANVAS_WINDOWS", 2)


def test_the_command_scores_every_system_and_the_card_tells_it(
    model, tokenizer, corpus_of_made_up_code, tmp_path, capsys
):
    write_model(tmp_path / "small", model, tokenizer)
    out = tmp_path / "eval.json"
    evaluate.main(
        ["--model", str(tmp_path / "small"), "--examples", "2", "--max-tokens", "8", "--out", str(out)]
    )  # fmt: skip
    result = json.loads(out.read_text())
    for task in TASKS:
        systems = result["tasks"][task]["systems"]
        assert list(systems) == ["diffusion", "ar", "ngram"]
        assert systems["diffusion"]["slot_evaluations_per_token"] >= 1
        assert systems["ar"]["slot_evaluations_per_token"] == 1
        assert "slot_evaluations_per_token" not in systems["ngram"]
    assert result["losses"]["ngram"]["prefix_per_token"] < result["losses"]["quantized"]["prefix_per_token"]
    assert "| rest of the line | exact match |" in capsys.readouterr().out

    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text(json.dumps({"minutes": 3.0, "window_slots": 16, "window_tokens": 24, "notes": ""}))
    record = {"step": 7, "tokens": 1_000_000, "minutes": 2.5, "validation": {"prefix": 4.25}}
    (run / "metrics.jsonl").write_text(json.dumps(record) + "\n")
    statistics = {
        "splits": {
            split: {
                "documents": 1,
                "characters": 20,
                "tokens": 500_000,
                "languages": {"javascript": {"tokens": 500_000}},
            }
            for split in ("train", "validation", "test")
        },
        "packages": {"train": {"a": 1}, "validation": {"b": 1}, "test": {"c": 1}},
    }
    card = model_card(tmp_path / "small", run, result, "one core", statistics, Counter({"MIT": 3}), None)
    assert card.startswith("---\nlicense: mit\n")
    assert "1.0 million tokens, 2.00 times the train split" in card
    assert "prefix 4.25" in card
    result["settings"]["model"] = "other"
    with pytest.raises(ModelCardError, match="the evaluation is of other, the model is small"):
        model_card(tmp_path / "small", run, result, "one core", statistics, Counter(), None)


def test_the_sweep_has_a_row_for_every_setting(model, tokenizer, corpus_of_made_up_code, tmp_path, capsys):
    write_model(tmp_path / "small", model, tokenizer)
    evaluate.main(["--model", str(tmp_path / "small"), "--examples", "1", "--max-tokens", "8", "--sweep"])
    printed = capsys.readouterr().out
    rows = [line for line in printed.splitlines() if line.startswith("| canvas 8")]
    assert len(rows) == 2 * len(evaluate.SWEEP_REVEAL) + 1  # and without freezing
    assert "| AR, same weights |" in printed
    assert "| any token | 1 | 1 | 0.9 |" in printed


def test_self_correction_can_be_measured_alone(model, tokenizer, corpus_of_made_up_code, tmp_path, capsys):
    write_model(tmp_path / "small", model, tokenizer)
    evaluate.main(["--model", str(tmp_path / "small"), "--examples", "1", "--planted"])
    printed = capsys.readouterr().out
    assert "| any token | 1 | 1 | 0.9 |" in printed
    assert "AR, same weights" not in printed


def test_repair_rates_count_planted_right_and_masked_tokens_apart():
    sure, doubted, believed = (
        SlotPrediction(True, 0.95, False),
        SlotPrediction(True, 0.6, False),
        SlotPrediction(False, 0.99, True),
    )
    canvases = [
        PlantedCanvas(
            [SlotPrediction(True, 0.95, True)], [believed, doubted], [SlotPrediction(True, 0.95, True)]
        ),  # set right
        PlantedCanvas([sure], [believed, believed], [SlotPrediction(True, 0.6, True)]),  # another wrong one
        PlantedCanvas(
            [SlotPrediction(True, 0.6, True)], [believed, sure], [SlotPrediction(True, 0.95, False)]
        ),  # unsure; a right one spoiled
        PlantedCanvas(
            [SlotPrediction(False, 0.99, False)], [believed, believed], [SlotPrediction(True, 0.2, True)]
        ),  # believed
    ]
    rates = repair_rates(canvases, 0.9)
    assert (rates["repaired"], rates["changed_wrongly"], rates["right_spoiled"]) == (0.25, 0.25, 0.125)
    assert repair_rates(canvases, 0.5) == {
        "threshold": 0.5,
        "canvases": 4,
        "repaired": 0.5,
        "changed_wrongly": 0.25,
        "right_spoiled": 0.25,
        "found_masked": 0.5,
    }


@pytest.mark.parametrize("kind", ["any", "plausible"])
def test_a_planted_token_is_wrong_and_not_special(kind, completer, model, special):
    prompt, rng = completer.prompt(EXAMPLE), random.Random(1)
    ids = completer.tokenizer.encode(EXAMPLE.middle).ids
    with torch.no_grad():
        for slot in range(len(ids)):
            token = wrong_token(kind, ids, slot, model, special, prompt.prefix, rng)
            assert token not in {ids[slot], *vars(special).values()}


def test_early_mistakes_are_the_canvas_own_and_the_least_sure_comes_first(completer, model, special):
    prompt = completer.prompt(EXAMPLE)
    ids = completer.tokenizer.encode(EXAMPLE.middle).ids
    with torch.no_grad():
        width = model.config.canvas_slots
        mistakes = early_mistakes(ids, width, model, special, prompt.prefix, prompt.suffix)
        logits = canvas_logits(model, [special.mask] * width, width, prompt.prefix, prompt.suffix)
    assert mistakes
    assert all(token not in {ids[slot], *vars(special).values()} for slot, token in mistakes.items())
    probabilities = torch.softmax(logits, dim=-1)
    probabilities[:, [special.mask, special.prefix, special.suffix, special.pad]] = 0
    sure = [probabilities[slot, token].item() for slot, token in mistakes.items()]
    assert sure == sorted(sure)
    assert all(probabilities[slot].argmax() == token for slot, token in mistakes.items())


@pytest.mark.parametrize("kind", KINDS)
def test_every_slot_of_a_planted_canvas_is_predicted_and_too_few_slots_give_none(kind, completer, model, special):
    prompt, rng = completer.prompt(EXAMPLE), random.Random(1)
    ids = completer.tokenizer.encode(EXAMPLE.middle).ids[:3]
    for count in COUNTS:
        canvas = predict_planted(kind, count, ids, model, special, prompt.prefix, prompt.suffix, rng)
        if count > len(ids):
            assert canvas is None
        elif canvas:
            assert (len(canvas.planted), len(canvas.masked), len(canvas.right)) == (count, count, len(ids) + 1 - count)


def test_a_train_command_states_what_is_not_the_default():
    config = {"model": "nano", "run": "elsewhere", "minutes": 5.0, "compile": True, "seed": 1, "canvas_widths": [8, 16]}
    run = RunRecord("first", 5.0, 1, 1, config, {})
    assert train_command(run) == (
        "python -m training.pretrain.train --model nano --run training/.runs/first --minutes 5.0 --compile --canvas-widths 8 16"
    )


def test_code_in_a_table_cell_cannot_end_the_cell():
    assert code("a | b\n") == "`a \\| b⏎`"
    assert code("`x`") == "`` `x` ``"
    assert code("") == "–"


def test_the_ngram_cache_is_not_read_for_another_tokenizer(tokenizer, monkeypatch, tmp_path):
    corpus = tmp_path / "train.jsonl.zst"
    corpus.write_bytes(b"corpus")
    monkeypatch.setattr(ngram, "CACHE_FOLDER", tmp_path / "cache")
    monkeypatch.setattr(ngram, "split_path", lambda split: corpus)
    built = []

    def stream(given, split):
        built.append(split)
        boundary = SpecialTokens.of(given).end_of_text
        return np.array([boundary, *given.encode(readable_code(1)).ids, boundary], np.uint16)

    monkeypatch.setattr(ngram, "split_tokens", stream)
    other = train_tokenizer([readable_code(9)] * 2, 330)
    for number, given in enumerate((tokenizer, tokenizer, other)):
        path = tmp_path / f"{number}.json"
        given.save(str(path))
        ngram.ngram_of_train(path)
    assert built == ["train", "train"]
