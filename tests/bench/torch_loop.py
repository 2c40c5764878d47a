"""The layer as one would write it in PyTorch, fp64, one thread: the loop that bench_oracle races.

Started by bench_oracle, which holds the other end of stdin and stdout:
    <- "T D V a s\n", then q k v alpha g as raw float64
    -> "ready VERSION\n"
    <- "run\n"    -> seconds of processor time of one pass, as text
    <- "result\n" -> x [T,D], f [T], o [T,V] as raw float64
Ends with its input.
"""
import sys
import time

import torch


def layer(q, k, v, alpha, g, a, s):
    T, D, V = q.shape[0], q.shape[1], v.shape[1]
    H, U, eye = torch.zeros(D, D), torch.zeros(D, V), torch.eye(D)
    x, f, o = torch.empty(T, D), torch.empty(T), torch.empty(T, V)
    for t in range(T):
        gamma = torch.exp(g[t])
        H = gamma * H + torch.outer(k[t], k[t])
        U = gamma * U + torch.outer(k[t], v[t])
        f[t] = torch.linalg.norm(H)
        x[t] = torch.linalg.solve(H + a * f[t] * eye, q[t])
        o[t] = s * (U.T @ (q[t] + alpha[t] * (x[t] - q[t])))
    return x, f, o


def main():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    T, D, V, a, s = source.readline().split()
    T, D, V, a, s = int(T), int(D), int(V), float(a), float(s)

    def read(*shape):
        count = 1
        for n in shape:
            count *= n
        return torch.frombuffer(bytearray(source.read(8 * count)), dtype=torch.float64).reshape(shape)

    inputs = [read(T, D), read(T, D), read(T, V), read(T), read(T)]
    sink.write(f"ready {torch.__version__}\n".encode())
    sink.flush()
    result = None
    for command in iter(source.readline, b""):
        if command == b"run\n":
            start = time.process_time()
            result = layer(*inputs, a, s)
            sink.write(f"{time.process_time() - start:.9f}\n".encode())
        else:
            for tensor in result:
                sink.write(bytes(tensor.contiguous().untyped_storage()))
        sink.flush()


main()
