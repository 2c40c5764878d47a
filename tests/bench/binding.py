"""What the binding costs: gka.exact at T = 64, D = 64 beside the library's own call.

usage: python3 tests/bench/binding.py    (with the package installed; threads: OMP_NUM_THREADS)

The library's time is taken inside the extension module, in gka_problem_from_file, which reads and checks every element, and in
gka_kernel_run (report["seconds"]); the other around gka.exact. Their difference is arrays, allocation, the GIL and Python itself.
On a busy machine the library's time is stretched and the short difference is not, so that the share of their medians flatters the
binding: with OMP_NUM_THREADS=1 the last line sets the difference against the least processor time of a call.
"""
import statistics
import time

import gka

problem = gka.problem(T=64, D=64, V=64, gate="slow")
t = problem.to("numpy")
arguments = (t["q"], t["k"], t["v"], t["alpha"], t["g"])
gka.exact(*arguments)
whole, inside, processor = [], [], []
for _ in range(200):
    begin, cpu = time.perf_counter(), time.process_time()
    out = gka.exact(*arguments)
    whole.append(time.perf_counter() - begin)
    processor.append(time.process_time() - cpu)
    inside.append(out.report["seconds"])
over = statistics.median(w - i for w, i in zip(whole, inside))
print(f"gka.exact, T 64, D 64: {1e3 * statistics.median(whole):.2f} ms, of which the library "
      f"{1e3 * statistics.median(inside):.2f} ms; the binding {1e6 * over:.0f} us, {100 * over / statistics.median(inside):.2f} %")
least = min(w - i for w, i in zip(whole, inside))
print(f"processor time of a call, at least: {1e3 * min(processor):.2f} ms; the binding {1e6 * least:.0f} us at least, "
      f"{100 * least / min(processor):.2f} %, {100 * over / min(processor):.2f} % by its median")
