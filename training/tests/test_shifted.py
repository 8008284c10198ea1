"""A shifted denoiser: training, canvases and left-to-right decoding see the same, and the cursor's token is
completed."""

import dataclasses

import pytest
import torch
from tokenizers import Tokenizer, pre_tokenizers

from training.evaluation.completer import Completer
from training.evaluation.cursor_token import TokenTable
from training.evaluation.infilling_tasks import Example
from training.evaluation.sampler import (
    EVERYTHING,
    Begun,
    CachedCanvas,
    Generated,
    Policy,
    Thresholds,
    canvas_logits,
    decode_autoregressively,
    denoise,
    infill,
    infill_contexts,
    open_contexts,
    prompt_ids,
)
from training.model.base import base_tokenizer
from training.model.config import DENOISERS, SpecialTokens
from training.model.denoiser import Denoiser
from training.model.tokenizer import SPECIAL_TOKENS, encode
from training.pretrain.cursor_losses import canvas_hidden, read_streams
from training.pretrain.cursor_windows import CursorBatch
from training.tests.made_up import randomise

MERGES = [
    *["c o", "co n", "s t", "con st", "o l", "ol e", "s ole", "con sole", "r e", "t u", "tu r", "tur n", "re turn"],
    *["Ġ con", "Ġcon st", "Ġ re", "Ġre turn", "Ġ Ġ", "Ċ Ġ"],
]


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    merges = [tuple(merge.split(" ")) for merge in MERGES]
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = [*SPECIAL_TOKENS, *letters, *("".join(pair) for pair in merges)]
    return base_tokenizer({token: i for i, token in enumerate(vocabulary)}, merges, SPECIAL_TOKENS)


@pytest.fixture(scope="module")
def special(tokenizer) -> SpecialTokens:
    return SpecialTokens.of(tokenizer)


@pytest.fixture(scope="module")
def table(tokenizer) -> TokenTable:
    return TokenTable(tokenizer)


@pytest.fixture(scope="module")
def model(tokenizer) -> Denoiser:
    shape = {"qk_norm": False, "shifted": True, "suffix_order": "forward", "rope_theta": 100_000.0}
    config = dataclasses.replace(
        DENOISERS["tiny"], vocab_size=tokenizer.get_vocab_size(), canvas_widths=(1, 2, 4, 8), **shape
    )
    torch.manual_seed(1)
    network = Denoiser(config)
    randomise(network, gain=1.5)
    return network.eval()


def random_ids(model: Denoiser, count: int, seed: int) -> list[int]:
    return torch.randint(6, model.config.vocab_size, (count,), generator=torch.Generator().manual_seed(seed)).tolist()


