"""Writes one denoising step as ONNX, to compare the speed with other engines (bench/peers).

    python -m training.export.onnx_step --model models/nano --out build/onnx

The graph is a canvas of 32 slots after a prefix whose keys and values are constants of the graph, as if from a KV
cache: embeddings (slots, hidden) in, logits (slots, vocabulary) out. It has the weights of the model. `--linear` says
how linear layers and head are computed: f32 (MatMul), int8 (DynamicQuantizeMatMul: 8-bit weights, one scale per output;
activations quantized in the graph), int4 (MatMulNBits: 4-bit weights in groups of 32, activations quantized to 8 bits
inside; the head stays int8). Attention is float32, because these engines have no quantized attention.

It also writes matrix products of the same kinds, matmul-LINEAR-N-K-ROWS.onnx, with PRODUCTS of them in a graph, so that
the overhead of a run does not count.
"""

import argparse
from pathlib import Path
from typing import Literal

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from training.export.weights import read_quantized
from training.model.denoiser import Denoiser, rotation
from training.model.quantization import GROUP, quantize_groups

Linear = Literal["f32", "int8", "int4"]
CONTRIBUTED = "com.microsoft"  # operators of ONNX Runtime beyond the standard
PRODUCTS = 16
SHAPES = ((512, 512), (2048, 512))  # outputs, inputs
ROWS = (1, 8, 32, 64)
ACCURACY_INT8 = 4  # of MatMulNBits: activations in 8 bits, its fastest form


class Graph:
    """Nodes and constants in the order in which they are added."""

    def __init__(self):
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", **attributes) -> str:
        name = f"n{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, domain=domain, **attributes))
        return name

    def linear(self, x: str, weight: torch.Tensor, kind: Linear) -> str:
        """x (rows, k) × weight (n, k)ᵀ"""
        n, k = weight.shape
        if kind == "f32":
            return self.add("MatMul", x, self.constant(weight.T.numpy()))
        if kind == "int8":
            scale = weight.abs().amax(dim=1) / 127
            values = (weight / scale[:, None]).round().to(torch.int8)
            packed = self.constant(values.T.numpy()), self.constant(scale.numpy())
            return self.add("DynamicQuantizeMatMul", x, *packed, domain=CONTRIBUTED)
        values, scales = quantize_groups(weight)
        nibbles = (values + 8).to(torch.uint8).view(n, k // GROUP, GROUP // 2, 2)
        packed = nibbles[..., 0] | nibbles[..., 1] << 4
        return self.add(
            "MatMulNBits",
            x,
            self.constant(packed.numpy()),
            self.constant(scales.flatten().numpy()),
            domain=CONTRIBUTED,
            K=k,
            N=n,
            bits=4,
            block_size=GROUP,
            accuracy_level=ACCURACY_INT8,
        )

    def rms_norm(self, x: str, weight: torch.Tensor, eps: float) -> str:
        mean = self.add("ReduceMean", self.add("Mul", x, x), self.constant(np.array([-1])), keepdims=1)
        root = self.add("Sqrt", self.add("Add", mean, self.constant(np.float32(eps))))
        return self.add("Mul", self.add("Div", x, root), self.constant(weight.detach().numpy()))

    def rotate(self, x: str, cos: str, sin: str) -> str:
        """RoPE of x (heads, rows, d); cos and sin (rows, d/2)."""
        half = int(numpy_helper.to_array(self.constants[int(cos[1:])]).shape[-1])
        axis, middle, end = (self.constant(np.array([i])) for i in (-1, half, 2 * half))
        first = self.add("Slice", x, self.constant(np.array([0])), middle, axis)
        second = self.add("Slice", x, middle, end, axis)
        turned = (
            self.add("Sub", self.add("Mul", first, cos), self.add("Mul", second, sin)),
            self.add("Add", self.add("Mul", second, cos), self.add("Mul", first, sin)),
        )
        return self.add("Concat", *turned, axis=-1)


@torch.no_grad()
def step_graph(model: Denoiser, prefix: list[tuple[torch.Tensor, torch.Tensor]], slots: int, kind: Linear):
    """The graph of a step after `prefix`: keys (rotated) and values of each layer, (kv_heads, tokens, d)."""
    config, graph = model.config, Graph()
    heads, kv_heads, d, eps = (
        config.num_attention_heads,
        config.num_key_value_heads,
        config.head_dim,
        config.rms_norm_eps,
    )
    tokens = prefix[0][0].shape[1]
    cos, sin = (graph.constant(part.numpy()) for part in rotation(tokens + torch.arange(slots), d, config.rope_theta))

    def split(x: str, count: int) -> str:  # (rows, count · d) → (count, rows, d)
        shape = graph.constant(np.array([slots, count, d]))
        return graph.add("Transpose", graph.add("Reshape", x, shape), perm=[1, 0, 2])

    def repeated(x: str) -> str:  # (kv_heads, tokens, d) → (kv_heads, 1, tokens, d), to go with the queries of a group
        return graph.add("Unsqueeze", x, graph.constant(np.array([1])))

    grouped = graph.constant(np.array([kv_heads, heads // kv_heads, slots, d]))
    x = "embeddings"
    for layer, (cached_k, cached_v) in zip(model.layers, prefix):
        attention, mlp = layer.self_attn, layer.mlp
        normed = graph.rms_norm(x, layer.input_layernorm.weight, eps)
        q = split(graph.linear(normed, attention.q_proj.weight, kind), heads)
        k = split(graph.linear(normed, attention.k_proj.weight, kind), kv_heads)
        v = split(graph.linear(normed, attention.v_proj.weight, kind), kv_heads)
        q = graph.rotate(graph.rms_norm(q, attention.q_norm.weight, eps), cos, sin)
        k = graph.rotate(graph.rms_norm(k, attention.k_norm.weight, eps), cos, sin)
        keys = graph.add("Concat", graph.constant(cached_k.numpy()), k, axis=1)
        values = graph.add("Concat", graph.constant(cached_v.numpy()), v, axis=1)
        q = graph.add("Mul", graph.add("Reshape", q, grouped), graph.constant(np.float32(d**-0.5)))
        scores = graph.add("MatMul", q, repeated(graph.add("Transpose", keys, perm=[0, 2, 1])))
        mixed = graph.add("MatMul", graph.add("Softmax", scores, axis=-1), repeated(values))
        mixed = graph.add("Transpose", mixed, perm=[2, 0, 1, 3])
        mixed = graph.add("Reshape", mixed, graph.constant(np.array([slots, heads * d])))
        x = graph.add("Add", x, graph.linear(mixed, attention.o_proj.weight, kind))
        normed = graph.rms_norm(x, layer.post_attention_layernorm.weight, eps)
        gate, up = (graph.linear(normed, part.weight, kind) for part in (mlp.gate_proj, mlp.up_proj))
        gated = graph.add("Mul", graph.add("Mul", gate, graph.add("Sigmoid", gate)), up)
        x = graph.add("Add", x, graph.linear(gated, mlp.down_proj.weight, kind))
    hidden = graph.rms_norm(x, model.norm.weight, eps)
    logits = graph.linear(hidden, model.embed_tokens.weight, "int8" if kind == "int4" else kind)
    graph.nodes.append(helper.make_node("Identity", [logits], ["logits"]))
    embeddings = helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, [slots, config.hidden_size])
    output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [slots, config.vocab_size])
    return make_model(graph, [embeddings], [output])


def matmul_graph(n: int, k: int, rows: int, kind: Linear):
    """PRODUCTS products of inputs x0 … (rows, k) with one random matrix (n, k)."""
    graph = Graph()
    weight = torch.randn(n, k, generator=torch.Generator().manual_seed(2))
    names = [f"x{i}" for i in range(PRODUCTS)]
    outputs = [graph.linear(name, weight, kind) for name in names]
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, k]) for name in names]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, n]) for name in outputs]
    return make_model(graph, inputs, results)


