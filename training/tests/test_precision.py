"""The type of matrix products: bfloat16 only where the processor multiplies it."""

import pytest
import torch

from training.pretrain.precision import multiplies_bfloat16


@pytest.mark.parametrize(("bf16", "amx"), [(False, False), (True, False), (False, True)])
def test_bfloat16_is_used_where_the_processor_multiplies_it(monkeypatch, bf16, amx):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    assert multiplies_bfloat16(torch.device("cpu")) == (bf16 or amx)
