"""Products in 8 bits: the integers that were rounded, summed exactly; gradients close to those in float32."""

import pytest
import torch

from training.model.quantization import QuantizableLinear
from training.pretrain.int8_products import int8_product, multiply_in_int8, quantize

needs_vnni = pytest.mark.skipif(not torch.cpu._is_vnni_supported(), reason="the CPU has no AVX-512 VNNI")


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return torch.cosine_similarity(a.flatten(), b.flatten(), dim=0).item()


def test_rows_and_columns_are_rounded_to_their_largest_value():
    x = torch.tensor([[1.0, -2.0, 0.5], [0.0, 0.0, 0.0], [127.0, 1.4, -1.6]])
    rows, scale = quantize(x, 1)
    assert rows.tolist() == [[64, -127, 32], [0, 0, 0], [127, 1, -2]]  # 63.5 and 31.75
    torch.testing.assert_close(scale[0].item(), 2 / 127)
    columns, scale = quantize(x, 0)
    assert columns[:, 0].tolist() == [1, 0, 127] and scale.shape == (1, 3)


@needs_vnni
def test_a_product_is_that_of_the_rounded_numbers():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 37, 192), torch.randn(96, 192)
    rows, scale = quantize(x.flatten(0, 1), 1)
    weights, weight_scale = quantize(weight, 1)
    expected = (rows.double() @ weights.double().t()).float() * scale * weight_scale.t()
    assert torch.equal(int8_product(x, weight).flatten(0, 1), expected)


@needs_vnni
def test_gradients_are_close_to_those_in_float32():
    torch.manual_seed(0)
    x = torch.randn(300, 192, requires_grad=True)
    layer = QuantizableLinear(192, 96)
    given = torch.randn(300, 96) * torch.rand(300, 1) ** 4  # few tokens have large gradients
    given[50:100] = 0
    layer(x).backward(given)
    expected = x.grad, layer.weight.grad
    x.grad = layer.weight.grad = None
    multiply_in_int8(layer)
    layer(x).backward(given)
    assert cosine(x.grad, expected[0]) > 0.999
    assert cosine(layer.weight.grad, expected[1]) > 0.999
    assert not x.grad[50:100].any()


def test_a_processor_without_the_instructions_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_vnni_supported", lambda: False)
    with pytest.raises(ValueError, match="VNNI"):
        multiply_in_int8(QuantizableLinear(64, 64))
