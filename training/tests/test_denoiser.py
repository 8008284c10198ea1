"""The three streams: which tokens attend to which, and that training and inference compute the same."""

import dataclasses

import pytest
import torch

from training.evaluation.sampler import Context, Thresholds, canvas_logits, decode_autoregressively, infill
from training.model.config import DENOISERS, SpecialTokens, TrainConfig
from training.model.denoiser import Denoiser, block_attention, dense_attention, rms_norm, rotate, rotation
from training.model.quantization import set_quantized
from training.pretrain.losses import Batch, ar_loss, context_streams, prefix_streams, three_stream_losses

SPECIAL = SpecialTokens(pad=0, mask=1, eom=2, prefix=3, suffix=4, end_of_text=5)
CONFIG = DENOISERS["tiny"]
WINDOW, SLOTS = 24, CONFIG.canvas_slots
CLOSE = {"atol": 2e-5, "rtol": 1e-4}  # float32 sums in another order


@pytest.fixture(scope="module")
def model() -> Denoiser:
    torch.manual_seed(0)
    network = Denoiser(CONFIG)
    for parameter in network.parameters():
        if parameter.dim() == 2:
            torch.nn.init.normal_(parameter, std=2 * parameter.shape[1] ** -0.5)
        else:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return network.eval()


def random_ids(*shape: int) -> torch.Tensor:
    return torch.randint(6, CONFIG.vocab_size, shape)


def training_logits(model, window, spans, canvases, attention=dense_attention, alive=None, causal=False):
    """Logits (canvases, slots, vocabulary) as the training pass computes them, for one window."""
    streams, sign = context_streams(window[None], torch.tensor([WINDOW]), SPECIAL)
    _, states = model.context(streams, sign)
    prefix = [(k[:1], v[:1]) for k, v in states]
    suffix = [(k[1:], v[1:]) for k, v in states]
    prefix_seen = torch.tensor([[s + 1 for s, _ in spans]])
    suffix_seen = torch.tensor([[WINDOW - e + 1 if e >= 0 else 0 for _, e in spans]])
    alive = torch.ones(1, *canvases.shape, dtype=torch.bool) if alive is None else alive
    seen = prefix_seen, suffix_seen
    hidden = model.canvas(canvases[None], alive, prefix, suffix, *seen, attention, causal=causal)
    return model.logits(hidden)[0]


def inference_logits(model, window, span, canvas, chunks=(3, 1, 4, 100)):
    """The same for one canvas with cached streams that grew piece by piece."""
    start, end = span
    left = [SPECIAL.prefix, *window[:start].tolist()]
    right = [SPECIAL.suffix, *window[end:].flip(0).tolist()] if end >= 0 else []
    contexts = []
    for ids, sign in ((left, 1), (right, -1)):
        context = Context(model, sign) if ids else None
        for size in chunks:
            if ids:
                context.extend(ids[:size])
                ids = ids[size:]
        contexts.append(context)
    return canvas_logits(model, canvas.tolist(), SLOTS, *contexts)


@torch.no_grad()
def test_training_pass_and_cached_inference_give_the_same_canvas_logits(model):
    torch.manual_seed(1)
    window, spans = random_ids(WINDOW), [(0, 3), (5, 20), (23, 24), (4, -1), (10, 10)]
    canvases = random_ids(len(spans), SLOTS)
    canvases[:, ::2] = SPECIAL.mask
    trained = training_logits(model, window, spans, canvases)
    for span, canvas, expected in zip(spans, canvases, trained):
        torch.testing.assert_close(inference_logits(model, window, span, canvas), expected, **CLOSE)


@pytest.mark.parametrize("causal", [False, True])
@torch.no_grad()
def test_block_mask_attention_equals_dense_attention(model, causal):
    torch.manual_seed(2)
    window, spans = random_ids(WINDOW), [(2, 9), (7, -1), (0, 24), (12, 13)]
    canvases = random_ids(len(spans), SLOTS)
    alive = torch.ones(1, len(spans), SLOTS, dtype=torch.bool)
    alive[0, 1, 5:] = False
    dense, blocks = (
        training_logits(model, window, spans, canvases, attention, alive, causal)
        for attention in (dense_attention, block_attention)
    )
    torch.testing.assert_close(blocks[alive[0]], dense[alive[0]], **CLOSE)


