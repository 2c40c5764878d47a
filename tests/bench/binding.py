"""What the binding costs: gka.exact at T = 64, D = 64 beside the library's own call.

usage: OMP_NUM_THREADS=1 python3 tests/bench/binding.py [CALLS]    (with the package installed; 1000 calls)

The library's time is taken inside the extension module, in gka_problem_from_file, which reads and checks every element, and in
gka_kernel_run (report["seconds"]). The binding is the processor time of the whole call less that: arrays, allocation, the GIL and
Python itself. A call during which the machine did something else (its wall time is 2 % above its processor time, or more) would
set two different clocks against each other, and is not counted; with two threads none would be.
"""
import statistics
import sys
import time

import gka

calls = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
if gka.threads() != 1:
    sys.exit("binding: one thread was expected (OMP_NUM_THREADS=1)")
problem = gka.problem(T=64, D=64, V=64, gate="slow")
t = problem.to("numpy")
arguments = (t["q"], t["k"], t["v"], t["alpha"], t["g"])
gka.exact(*arguments)
whole, inside = [], []
for _ in range(calls):
    begin, processor = time.perf_counter(), time.process_time()
    out = gka.exact(*arguments)
    processor, wall = time.process_time() - processor, time.perf_counter() - begin
    if wall < 1.02 * processor:
        whole.append(processor)
        inside.append(out.report["seconds"])
if len(whole) < 20:
    sys.exit(f"binding: only {len(whole)} of {calls} calls had the machine for themselves; try again")
over = sorted(w - i for w, i in zip(whole, inside))
library = statistics.median(inside)
print(f"gka.exact, T 64, D 64: the library {1e3 * library:.3f} ms of processor time, median of {len(whole)} of {calls} calls that "
      "had the machine for themselves")
for what, value in (("median", statistics.median(over)), ("tenth percentile", over[len(over) // 10])):
    print(f"the binding, {what}: {1e6 * value:.0f} us, {100 * value / library:.2f} %")
