#!/usr/bin/env bash
# PyTorch, torch.compile on a CPU: an explicit conversion to bfloat16 and back is left out. `(x / 3).bfloat16().float()
# * 3`
# is rounded to 8 bits in eager mode and not rounded at all when compiled, without a warning. Code that rounds on
# purpose,
# such as a quantizer whose scales are stored in bfloat16, then trains with other weights than it exports. The option
# `emulate_precision_casts` gives the eager result; its default is off.
#
# Versions  torch 2.13.0 (CPU), Python 3.11.7, g++ 12 on Debian 12
# Source    torch/_inductor/config.py (emulate_precision_casts); seen as 4-bit weights that differed from eager ones by
#           a step
# Seen      compiled: 0.0114 from eager, 2.4e-07 from the unrounded input; with the option: 0 from eager (1,000 normal
#           numbers)
# Exits with 1 when compiled and eager agree, or differ with the option. Needs a C++ compiler.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 setuptools==80.9.0
cat > "$folder/rounding.py" <<'PY'
import torch


def rounded(x):
    return (x / 3).bfloat16().float() * 3


torch.manual_seed(0)
x = torch.randn(1000)
eager = rounded(x)
compiled = torch.compile(rounded)(x)
emulated = torch.compile(rounded, options={"emulate_precision_casts": True})(x)
difference, with_option = (eager - compiled).abs().max().item(), (eager - emulated).abs().max().item()
unrounded = (compiled - x).abs().max().item()
print(f"compiled: {difference:.4f} from eager, {unrounded:.1e} from the unrounded input; with the option: {with_option:g} from eager")
if not (difference > 1e-3 and unrounded < 1e-6 and with_option == 0):
    raise SystemExit("it has changed")
PY
TORCHINDUCTOR_CACHE_DIR="$folder/cache" "$folder/venv/bin/python" "$folder/rounding.py"
