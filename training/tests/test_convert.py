"""Conversion of checkpoints: settings of the config are kept, missing ones are required, unsupported ones refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from training.export.convert import ConversionError, convert
from training.export.golden_checkpoints import make_checkpoint, make_tokenizer
from training.model.quantization import fake_quantize_groups, unpack_nibbles

TOLD = {"attention": "bidirectional", "logits": "slot"}
SMALL = {"canvas_slots": 8, "prefix_tokens": 48, "suffix_tokens": 16}


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer()


@pytest.fixture
def checkpoint(tmp_path: Path, tokenizer) -> Path:
    folder = tmp_path / "checkpoint"
    make_checkpoint("qwen2", folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def edit_config(checkpoint: Path, **changes) -> None:
    path = checkpoint / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def config_of(checkpoint: Path, options: dict) -> dict:
    out = checkpoint.parent / "out"
    convert(checkpoint, out, {**SMALL, **options})
    return json.loads((out / "config.json").read_text())


def test_shapes_biases_head_and_special_tokens_come_from_the_checkpoint(checkpoint):
    config = config_of(checkpoint, TOLD)
    assert config["model_type"] == "qwen2"
    assert config["attention_bias"] and not config["qk_norm"] and config["tie_word_embeddings"]
    assert (config["head_dim"], config["vocab_size"]) == (32, 512)
    assert config["diffusion"]["mask_token_id"] == 511
    assert config["diffusion"]["end_token_ids"] == [505, 507]
    manifest = json.loads((checkpoint.parent / "out" / "manifest.json").read_text())
    assert manifest["name"] == "out"
    assert [file["path"] for file in manifest["files"]] == ["config.json", "tokenizer.json", "model.safetensors"]


def test_weights_in_several_files_of_bfloat16_are_the_same_model(checkpoint):
    whole = load_file(checkpoint / "model.safetensors")
    half = len(whole) // 2
    (checkpoint / "model.safetensors").unlink()
    parts = [dict(list(whole.items())[:half]), dict(list(whole.items())[half:])]
    for index, part in enumerate(parts):
        save_file({name: tensor.bfloat16() for name, tensor in part.items()}, checkpoint / f"part-{index}.safetensors")
    config_of(checkpoint, TOLD)
    written = load_file(checkpoint.parent / "out" / "model.safetensors")
    name = "model.layers.1.mlp.down_proj"
    scale = written[f"{name}.weight_scale"].float()
    restored = (unpack_nibbles(written[f"{name}.weight_packed"]).unflatten(1, (-1, 32)) * scale[..., None]).flatten(1)
    assert torch.equal(restored, fake_quantize_groups(whole[f"{name}.weight"].bfloat16()))


def test_a_head_in_the_file_counts_for_more_than_the_config(checkpoint):
    path = checkpoint / "model.safetensors"
    weights = load_file(path)
    save_file(weights | {"lm_head.weight": weights["model.embed_tokens.weight"] * 2}, path)
    config = config_of(checkpoint, TOLD)
    assert not config["tie_word_embeddings"]
    assert "lm_head.weight" in load_file(checkpoint.parent / "out" / "model.safetensors")


def test_dream_is_known_to_see_everything_and_to_predict_the_next_token(checkpoint):
    edit_config(checkpoint, model_type="Dream", mask_token_id=42)
    diffusion = config_of(checkpoint, {})["diffusion"]
    assert (diffusion["attention"], diffusion["logits"], diffusion["mask_token_id"]) == ("bidirectional", "shifted", 42)


def test_fast_dllm_has_blocks_whose_size_its_config_tells(checkpoint):
    edit_config(checkpoint, model_type="Fast_dLLM_Qwen", bd_size=4)
    diffusion = config_of(checkpoint, {})["diffusion"]
    assert (diffusion["attention"], diffusion["logits"]) == ("block-causal", "shifted")
    assert (diffusion["block_size"], diffusion["canvas_slots"]) == (4, 4)
    assert diffusion["fim_token_ids"] == {"prefix": 508, "suffix": 510, "middle": 509}


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"logits": "slot"}, "--attention"),
        ({}, {"attention": "bidirectional"}, "--logits"),
        ({}, {"attention": "block-causal", "logits": "slot"}, "--block-size"),
        ({}, {**TOLD, "mask_token": "<|nothing|>"}, "no token '<|nothing|>'"),
        ({"model_type": "llama"}, TOLD, "'llama' is none of"),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e6}}, TOLD, "RoPE of type 'yarn'"),
        ({"use_sliding_window": True}, TOLD, "sliding-window"),
        ({"hidden_act": "gelu"}, TOLD, "hidden_act 'gelu'"),
        ({"num_hidden_layers": 3}, TOLD, "no tensor 'model.layers.2"),
    ],
)
def test_what_is_not_told_or_cannot_run_is_refused_by_name(checkpoint, changes, options, message):
    edit_config(checkpoint, **changes)
    with pytest.raises(ConversionError, match=message.replace("|", r"\|")):
        config_of(checkpoint, options)
    assert not (checkpoint.parent / "out").exists()
