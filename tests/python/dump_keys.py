"""dump_keys.py GKA - from a model to the per-head table, as src/docs/guides/keys.md says: a two-layer model with random weights,
its q, k, v by scripts/gpu/dump_keys.py, what kernels would lose on them by gka. Skipped without transformers."""
import json
import pathlib
import subprocess
import sys
import tempfile

try:
    import safetensors.torch
    import torch  # noqa: F401
    import transformers  # noqa: F401
except ImportError:
    sys.exit(77)

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64, "intermediate_size": 96,
          "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 128,
          "max_position_embeddings": 256}


def run(*command, cwd):
    return subprocess.run([str(c) for c in command], cwd=cwd, check=True, capture_output=True, text=True).stdout


gka = pathlib.Path(sys.argv[1]).resolve()
with tempfile.TemporaryDirectory() as place:
    folder = pathlib.Path(place)
    (folder / "model").mkdir()
    (folder / "model" / "config.json").write_text(json.dumps(CONFIG))
    (folder / "text.txt").write_text("A tiny text, of which every character is a token. " * 2)
    said = run(sys.executable, ROOT / "scripts/gpu/dump_keys.py", "model", "text.txt", "-o", "dump", "--random", "--tokens", 80,
               cwd=folder)
    assert said.strip() == "dump: 2 layers, 80 tokens, 2 key heads of 16", said
    files = sorted(p.name for p in (folder / "dump").iterdir())
    assert files == ["layer-00.safetensors", "layer-01.safetensors"], files
    tensors = safetensors.torch.load_file(folder / "dump" / files[1])
    assert {n: tuple(t.shape) for n, t in tensors.items()} == {"q": (1, 80, 4, 16), "k": (1, 80, 2, 16), "v": (1, 80, 2, 16)}
    run(sys.executable, ROOT / "scripts/gpu/dump_keys.py", "model", "text.txt", "-o", "turned", "--random", "--tokens", 80,
        "--rotary", "--layers", 1, cwd=folder)
    turned = safetensors.torch.load_file(folder / "turned" / files[1])
    assert sorted(p.name for p in (folder / "turned").iterdir()) == [files[1]]
    for name, tensor in tensors.items():  # q and k of token t are turned by angles t times those of token 1; v is not
        same, first = torch.equal(turned[name], tensor), torch.equal(turned[name][:, 0], tensor[:, 0])
        assert turned[name].shape == tensor.shape and first and same == (name == "v"), name
        assert torch.allclose(turned[name].norm(dim=-1), tensor.norm(dim=-1), rtol=1e-5), name
    options = ["--conv=silu", "--normalise", "--beta", "--alpha", "--gate=init", "--cotangents", "--cast=bf16", "--fold"]
    table = run(gka, "verify", "--emulate=h100,h100/two-term", "--per-head", *options, "dump/layer-00.safetensors",
                "dump/layer-01.safetensors", cwd=folder)
    assert "of 8 heads" in table and table.count("B 1, T 80, H 4, D 16") == 2, table
    run(gka, "problem", *options, "dump/layer-00.safetensors", "-o", "problem.safetensors", cwd=folder)
    again = run(gka, "verify", "--emulate=h100,h100/two-term", "--per-head", "problem.safetensors", cwd=folder)
    assert again.splitlines()[2:7] == table.splitlines()[2:7], again
print("dump_keys: two layers, eight heads")
