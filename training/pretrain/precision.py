"""The type of matrix products in training: bfloat16 if the hardware multiplies it, float32 otherwise."""

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """No on a CPU without AVX-512 BF16 or AMX, where PyTorch multiplies bfloat16 seven times slower than float32."""
    return device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()


def narrow_products(device: torch.device) -> torch.autocast:
    """Autocast to bfloat16, if the device multiplies it."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=multiplies_bfloat16(device))