@torch.no_grad()
def test_a_dropped_slot_is_the_same_as_one_that_never_was(model):
    torch.manual_seed(3)
    window, span = random_ids(WINDOW), (6, 12)
    canvas = random_ids(SLOTS)
    alive = torch.ones(1, 1, SLOTS, dtype=torch.bool)
    alive[..., 3:] = False
    dropped = training_logits(model, window, [span], canvas[None], dense_attention, alive)[0, :3]
    torch.testing.assert_close(inference_logits(model, window, span, canvas[:3]), dropped, **CLOSE)


def test_the_canvas_and_what_it_covers_never_leak_into_the_context(model):
    """Gradients show the attention: a canvas of [s, e) sees exactly the tokens of the window outside of the span."""
    torch.manual_seed(4)
    start, end = 8, 15
    seen = []
    model.embed_tokens.register_forward_hook(lambda _module, _input, output: seen.append(output) or output)
    window, canvases = random_ids(WINDOW), random_ids(1, SLOTS)
    try:
        logits = training_logits(model, window, [(start, end)], canvases)
    finally:
        model.embed_tokens._forward_hooks.clear()
    streams, canvas = seen
    grad_streams, grad_canvas = torch.autograd.grad(logits.square().sum(), (streams, canvas))
    visible = grad_streams.abs().sum(-1) > 0  # (prefix, suffix) × (marker, tokens)
    assert visible[0].tolist() == [True] * (start + 1) + [False] * (WINDOW - start)
    assert visible[1].tolist() == [True] * (WINDOW - end + 1) + [False] * end
    assert (grad_canvas.abs().sum(-1) > 0).all()
    (no_canvas,) = torch.autograd.grad(
        model.context(streams_of(window), torch.tensor([1]))[0].sum(), canvas, allow_unused=True
    )
    assert no_canvas is None


def streams_of(window):
    return prefix_streams(window[None], SPECIAL)[0]


@torch.no_grad()
def test_the_prefix_stream_is_causal_and_the_suffix_stream_is_anti_causal(model):
    torch.manual_seed(5)
    window = random_ids(WINDOW)
    changed = window.clone()
    changed[10] = 6 if window[10] != 6 else 7
    hidden, _ = model.context(*context_streams(torch.stack((window, changed)), torch.tensor([WINDOW] * 2), SPECIAL))
    prefix_same = torch.isclose(hidden[0], hidden[1], atol=1e-6).all(-1)
    suffix_same = torch.isclose(hidden[2], hidden[3], atol=1e-6).all(-1)
    assert prefix_same.tolist() == [True] * 11 + [False] * 14  # marker and tokens 0…9, then all that follow
    assert suffix_same.tolist() == [True] * 14 + [False] * 11  # marker and tokens 23…11, then all to the left


def test_the_suffix_stream_reads_backwards_from_the_horizon():
    streams, sign = context_streams(torch.arange(10, 15)[None], torch.tensor([3]), SPECIAL)
    assert streams.tolist() == [[3, 10, 11, 12, 13, 14], [4, 12, 11, 10, 0, 0]]
    assert sign.tolist() == [1, -1]


@torch.no_grad()
def test_a_slot_cannot_see_the_length_of_the_missing_middle(model):
    """Same text left and right, middles of 1 and of 12 tokens: the logits are the same."""
    torch.manual_seed(6)
    left, right, canvas = random_ids(5), random_ids(7), random_ids(1, SLOTS)
    logits = []
    for middle in (1, 12):
        window = torch.cat((left, random_ids(middle), right, random_ids(WINDOW - 12 - middle)))
        cut = torch.cat((window[: 5 + middle], right))  # nothing after the right text
        streams, sign = context_streams(cut[None], torch.tensor([len(cut)]), SPECIAL)
        _, states = model.context(streams, sign)
        prefix, suffix = [(k[:1], v[:1]) for k, v in states], [(k[1:], v[1:]) for k, v in states]
        alive = torch.ones(1, 1, SLOTS, dtype=torch.bool)
        seen = torch.tensor([[6]]), torch.tensor([[8]])
        logits.append(model.logits(model.canvas(canvas[None], alive, prefix, suffix, *seen)))
    torch.testing.assert_close(logits[0], logits[1], **CLOSE)


