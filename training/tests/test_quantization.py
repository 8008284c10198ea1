"""Number formats: stored values are within half a step of the original, and the file reproduces them."""

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file

from training.export.weights import (
    QUANTIZATION_CONFIG,
    quantized_tensors,
    read_quantized,
    write_manifest,
    write_safetensors,
)
from training.model.config import DENOISERS, DenoiserConfig
from training.model.denoiser import Denoiser
from training.model.quantization import (
    QuantizableLinear,
    fake_quantize_activations,
    fake_quantize_groups,
    fake_quantize_rows,
    pack_nibbles,
    quantize_groups,
    quantize_rows,
    rounded_weights,
    set_quantized,
    unpack_nibbles,
)


def test_groups_use_all_sixteen_values_and_stay_within_a_step():
    torch.manual_seed(0)
    weight = torch.randn(64, 96)
    values, scale = quantize_groups(weight)
    assert values.min() == -8
    assert values.max() == 7
    assert (scale == scale.bfloat16().float()).all()
    error = (fake_quantize_groups(weight) - weight).unflatten(1, (-1, 32)).abs()
    # a clipped largest weight may be a full step off
    assert (error <= scale.abs()[..., None] * 1.6).all()
    relative = (fake_quantize_groups(weight) - weight).square().mean().sqrt()
    assert relative < 0.09


def test_zero_groups_and_lone_spikes_are_exact():
    weight = torch.zeros(8, 64)
    weight[0, 40] = -3.0
    weight[1, 41] = 3.0
    torch.testing.assert_close(fake_quantize_groups(weight), weight, atol=0.02, rtol=0)
    assert (quantize_groups(torch.zeros(8, 32))[1] == 0).all()


def test_rows_keep_to_seven_bits():
    torch.manual_seed(1)
    weight = torch.randn(32, 64) * 5
    values, scale = quantize_rows(weight)
    assert values.abs().max() <= 63
    assert ((fake_quantize_rows(weight) - weight).abs() <= scale * 0.75).all()


def test_activations_round_to_127_steps_of_their_row():
    x = torch.tensor([[127.0, 63.4, -0.6, 0.4], [0.0, 0.0, 0.0, 0.0]])
    assert fake_quantize_activations(x).tolist() == [[127.0, 63.0, -1.0, 0.0], [0.0] * 4]


def test_nibbles_are_packed_low_first_and_come_back():
    values = torch.tensor([[-8, 7, 0, 1, 2, 3, 4, 5]]).float()
    packed = pack_nibbles(values)
    assert packed.dtype == torch.int32
    assert packed.view(torch.uint8).tolist() == [[0xF0, 0x98, 0xBA, 0xDC]]
    torch.manual_seed(2)
    values = torch.randint(-8, 8, (16, 64))
    assert (unpack_nibbles(pack_nibbles(values)) == values).all()


@pytest.fixture
def folder(tmp_path):
    """An exported random model."""
    torch.manual_seed(3)
    model = Denoiser(DENOISERS["tiny"])
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    tensors, errors = quantized_tensors(model)
    assert all(relative < 0.12 for _, relative, _ in errors)
    write_safetensors(tmp_path / "model.safetensors", tensors)
    config = model.config.to_json() | {"quantization_config": QUANTIZATION_CONFIG}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "tokenizer.json").write_text("{}")
    write_manifest(tmp_path)
    return tmp_path, model, tensors


def test_the_file_is_read_by_the_safetensors_library(folder):
    path, _, tensors = folder
    loaded = load_file(path / "model.safetensors")
    assert loaded.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert loaded[name].dtype == tensor.dtype
        assert torch.equal(loaded[name], tensor)


def test_the_tensors_stand_in_the_order_a_stream_needs_them(folder):
    path, _, _ = folder
    content = (path / "model.safetensors").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    names = [name for name in header if name != "__metadata__"]
    assert names[:2] == ["model.embed_tokens.weight", "model.embed_tokens.weight_scale"]
    assert names[-1] == "model.norm.weight"
    layers = [int(name.split(".")[2]) for name in names if name.startswith("model.layers.")]
    assert layers == sorted(layers)


def test_the_exported_model_is_the_fake_quantized_one(folder):
    path, model, _ = folder
    exported = read_quantized(path)
    assert exported.config == model.config
    for layer, original in zip(exported.layers, model.layers, strict=True):
        expected = fake_quantize_groups(original.self_attn.q_proj.weight)
        assert torch.equal(layer.self_attn.q_proj.weight, expected)
    assert torch.equal(exported.embed_tokens.weight, fake_quantize_rows(model.embed_tokens.weight))


def test_the_config_survives_its_json():
    config = dataclasses.replace(DENOISERS["nano"], reveal_threshold=0.7)
    assert DenoiserConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_rounded_weights_are_those_of_the_runtime_while_open_and_learn_straight_through():
    torch.manual_seed(0)
    model = torch.nn.Sequential(QuantizableLinear(64, 32), QuantizableLinear(32, 32))
    before = [parameter.clone() for parameter in model.parameters()]
    x = torch.randn(4, 64)
    with rounded_weights(model):
        assert torch.equal(model[0].weight, fake_quantize_groups(before[0]))
        model(x).square().sum().backward()
    assert all(torch.equal(now, then) for now, then in zip(model.parameters(), before))
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    set_quantized(model, weights=True, activations=False)
    model(x).square().sum().backward()
    for parameter, gradient in zip(model.parameters(), gradients):
        torch.testing.assert_close(parameter.grad, gradient)
    with pytest.raises(ZeroDivisionError), rounded_weights(model):
        raise ZeroDivisionError
    assert torch.equal(model[0].weight, before[0])
