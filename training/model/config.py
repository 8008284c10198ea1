"""Shapes of the denoiser and settings of a training run: one dataclass each, presets by name.

`DenoiserConfig.to_json` writes the `config.json` the service reads; its keys are those of the Qwen3 family in
Hugging Face transformers, plus a `diffusion` block.
"""

from dataclasses import asdict, dataclass, field, fields, replace

from tokenizers import Tokenizer

from training.model.tokenizer import SPECIAL_TOKENS


@dataclass(frozen=True)
class SpecialTokens:
    """Ids of the special tokens, looked up by content."""

    pad: int
    mask: int
    eom: int
    prefix: int
    suffix: int
    end_of_text: int

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> "SpecialTokens":
        ids = [tokenizer.token_to_id(content) for content in SPECIAL_TOKENS]
        missing = [content for content, id_ in zip(SPECIAL_TOKENS, ids) if id_ is None]
        if missing:
            raise ValueError(f"the tokenizer lacks {', '.join(missing)}")
        return cls(*ids)


@dataclass(frozen=True)
class DenoiserConfig:
    hidden_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    intermediate_size: int
    vocab_size: int
    head_dim: int = 64
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    qk_norm: bool = True  # Qwen3 norms queries and keys of each head, Llama does not
    max_position_embeddings: int = 640  # prefix and output: little more than a training window of 512 has
    # the `diffusion` block
    # Shifted: the row of a token predicts the slot after it, as in a language model, so the first row of the canvas is
    # the last known token. Not shifted: the row of a slot predicts that slot.
    shifted: bool = False
    suffix_order: str = "backward"  # backward: the suffix stream is read from its end | forward: from the cursor on
    # Whether a completion ends where the best token begins the suffix, as of a model that has not learned its end token
    ends_before_suffix: bool = False
    # Whether what is written on canvases of one slot keeps the keys and values of its rows, which have seen the suffix.
    # Otherwise it is read again, as a part of the prefix.
    keeps_rows: bool = False
    canvas_slots: int = 32
    canvas_widths: tuple[int, ...] = (2, 4, 8, 16, 32)  # widths that the service may open
    canvas_width: int = 2  # that the service opens unless a request says otherwise
    prefix_tokens: int = 256  # with suffix_tokens well below a training window, so that it has room for a middle
    suffix_tokens: int = 128
    reveal_threshold: float = 0.5
    edit_threshold: float = 0.8
    max_edits_per_slot: int = 2
    # The weights of what followed the same tokens elsewhere in the text (training/evaluation/context_ngrams.py): bias,
    # length, share, count; None: not mixed in
    context_ngrams: dict[str, float] | None = None
    # How probably a completion is right, a logistic function of the log-probabilities of its tokens: bias, mean, total,
    # open; and least_shown
    confidence: dict[str, float] | None = None

    DIFFUSION_KEYS = (
        "shifted",
        "suffix_order",
        "ends_before_suffix",
        "keeps_rows",
        "canvas_slots",
        "canvas_widths",
        "canvas_width",
        "prefix_tokens",
        "suffix_tokens",
        "reveal_threshold",
        "edit_threshold",
        "max_edits_per_slot",
        "context_ngrams",
        "confidence",
    )

    def to_json(self) -> dict:
        values = asdict(self)
        diffusion = {key: values.pop(key) for key in self.DIFFUSION_KEYS}
        for key in (
            "canvas_width",
            "confidence",
            "context_ngrams",
            "ends_before_suffix",
            "keeps_rows",
        ):  # optional: left out where it is the default
            if diffusion[key] == getattr(DenoiserConfig, key):
                del diffusion[key]
        return {
            "architectures": ["QuicksilverForMaskedDiffusion"],
            "model_type": "quicksilver",
            **values,
            "tie_word_embeddings": True,
            "hidden_act": "silu",
            "attention_bias": False,
            "diffusion": diffusion,
        }

    @classmethod
    def from_json(cls, data: dict) -> "DenoiserConfig":
        known = {f.name for f in fields(cls)}
        values = {k: v for k, v in {**data, **data["diffusion"]}.items() if k in known}
        return cls(**values | {"canvas_widths": tuple(values["canvas_widths"])})


DENOISERS = {
    "nano": DenoiserConfig(
        hidden_size=256,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=704,
        vocab_size=4096,
    ),
    # the shape of SmolLM2-135M with three layers fewer, two thirds of its neurons and a third of its vocabulary
    # (model/base.py)
    "small": DenoiserConfig(
        hidden_size=576,
        num_hidden_layers=27,
        num_attention_heads=9,
        num_key_value_heads=3,
        intermediate_size=992,
        vocab_size=15_616,
        rms_norm_eps=1e-5,
        rope_theta=100_000.0,
        qk_norm=False,
        shifted=True,
        suffix_order="forward",
        ends_before_suffix=True,
        max_position_embeddings=2048,
        canvas_slots=8,
        canvas_widths=(1, 2, 4, 8),
        prefix_tokens=1024,
        suffix_tokens=256,
    ),
    # for tests only: every code path, no quality
    "tiny": DenoiserConfig(
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        intermediate_size=96,
        vocab_size=320,
        canvas_slots=8,
        canvas_widths=(8,),
    ),
}


