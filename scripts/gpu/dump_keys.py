#!/usr/bin/env python3
"""dump_keys.py - the queries, keys and values that a language model makes of a text, a file per layer.

    dump_keys.py MODEL TEXT -o FOLDER [--tokens N] [--layers 0,7,..] [--rotary] [--random]

MODEL: a Hugging Face model (a name, a folder, or a .gguf file) whose attention layers have modules q_proj, k_proj and
v_proj (Llama, Qwen, Mistral, Gemma, SmolLM, ...). TEXT: a text file. FOLDER/layer-NN.safetensors then holds q
[1,T,H,D] and k, v [1,T,G,D], as the projections give them: before the rotary embedding, the norms and everything else.
That is where released training of the layer starts; `gka problem`, or the options of `gka verify`, make a problem of it.
--rotary: q and k after the rotary embedding, as the model's own attention compares them.
--random: the architecture of MODEL (its config.json) with random weights, the same every time, and characters as
tokens: for tests.
Wants torch, transformers and safetensors; runs on a CPU.
"""
import argparse
import pathlib
import sys

import torch
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

NAMES = {"q_proj": "q", "k_proj": "k", "v_proj": "v"}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("text", type=pathlib.Path)
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--layers", help="numbers, separated by commas (all)")
    parser.add_argument("--rotary", action="store_true")
    parser.add_argument("--random", action="store_true")
    return parser.parse_args()


def load(given):
    """The model and the text's tokens [1,T]."""
    text = given.text.read_text(encoding="utf-8")
    if given.random:
        torch.manual_seed(1)
        config = AutoConfig.from_pretrained(given.model)
        tokens = torch.tensor([[ord(c) % config.vocab_size for c in text]])
        return AutoModelForCausalLM.from_config(config), tokens[:, :given.tokens]
    folder, name = given.model.rpartition("/")[::2]
    where = [folder or ".", name] if name.endswith(".gguf") else [given.model, None]
    tokens = AutoTokenizer.from_pretrained(where[0], gguf_file=where[1])(text, return_tensors="pt").input_ids
    return AutoModelForCausalLM.from_pretrained(where[0], gguf_file=where[1]), tokens[:, :given.tokens]


def keep_rotated(model, kept):
    """Has the model's module put q and k of every layer in turn into kept, after its rotary embedding."""
    module = sys.modules[type(model).__module__]
    rotate = getattr(module, "apply_rotary_pos_emb", None)
    if rotate is None:
        raise SystemExit("dump_keys.py: --rotary: no apply_rotary_pos_emb in the code of this model")

    def rotate_and_keep(*args, **more):
        rotated = rotate(*args, **more)
        layer = sum(name == "q" for _, name in kept)
        for name, tensor in zip("qk", rotated):
            kept[layer, name] = tensor.detach().transpose(1, 2).contiguous()  # [1,heads,T,D] before
        return rotated
    module.apply_rotary_pos_emb = rotate_and_keep


def main():
    given = arguments()
    model, tokens = load(given)
    config = model.config.get_text_config()
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kept = {}  # (layer, "q") -> [1,T,heads,D]

    def keep(layer, name):
        def hook(_module, _inputs, output):
            kept[layer, name] = output.detach().unflatten(-1, (-1, size)).contiguous()
        return hook

    wanted = None if given.layers is None else {int(n) for n in given.layers.split(",")}
    for path, module in model.named_modules():
        parts = path.split(".")
        numbers = [int(p) for p in parts if p.isdigit()]
        if parts[-1] in NAMES and numbers and (wanted is None or numbers[0] in wanted):
            module.register_forward_hook(keep(numbers[0], NAMES[parts[-1]]))
    rotated = {}
    if given.rotary:
        keep_rotated(model, rotated)
    with torch.no_grad():
        model.eval()(tokens)
    kept.update({at: tensor for at, tensor in rotated.items() if at in kept})
    if not kept:
        raise SystemExit("dump_keys.py: no module q_proj, k_proj, v_proj in these layers of this model")
    given.output.mkdir(parents=True, exist_ok=True)
    for layer in sorted({layer for layer, _ in kept}):
        tensors = {name: kept[layer, name] for name in "qkv"}
        save_file(tensors, given.output / f"layer-{layer:02d}.safetensors",
                  metadata={"model": given.model, "text": given.text.name, "layer": str(layer)})
    print(f"{given.output}: {len(kept) // 3} layers, {tokens.shape[1]} tokens, {kept[min(kept)].shape[2]} key heads of {size}")


if __name__ == "__main__":
    main()
