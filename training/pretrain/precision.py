"""The type of matrix products in training: bfloat16 if the hardware multiplies it, float32 otherwise."""

import platform

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """No on a CPU without AVX-512 BF16 or AMX, where PyTorch multiplies bfloat16 several times slower than float32."""
    if device.type != "cpu":
        return True
    if platform.machine() in ("x86_64", "AMD64"):
        # oneDNN's answer is yes for every AVX-512: it emulates bfloat16 there
        return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()


def narrow_products(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16, if the device multiplies it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device))