@pytest.mark.parametrize("suffix_tokens", [0, 5])
@torch.no_grad()
def test_training_and_cached_inference_give_the_same_canvas_logits(model, special, suffix_tokens):
    slots, start = 4, 9
    window, right = random_ids(model, 20, 1), random_ids(model, 6, 2)
    xt = torch.tensor([[[special.mask, window[10], special.mask, window[12]]]])
    suffix = [special.suffix, *right[:suffix_tokens], *[special.pad] * (6 - suffix_tokens)]
    batch = CursorBatch(
        *map(torch.tensor, ([window], [suffix], xt.tolist(), [[window[start - 1]]], [[start + 1]])),
        torch.tensor([[suffix_tokens and suffix_tokens + 1]]),
    )
    _, _, states = read_streams(model, batch, special)
    trained = model.logits(canvas_hidden(model, batch, xt, torch.ones_like(xt, dtype=torch.bool), states))[0, 0]
    left = [special.prefix, *window[:start]]
    prefix, suffix = open_contexts(model, left[:3], suffix[: suffix_tokens + 1] if suffix_tokens else [])
    prefix.extend(left[3:4])
    prefix.extend(left[4:])
    cached = canvas_logits(model, xt[0, 0].tolist(), slots, prefix, suffix)
    assert torch.allclose(cached, trained, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("suffix_tokens", [0, 5])
@torch.no_grad()
def test_a_run_of_rows_in_training_is_what_kept_rows_decode(model, special, suffix_tokens):
    start, slots = 9, model.config.canvas_slots
    window, right = random_ids(model, 20, 1), random_ids(model, 6, 2)
    text = window[start : start + slots]
    suffix = [special.suffix, *right[:suffix_tokens], *[special.pad] * (6 - suffix_tokens)]
    batch = CursorBatch(
        *map(torch.tensor, ([window], [suffix], [[text]], [[window[start - 1]]], [[start + 1]])),
        torch.tensor([[suffix_tokens and suffix_tokens + 1]]),
        runs=True,
    )
    _, _, states = read_streams(model, batch, special)
    there = torch.ones_like(batch.x0, dtype=torch.bool)
    trained = model.logits(canvas_hidden(model, batch, batch.x0, there, states))[0, 0]
    left = [special.prefix, *window[:start]]
    prefix, suffix = open_contexts(model, left, suffix[: suffix_tokens + 1] if suffix_tokens else [])
    for row, token in enumerate(text):
        canvas = CachedCanvas(model, 1, prefix, suffix, kept_rows=row)
        decoded = canvas.logits(prefix.rows([special.mask], 1), [0])[0]
        torch.testing.assert_close(decoded, trained[row], atol=2e-5, rtol=1e-4)
        prefix.adopt(canvas.cached, [token])


@pytest.mark.parametrize("quantized", [False, True])
@torch.no_grad()
def test_a_held_canvas_whose_rows_are_all_computed_is_a_canvas(model, special, quantized, monkeypatch):
    monkeypatch.setattr(model, "quantize_attention", quantized)
    prefix, suffix = open_contexts(model, [special.prefix, *random_ids(model, 7, 3)], [special.suffix, 40, 41])
    for ids in ([special.mask] * 4, [50, special.mask, 51, special.mask], [50, special.eom]):
        rows = prefix.rows(ids, 4)
        held = CachedCanvas(model, 4, prefix, suffix).logits(rows, list(range(len(rows))))
        assert len(rows) == min(4, len(ids) + 1)  # the row of an end token is seen
        assert torch.allclose(held[: len(ids)], canvas_logits(model, ids, 4, prefix, suffix), atol=1e-4)


@torch.no_grad()
def test_a_canvas_of_one_slot_without_suffix_is_the_language_model(model, special):
    prefix, _ = open_contexts(model, [special.prefix, *random_ids(model, 7, 4)], [])
    expected = model.logits(prefix.whole().last_hidden)
    assert torch.allclose(canvas_logits(model, [special.mask], 1, prefix, None)[0], expected, atol=1e-5)


@pytest.mark.parametrize("width", [1, 2])
def test_kept_rows_differ_from_tokens_read_again_only_by_the_suffix(model, special, width, monkeypatch):
    left, right = [special.prefix, *random_ids(model, 7, 6)], [special.suffix, *random_ids(model, 5, 7)]
    policy, thresholds = Policy(width, 1), Thresholds(1.0, 1.0, 0)

    def written(suffix: list[int], keeps_rows: bool) -> Generated:
        monkeypatch.setattr(model, "config", dataclasses.replace(model.config, keeps_rows=keeps_rows))
        return infill(model, special, left, suffix, 12, thresholds, policy)

    alone, kept = written([], False), written([], True)
    assert len(alone.ids) > 8  # rows of a second canvas of eight as well
    assert kept.ids == alone.ids
    assert kept.log_probabilities == pytest.approx(alone.log_probabilities, abs=1e-4)
    # only canvases of one slot keep their rows
    same = written(right, True).log_probabilities == pytest.approx(written(right, False).log_probabilities, abs=1e-4)
    assert same == (width > 1)


@torch.no_grad()
def test_frozen_slots_are_not_looked_at_but_rows_whose_token_changed_are(model, special):
    prefix, suffix = open_contexts(model, [special.prefix, *random_ids(model, 7, 5)], [special.suffix, 40, 41])
    seen = []

    class Watched(CachedCanvas):
        def logits(self, ids, rows):
            seen.append((list(ids), list(rows)))
            return super().logits(ids, rows)

    thresholds = Thresholds(1.0, 1.0, 0)
    denoise(Watched(model, 8, prefix, suffix), special, thresholds, Policy(freeze_after=1), 8, Generated())
    known: dict[int, int] = {}
    for ids, rows in seen:
        assert ids[0] == prefix.last
        for row, token in enumerate(ids):
            assert row in rows or known[row] == token
        known |= {row: ids[row] for row in rows}
    assert any(len(rows) < len(ids) for ids, rows in seen)


@pytest.mark.parametrize(
    ("text", "kept", "begun"),
    [
        ("x cons", "x", " cons"),
        ("x const", "x ", "const"),  # of which the end may begin another one
        ("con", "", "con"),
        ("x re", "x", " re"),
        ("x = ", "x =", " "),
        ("x =\n", "x =", "\n"),
        ("f(", "f(", ""),
        ("retur", "", "retur"),
        ("xretur", "x", "retur"),
        ("12", "12", ""),
        ("", "", ""),
    ],
)
def test_what_may_be_the_beginning_of_a_token_is_taken_off(tokenizer, table, special, text, kept, begun):
    ids, rest = table.take_off([special.prefix, special.end_of_text, *encode(tokenizer, text)])
    assert (tokenizer.decode(ids), rest) == (kept, begun.encode())


def test_the_marker_and_the_token_after_it_stay(table, special, tokenizer):
    cut_off = [special.prefix, *encode(tokenizer, " re")]
    assert table.take_off(cut_off) == (cut_off, b"")


def test_agreeing_tokens_go_on_or_lead_there(table, tokenizer):
    texts = sorted(table.bytes[id_].decode() for id_ in table.agreeing(b"con"))
    assert texts == ["c", "co", "con", "console", "const"]


@pytest.mark.parametrize("text", ["x cons", "x =\n  re", "con", "a = conso", "é con", "x = "])
@pytest.mark.parametrize("widths", [1, 2, 8])
def test_completions_say_what_the_cursor_token_had_and_go_on(model, tokenizer, table, special, text, widths):
    ids = prompt_ids(text, ";\n", tokenizer, special, model.config)
    kept, rest = table.take_off(ids[0])
    begun = Begun(rest, table)
    thresholds = Thresholds(0.1, 0.8, 2)
    for found in (
        infill(model, special, kept, ids[1], 6, thresholds, Policy(widths, 1), begun),
        infill(model, special, kept, ids[1], 6, thresholds, EVERYTHING, begun),
        decode_autoregressively(model, special, kept, 6, begun=begun),
    ):
        said = b"".join(table.bytes[id_] for id_ in found.ids)
        assert said.startswith(rest)
        answer = len(found.ids) - table.silent(found.ids, rest)
        assert answer == 6 or (found.ended and answer < 6)
        assert all(p <= 1e-6 for p in found.log_probabilities)
        assert len(found.log_probabilities) == len(found.ids)


def test_the_probability_of_a_bound_token_is_that_among_those_that_agree(model, tokenizer, table, special):
    kept, rest = table.take_off([special.prefix, special.end_of_text, *encode(tokenizer, "x retur")])
    found = decode_autoregressively(model, special, kept, 1, begun=Begun(rest, table))
    prefix, _ = open_contexts(model, kept, [])
    with torch.no_grad():
        logits = model.logits(prefix.whole().last_hidden)
    agreeing = table.agreeing(rest)
    expected = torch.log_softmax(logits[agreeing], dim=0).max().item()
    assert found.log_probabilities[0] == pytest.approx(expected, abs=1e-5)


def test_a_completion_ends_before_the_suffix(model, tokenizer, table, special):
    kept, right = prompt_ids("x = ", ";\n", tokenizer, special, model.config)
    thresholds, policy = Thresholds(1.0, 1.0, 0), Policy(1, 1)
    streams = open_contexts(model, kept, right)
    whole = infill_contexts(model, special, *streams, 6, thresholds, policy)
    third = whole.ids[2]
    found = infill_contexts(model, special, *streams, 6, thresholds, policy, suffix_start=[third])
    assert found.ended and found.ids == whole.ids[: whole.ids.index(third)]
    assert tokenizer.decode(table.suffix_start(encode(tokenizer, "console.log"))[:1]) == "c"


def test_the_completer_shows_the_text_after_the_cursor(model, tokenizer):
    completer = Completer(model, tokenizer, 8)
    prompt = completer.prompt(Example("x = conso", "le.log(x)", "\n"))
    assert prompt.begun.bytes == b" conso"
    assert tokenizer.decode(completer.middle_ids(prompt)) == " console.log(x)"
    for found in (
        completer.diffuse(prompt, "line_rest", Thresholds.of(model.config)),
        completer.decode(prompt, "line_rest"),
    ):
        assert not found.text.startswith(" conso")
        assert found.tokens <= 9
