"""Noise: how much is masked, what is wrong, what is dropped."""

import torch

from training.model.config import SpecialTokens
from training.pretrain.noise import add_noise, after_first, ends_of, mask_rate, reveal_own

SPECIAL = SpecialTokens(pad=0, mask=1, eom=2, prefix=3, suffix=4, end_of_text=5)
VOCABULARY = 300


def noisy(x0, t, corrupt_share=0.0, corrupt_rate=0.0):
    from_model = torch.full_like(x0, 77)
    window = torch.arange(6, 70)[None].repeat(x0.shape[0], 1)
    return add_noise(x0, t, SPECIAL, corrupt_share, corrupt_rate, from_model, window, VOCABULARY)


def canvases(count: int) -> torch.Tensor:
    """Three tokens, the end, padding; and canvases that are full."""
    short = torch.tensor([10, 11, 12, 2, 0, 0, 0, 0])
    full = torch.arange(20, 28)
    return torch.stack((short, full)).repeat(count, 1, 1)


def test_mask_rates_are_in_range_and_pure_noise_has_its_share():
    torch.manual_seed(0)
    t = mask_rate((20_000,), 0.4, torch.device("cpu"))
    assert ((t > 0) & (t <= 1)).all()
    assert abs((t == 1).float().mean() - 0.4) < 0.02
    assert abs(t[t < 1].mean() - 0.5) < 0.02


def test_at_rate_one_all_is_noise_and_every_slot_exists():
    result = noisy(canvases(3), torch.ones(3, 2))
    assert (result.xt == SPECIAL.mask).all()
    assert result.alive.all()
    assert not result.wrong.any()


def test_near_rate_zero_nothing_but_padding_is_hidden_and_padding_is_dropped():
    x0 = canvases(3)
    result = noisy(x0, torch.full((3, 2), 1e-9))
    assert (result.xt[result.alive] == x0[result.alive]).all()
    assert result.alive[:, 0].tolist() == [[True] * 4 + [False] * 4] * 3
    assert result.alive[:, 1].all()
    assert not result.masked.any()


def test_padding_is_never_visible():
    torch.manual_seed(1)
    result = noisy(canvases(500), torch.full((500, 2), 0.5), corrupt_share=1.0, corrupt_rate=1.0)
    assert not (result.xt == SPECIAL.pad).any()


def test_slots_after_an_end_exist_exactly_when_the_end_is_hidden():
    torch.manual_seed(2)
    result = noisy(canvases(500), torch.full((500, 2), 0.5))
    hidden = result.xt[:, 0, 3] == SPECIAL.mask
    assert 0 < hidden.sum() < 500
    assert (result.alive[:, 0, 4:].all(-1) == hidden).all()


def test_wrong_tokens_are_wrong_and_come_from_all_three_sources():
    torch.manual_seed(3)
    x0 = canvases(2000)
    result = noisy(x0, torch.full((2000, 2), 0.2), corrupt_share=1.0, corrupt_rate=1.0)
    wrong = result.xt[result.wrong]
    assert (wrong != x0[result.wrong]).all()
    assert not torch.isin(wrong, torch.tensor([0, 1, 2, 3, 4, 5])).any()
    shares = [(wrong == 77).float().mean(), ((wrong < 70) & (wrong > 5)).float().mean(), (wrong > 77).float().mean()]
    assert all(share > 0.1 for share in shares)
    untouched = result.alive & ~result.masked & ~result.wrong
    assert (result.xt[untouched] == x0[untouched]).all()


def test_no_corruption_when_none_is_asked_for():
    torch.manual_seed(4)
    assert not noisy(canvases(200), torch.full((200, 2), 0.5)).wrong.any()


def test_after_first_starts_one_later():
    ends = ends_of(torch.tensor([[7, 2, 8, 5], [7, 8, 9, 9]]), SPECIAL)
    assert after_first(ends).tolist() == [[False, False, True, True], [False] * 4]


def own_step(x0: torch.Tensor, says: torch.Tensor, surety: float):
    """The canvases of pure noise after one step of a model that predicts `says` with a logit of `surety`."""
    logits = torch.zeros(*x0.shape, VOCABULARY).scatter_(-1, says[..., None], surety)
    return reveal_own(noisy(x0, torch.ones(x0.shape[:2])), x0, logits, SPECIAL)


def test_an_own_step_shows_what_the_model_is_sure_of_and_marks_its_mistakes():
    x0 = canvases(2)
    says = x0.clone()
    says[:, :, 1] = 99
    result = own_step(x0, says, 30.0)
    assert (result.xt[:, :, 1] == 99).all()
    assert result.wrong[:, :, 1].all()
    assert int(result.wrong.sum()) == 4
    assert (result.xt[:, 1, 2:] == x0[:, 1, 2:]).all()
    # the end was found: no slot exists after it
    assert result.alive[:, 0].tolist() == [[True] * 4 + [False] * 4] * 2
    assert not result.masked.any()


def test_an_own_step_never_shows_a_wrong_end_nor_padding():
    x0 = canvases(2)
    early = x0.clone()
    early[:, :, 0] = SPECIAL.eom
    early[:, 1, 3:] = SPECIAL.pad
    result = own_step(x0, early, 30.0)
    assert (result.xt[:, :, 0] == SPECIAL.mask).all()
    assert (result.xt[:, 1, 3:] == SPECIAL.mask).all()
    assert result.alive[:, 1].all()


def test_an_own_step_of_an_unsure_model_shows_its_surest_slot_alone():
    x0 = canvases(50)
    logits = torch.zeros(*x0.shape, VOCABULARY).scatter_(-1, x0[..., None], 0.1)
    logits[:, :, 2] *= 2
    result = reveal_own(noisy(x0, torch.ones(x0.shape[:2])), x0, logits, SPECIAL)
    shown = result.xt != SPECIAL.mask
    assert shown[:, :, 2].all()
    assert int(shown.sum()) == shown[:, :, 2].numel()
