"""gka.torch - the layer as a differentiable function of PyTorch, in the arithmetic of any kernel of the lab."""
from __future__ import annotations

from typing import Any

import torch

from ._api import _run
from ._problem import Problem

_INPUTS = ("q", "k", "v", "alpha", "g", "h0", "u0")


class _Layer(torch.autograd.Function):
    @staticmethod
    def forward(kernel: str, parameters: dict[str, Any], *tensors: torch.Tensor | None) -> torch.Tensor:
        problem = Problem(**dict(zip(_INPUTS, tensors)), **parameters)  # type: ignore[arg-type]
        return _run(kernel, problem, ["o"], True, None, None)["o"]  # type: ignore[no-any-return]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: torch.Tensor) -> None:
        ctx.kernel, ctx.parameters, *tensors = inputs
        ctx.there = [tensor is not None for tensor in tensors]
        ctx.save_for_backward(*(tensor for tensor in tensors if tensor is not None))

    @staticmethod
    def vmap(*arguments: Any) -> None:
        raise NotImplementedError("gka.torch.layer under torch.vmap: its batch is the axis B of [B,T,H,D]")

    @staticmethod
    def backward(ctx: Any, do: torch.Tensor) -> tuple[Any, ...]:
        if torch.is_grad_enabled():  # create_graph=True: what came of these gradients would be wrong without a word
            raise NotImplementedError("gka.torch.layer has no second derivatives; create_graph=False was expected")
        saved = iter(ctx.saved_tensors)
        tensors = [next(saved) if there else None for there in ctx.there]
        problem = Problem(**dict(zip(_INPUTS, tensors)), do=do, **ctx.parameters)  # type: ignore[arg-type]
        wanted = [name for name, needed in zip(_INPUTS, ctx.needs_input_grad[2:]) if needed]
        out = _run(ctx.kernel, problem, [f"layer.d{name}" for name in wanted], True, None, None)
        return None, None, *(out[f"layer.d{name}"].to(tensor.dtype) if name in wanted and tensor is not None else None
                             for name, tensor in zip(_INPUTS, tensors))


def layer(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, alpha: torch.Tensor | None = None, g: torch.Tensor | None = None, *,
          kernel: str = "certified", h0: torch.Tensor | None = None, u0: torch.Tensor | None = None,
          cu_seqlens: torch.Tensor | None = None, ridge_ratio: float = .02, num_iter: int = 30, chunk_size: int = 64,
          scale: float | None = None, layout: str = "bthd") -> torch.Tensor:
    """o of the layer, forward and backward in the arithmetic of a kernel: so a whole model runs with exact or emulated
    arithmetic in this one layer.

    Shapes as gka.Problem has them; o is [B,T,H,V] ([B,H,T,V] with layout="bhtd") in the type that the kernel stores, that of q
    (exact results are rounded to it once). Gradients flow to q k v alpha g h0 u0: those that the kernel gives for the
    cotangent of o, in the types in which it stores them, converted to the types of the inputs. kernel: a name that gka.emulate
    or gka.exact takes: "certified", "fp64", "steps", "h100", "h100/two-term", "tokens/bf16-acc32", ... Heads and batch rows are
    computed in parallel, on gka.threads() threads. Tensors of a GPU are copied to the CPU and back.

    gka.Unsupported where the kernel cannot run the inputs: the h100 wants bfloat16 q k v alpha, and D, V, chunk_size multiples of
    16. NotImplementedError for second derivatives (create_graph=True), torch.vmap and torch.func: B is the batch. Source:
    include/gka/kernel.h; NUMERICS.md 1, 2."""
    parameters = dict(cu_seqlens=cu_seqlens, ridge_ratio=ridge_ratio, num_iter=num_iter, chunk_size=chunk_size, scale=scale,
                      layout=layout)
    out: torch.Tensor = _Layer.apply(kernel, parameters, q, k, v, alpha, g, h0, u0)
    return out