@dataclass
class TrainConfig:
    """One training run. Units are in the names or in the comments."""

    model: str = "nano"
    shape: str = ""  # changes to its shape, as name=value,name=value
    tune: str = "weights"  # weights | scales: of the weights of a quantized `init`, which keep their integers
    frozen_layers: int = 0  # so many of the first layers, and the embedding of inputs, do not learn
    tokenizer: str = "models/nano/tokenizer.json"
    run: str = "training/.runs/nano"  # folder of checkpoints, metrics and curves
    init: str = ""  # a checkpoint to take the weights from (a new schedule starts)
    minutes: float = 75.0  # training time on the clock, validation not counted
    clock: str = "wall"  # wall | cpu: CPU time of a process, for a machine that also does other work
    seed: int = 1
    device: str = "auto"  # cpu | cuda | auto
    processes: int = 2  # data-parallel processes, one thread each: on a CPU two of them beat two threads in one
    # none | layers: one layer, a minute, a third faster on a CPU | all: the whole pass, for a GPU, minutes a width
    compile: str = "none"
    products: str = "float"  # float | int8: matrix products of the layers in 8 bits, on a CPU (int8_products.py)

    batch_windows: int = 2  # of each process
    window_tokens: int = 512
    window_slots: int = 512  # canvas slots a window: 512 / width canvases
    # Drawn uniformly for each batch. Middles are short: three of four slots of a canvas of 32 are after the end and
    # teach nothing but the length, so narrow canvases teach more for the same work.
    canvas_widths: tuple[int, ...] = (2, 2, 2, 4, 4, 8, 16, 32)
    ar_share: float = 0.3  # first share of the run that trains the prefix stream alone
    qat_share: float = 0.15  # last share of the run with weights and activations fake-quantized
    # Last share of the run in which narrow canvases learn soft targets (distill.py): a pass for each slot
    distill_share: float = 1.0
    distill_widest: int = 4

    # A shifted denoiser (cursor_windows.py) only; window_tokens is its prefix stream
    suffix_window_tokens: int = 96
    run_share: float = 0.0  # batches whose canvases are runs of rows, as `keeps_rows` decodes
    run_rows: int = 8  # of a run: canvas_slots, since rows are kept at the places that they have on such a canvas
    window_horizons: int = 1  # places of a window where a suffix begins; they share the canvases of the window
    base_share: float = 0.0  # of the next-token loss: the target is the base model's distribution instead of the text
    prefix_loss_share: float = 0.6  # positions of the prefix stream whose loss is taken
    canvas_loss_weight: float = 1.0
    hidden_left_weight: float = 1.0  # a slot's loss counts this to the power of the number of hidden slots left of it

    optimizer: str = "muon"  # muon (layers' matrices) + adamw (the rest) | adamw
    muon_lr: float = 0.01
    adamw_lr: float = 2e-3
    weight_decay: float = 0.05
    warmup_share: float = 0.02
    decay_share: float = 0.5  # last share of the run in which the learning rate falls to zero
    clip_norm: float = 1.0

    prefix_loss_weight: float = 0.5
    suffix_loss_weight: float = 0.25
    all_mask_share: float = 0.5  # canvases that are all masks
    corrupt_share: float = 0.7  # of the other canvases: those with wrong visible tokens
    corrupt_rate: float = 0.5  # largest share of visible tokens replaced
    own_step_share: float = 0.35  # batches whose canvases first take a denoising step of their own, mistakes included

    validation_windows: int = 64
    validate_minutes: float = 5.0
    data_workers: int = 1
    notes: str = field(default="")  # free text, kept in the run's config

    def denoiser(self, vocab_size: int) -> DenoiserConfig:
        """The shape of the model. Raises TypeError for a name that a shape does not have, ValueError for a value."""
        preset = DENOISERS[self.model]
        given = dict(part.split("=") for part in self.shape.split(",") if part)
        changes = {
            name: value if isinstance(getattr(preset, name, 0), str) else int(value) for name, value in given.items()
        }
        return replace(preset, vocab_size=vocab_size, **changes)

    def canvases(self, slots: int) -> int:
        """How many canvases of `slots` slots each horizon of a window has."""
        return max(1, self.window_slots // self.window_horizons // slots)