def make_model(graph: Graph, inputs: list, outputs: list) -> onnx.ModelProto:
    return helper.make_model(
        helper.make_graph(graph.nodes, "quicksilver", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", 18), helper.make_opsetid(CONTRIBUTED, 1)],
        ir_version=9,
    )


@torch.no_grad()
def random_prefix(model: Denoiser, tokens: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Keys and values of a prefix of random tokens."""
    ids = torch.randint(model.config.vocab_size, (1, tokens), generator=torch.Generator().manual_seed(1))
    _, states = model.context(ids, torch.tensor([1]))
    return [(k[0], v[0]) for k, v in states]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("models/nano"))
    parser.add_argument("--linear", choices=("f32", "int8", "int4"), nargs="+", default=["f32", "int8", "int4"])
    parser.add_argument("--tokens", type=int, default=512, help="of the prefix")
    parser.add_argument("--slots", type=int, default=32)
    parser.add_argument("--out", type=Path, required=True, help="folder of step-LINEAR.onnx")
    arguments = parser.parse_args()
    denoiser = read_quantized(arguments.model)
    context = random_prefix(denoiser, arguments.tokens)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for choice in arguments.linear:
        path = arguments.out / f"step-{choice}.onnx"
        onnx.save(step_graph(denoiser, context, arguments.slots, choice), path)
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")
        for outputs, width in SHAPES:
            for count in ROWS:
                name = f"matmul-{choice}-{outputs}-{width}-{count}.onnx"
                onnx.save(matmul_graph(outputs, width, count, choice), arguments.out / name)