def test_rotation_keeps_lengths_and_depends_on_the_distance_only():
    torch.manual_seed(7)
    q, k = torch.randn(2, 64)

    def score(i: int, j: int) -> float:
        turns = rotation(torch.tensor([i, j]), 64, 10_000.0)
        return float(rotate(q, turns[0][0], turns[1][0]) @ rotate(k, turns[0][1], turns[1][1]))

    assert score(5, 3) == pytest.approx(score(105, 103), abs=1e-3)
    assert score(-5, -3) == pytest.approx(score(0, 2), abs=1e-3)
    assert score(5, 3) != pytest.approx(score(3, 5), abs=1e-3)


def test_rms_norm_has_unit_mean_square():
    x = torch.randn(4, 64) * 7
    torch.testing.assert_close(rms_norm(x, torch.ones(64), 0.0).square().mean(-1), torch.ones(4))


def test_every_parameter_learns_from_a_three_stream_pass():
    torch.manual_seed(8)
    network = Denoiser(CONFIG)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    batch = Batch(
        random_ids(2, WINDOW),
        torch.tensor([WINDOW, 18]),
        random_ids(2, 3, SLOTS),
        torch.tensor([[1, 5, 9]] * 2),
        torch.tensor([[4, 0, 9]] * 2),
    )
    loss, parts = three_stream_losses(network, batch, SPECIAL, TrainConfig())
    loss.backward()
    assert set(parts) == {"prefix", "suffix", "canvas"}
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_a_few_steps_on_one_batch_lower_all_losses():
    torch.manual_seed(9)
    network = Denoiser(CONFIG)
    window = random_ids(1, WINDOW).repeat(2, 1)
    batch = Batch(
        window,
        torch.tensor([WINDOW, WINDOW]),
        window[:, None, 4:12].contiguous(),
        torch.tensor([[5]] * 2),
        torch.tensor([[13]] * 2),
    )
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    history = []
    for _ in range(60):
        # the same noise each time: a step of its own would leave other slots masked
        loss, parts = three_stream_losses(network, batch, SPECIAL, TrainConfig(own_step_share=0))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(parts)
    for name in ("prefix", "suffix", "canvas"):
        assert history[-1][name] < 0.3 * history[0][name]
    assert ar_loss(network, window, SPECIAL).item() == pytest.approx(history[-1]["prefix"].item(), rel=0.2)


def test_quantized_arithmetic_stays_close_and_lets_gradients_through(model):
    torch.manual_seed(10)
    window = random_ids(2, WINDOW)
    exact = ar_loss(model, window, SPECIAL)
    set_quantized(model, weights=True, activations=True)
    try:
        quantized = ar_loss(model, window, SPECIAL)
        gradient = torch.autograd.grad(quantized, model.layers[0].mlp.up_proj.weight)[0]
    finally:
        set_quantized(model, weights=False, activations=False)
    assert quantized.item() != exact.item()
    assert quantized.item() == pytest.approx(exact.item(), rel=0.1)
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("edit", [1.0, 0.05])
@pytest.mark.parametrize("reveal", [0.02, 0.9])
def test_sampling_ends_and_counts_what_it_did(model, reveal, edit):
    torch.manual_seed(11)
    left, right = [SPECIAL.prefix, *random_ids(6).tolist()], [SPECIAL.suffix, *random_ids(5).tolist()]
    result = infill(model, SPECIAL, left, right, 20, Thresholds(reveal, edit, 2))
    assert len(result.ids) == 20 or result.ended
    assert result.slot_evaluations >= len(result.ids)
    assert not {SPECIAL.mask, SPECIAL.pad, SPECIAL.prefix, SPECIAL.suffix, SPECIAL.eom} & set(result.ids)
    again = infill(model, SPECIAL, left, right, 20, Thresholds(reveal, edit, 2))
    assert dataclasses.asdict(again) == dataclasses.asdict(result)


def test_autoregressive_decoding_follows_the_prefix_stream(model):
    torch.manual_seed(12)
    left = [SPECIAL.prefix, *random_ids(6).tolist()]
    result = decode_autoregressively(model, SPECIAL, left, 4)
    hidden, _ = model.context(torch.tensor([left + result.ids]), torch.tensor([1]))
    logits = model.logits(hidden)[0, len(left) - 1 : -1]
    logits[:, [SPECIAL.pad, SPECIAL.mask, SPECIAL.eom, SPECIAL.prefix, SPECIAL.suffix]] = -torch.inf
    assert logits.argmax(-1).tolist() == result.ids
