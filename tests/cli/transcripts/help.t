What the command says of itself.

$ gka --version
> gka 0.9.0
$ gka --help
> gka 0.9.0 - reference and numerics lab for Gated KalmaNet kernels
>
> Usage: gka COMMAND [OPTION...] [OPERAND...]
>
> Commands:
>   verify      judge computed tensors against the exact answer for their inputs
>   golden      inputs, references and tolerances in one file, to test kernels by
>   judge       judge a kernel's tensors by a golden, or a folder of them by a suite
>   show        what a golden holds, and where its tolerances come from
>   audit       does a golden tell right kernels from wrong ones?
>   problem     projections of a model, or made-up keys, as a problem in a file
>   solve       solvers side by side at one token, in emulated arithmetics
>   attribute   what each rounding of the released kernels costs, one by one
>   condition   is an error the kernel's, or the problem's; gradients of r steps
>   compare     the layers it is compared with: error, state and cost in any arithmetic
>   spectrum    eigenvalues against the interval the released solver assumes
>   devices     matrix units of chips as data; which of them computed a probe file
>   formats     number formats: precision, range, unit roundoff, overflow rule
>   completion  what bash or zsh needs to complete this command
>
> `gka help COMMAND` says what a command takes; `gka --version` prints the version.
>
> Exit code: 0 all within tolerance or merely measured; 1 something fails its tolerance;
> 2 usage or bad input, with one line on stderr; 3 internal error or out of memory.
$ gka -h | head -1
> gka 0.9.0 - reference and numerics lab for Gated KalmaNet kernels
$ gka help help | head -1
> gka 0.9.0 - reference and numerics lab for Gated KalmaNet kernels
$ gka formats
> format     bits   p   emin  emax  roundoff               max    min normal  min subnormal  overflow
> bf16         16   8   -126   127      2^-8   3.389531389e+38   1.17549e-38    9.18355e-41  to Inf
> fp16         16  11    -14    15     2^-11             65504   6.10352e-05    5.96046e-08  to Inf
> tf32         32  11   -126   127     2^-11   3.401162134e+38   1.17549e-38    1.14794e-41  to Inf
> fp32         32  24   -126   127     2^-24   3.402823466e+38   1.17549e-38     1.4013e-45  to Inf
> fp64         64  53  -1022  1023     2^-53  1.797693135e+308  2.22507e-308   4.94066e-324  to Inf
> e4m3          8   4     -6     8      2^-4               448      0.015625     0.00195312  to max
> e5m2          8   3    -14    15      2^-3             57344   6.10352e-05    1.52588e-05  to max
> e4m3-ieee     8   4     -6     8      2^-4               448      0.015625     0.00195312  to NaN
> e5m2-ieee     8   3    -14    15      2^-3             57344   6.10352e-05    1.52588e-05  to Inf
> e2m1          4   2      0     2      2^-2                 6             1            0.5  to max
> e2m3          6   4      0     2      2^-4               7.5             1          0.125  to max
> e3m2          6   3     -2     4      2^-3                28          0.25         0.0625  to max
> e3m4          8   5     -2     3      2^-5              15.5          0.25       0.015625  to Inf
> e4m3fnuz      8   4     -7     7      2^-4               240     0.0078125    0.000976562  to max
> e5m2fnuz      8   3    -15    15      2^-3             57344   3.05176e-05    7.62939e-06  to max
> e8m0          8   1   -127   127      2^-1   1.701411835e+38   5.87747e-39           none  to max
>
> blocks      element  numbers  scale  rule     scale of all  bits a number
> mxfp8-e4m3  e4m3          32  e8m0   OCP      -                      8.25
> mxfp8-e5m2  e5m2          32  e8m0   OCP      -                      8.25
> mxfp6-e2m3  e2m3          32  e8m0   OCP      -                      6.25
> mxfp6-e3m2  e3m2          32  e8m0   OCP      -                      6.25
> mxfp4       e2m1          32  e8m0   OCP      -                      4.25
> nvfp4       e2m1          16  e4m3   nearest  fp32                    4.5
> e4m3-1x128  e4m3         128  fp32   up       -                      8.25
$ gka formats --help
> gka formats - number formats: precision, range, unit roundoff, overflow rule
>
> Usage: gka formats [OPTION...]
>   -h, --help     print this text
>
> A finite value is m 2^(e-p+1), |m| < 2^p, emin <= e <= emax. The unit roundoff is
> 2^-p; max is the largest finite value, and overflow what rounding to nearest does
> beyond it.
>
> The numbers of a block share a scale: the smallest by which its largest number fits
> (up), the nearest to that, or the power of two that makes the largest number's
> exponent the element's (OCP). `gka solve --arith` takes BLOCKS-acc32, an emulation
> /states=BLOCKS: h100/states=mxfp8-e4m3.
$ gka verify --help
> gka verify - judge computed tensors against the exact answer for their inputs
>
> Usage: gka verify [OPTION...] [FILE...]
>   -h, --help                                print this text
>       --oracle=KERNEL                       who computes the exact value:
>                                             certified (default), fp64, mpfr or
>                                             mpfr/BITS
>       --inputs=FILE                         take inputs and parameters from
>                                             this file, or from the one of the
>                                             same name in this directory
>       --json=OUT                            write the figures as JSON
>       --tolerance=NAME=VALUE                require rel_err <= VALUE of the
>                                             tensor NAME; may be repeated
>       --emulate=K[,K2..]                    emulate kernels too: h100,
>                                             h100/two-term, a100, h100/fp8,
>                                             cuda, tokens/fp32, ...
>                                             (gka/kernel.h); without outputs in
>                                             FILE: what they would lose
>       --unchecked                           take a device whose rule was
>                                             compared with nothing outside this
>                                             project (gka devices)
>       --units=FOLDER                        share the files among all
>                                             processes that are given this
>                                             folder (mpirun: rank 0 prints and
>                                             has the exit code, the others end
>                                             with 0), and go on from what is
>                                             there
>       --per-head                            with --emulate: a row for each head
>       --csv=OUT                             with --emulate: the heads' rows as
>                                             CSV
>       --form=FORM                           form of the iteration that is
>                                             emulated: three-term, two-term,
>                                             cg, cg-consistent
>       --set=SETTING                         switch one rounding of the
>                                             emulation, or repair it (below);
>                                             may be repeated
>       --show-ref                            judge the file's own ref.* tensors
>                                             too
>
> By a golden:
>       --against=GOLDEN                      judge by this file's references
>                                             and tolerances, made by gka
>                                             golden; or a suite's folder
>       --map=THEIRS=OURS                     the candidate calls the golden's
>                                             tensor OURS THEIRS; may be repeated
>       --reference=steps|exact|certified     exact (or certified): for a solver
>                                             that converges (steps)
>       --gradients=implicit|through|auto     through: of the steps themselves,
>                                             as autograd gives them (implicit)
>       --require=NAME,..|all                 these outputs, or all of the
>                                             golden's, must be there and be
>                                             judged
>       --given=LIST                          judge later stages only locally,
>                                             at the candidate's own x, p, f,
>                                             h_chunk
>       --given-from=OTHER                    ... or at those of this file
>       --junit=OUT                           write verdicts as JUnit
>
> Problem, with --emulate:
>       --problem=KEYS                        iid, powerlaw, lowrank, repeat,
>                                             recall, mean, convsilu or aligned
>                                             (mean)
>       --gate=GATE                           forgetting gates: none, slow,
>                                             released, strong or init
>                                             (released); with FILE drawn in the
>                                             place of its own
>       --B=N                                 B (1)
>       --T=N                                 T (256)
>       --H=N                                 H, query heads (1)
>       --G=N                                 key/value heads, a divisor of H (H)
>       --D=N                                 D (128)
>       --V=N                                 V, 0: no v (D)
>       --dtype=TYPE                          of q k v alpha do dx: F64, F32,
>                                             BF16, F16, F8_E4M3 or F8_E5M2
>                                             (BF16)
>       --pairs=N                             recall: tokens that store a pair
>                                             (T/2)
>       --plain                               no beta, no alpha, no gate
>       --no-alpha                            alpha = 1
>       --h0                                  initial states
>       --seed=N                              which draws (1)
>       --ridge=A                             a (0.02, or the file's)
>       --lambda=X                            a constant ridge, as MesaNet's (0,
>                                             or the file's)
>       --iters=R                             iterations (30, or the file's)
>       --chunk=C                             C (64, or the file's)
>       --scale=S                             s (1/sqrt(D), or the file's)
>
> Projections made into a problem, with FILE or FILE:PATTERN:
>       --layout=bthd|bhtd                    axes of its token tensors; [T,H,D]
>                                             or [H,T,D], and [T,D], too (bthd)
>       --conv=silu                           the layer's convolution of 4,
>                                             drawn, and SiLU
>       --normalise[=none|unit|rounded]       q and k to length 1 (unit), or
>                                             rounded as well; alone: unit
>       --beta                                draw beta, for k and v
>       --alpha                               draw alpha
>       --cotangents                          draw do and dx
>       --cast=fp64|fp32|bf16|fp16            round q k v alpha beta do dx to
>                                             this type
>       --fold                                beta and normalise multiplied into
>                                             q, k, v, in their type
>
> Each FILE is a safetensors file with the inputs q k [v] [alpha] [g] [h0] [u0] [do] [dx]
> [dh_final] [du_final] [cu_seqlens], metadata ridge_ratio, num_iter, chunk_size, scale (when
> missing: 0.02, 30, 64, 1/sqrt(D)), and any of the outputs x fro h_chunk h_final u_final o,
> solve.{dq dk dg dh0}, layer.{dq dk dv dalpha dg}. The exact value of each output is computed
> from the inputs.
>
>   rel_err      ||out - exact|| / ||exact|| over the tensor ("abs": exact = 0, ||out||)
>   stated       what the file's metadata rel_err_vs_fp64 says it is
>   max_row_err  the largest over rows (last axis; for states matrices), `at` that row
>   max_ulp      the largest distance, in steps of the stored format, to exact rounded to it
>   NaN,Inf      how many there are among the stored elements
>   ok           yes or no by --tolerance on rel_err, - without one
>
> Where FILE has no outputs, and with --per-head, --csv, several kernels (K,K2) or a problem that
> is made up, --emulate says what those kernels would lose on its inputs: ||out - exact|| /
> ||exact|| of x, o, solve.dk and layer.dalpha, by head with --per-head, then the median and the
> range over all heads. The exact values are then those of fp64, right to about 1e-12, unless
> --oracle is given.
>
> With --emulate=h100 the released kernels are emulated from the same inputs:
>   identical    share of the stored elements that the emulation gives too, bit for bit
>   far          the largest distance of the others, in steps of the stored format
>   predicted    rel_err of the emulation; beside it stands the one measured
> --set=POINT=exact leaves one rounding out (gka attribute lists them); repairs are form=,
> operand=bf16|split|tf32|fp16|e4m3|pPeE (what the products of the iteration read; the last two
> with a scale), store=1|2 (bf16 parts
> of x and p), handoff=1|2 (of q', dq' and dx), margin=M (the spectrum taken to reach
> (1 + a + M) f; 2^-6), num_iter=N. KERNEL.num_warps=1|2|4|8 names the configuration of one autotuned
> kernel: solve, solve_dk, solve_dh, states, output, output_bwd, gates, decode, or all of them.
> --emulate=h100/auto finds it by the file's bits, of a server's outputs too.
>
> A server's outputs are prefill.o prefill.h prefill.u of the first tokens (metadata prefill
> says how many) and decode.o decode.h decode.u of the others, one by one from the states
> before; beta [B,T,H] and normalise (none, unit, rounded) say what q, k, v still lack. The
> exact values are those of the numbers they stand for. --emulate=h100/serving emulates the
> server's kernels.
>
> The default oracle is certified: double-double with a proven error bound, the same
> bytes on every machine, 1.5 times fp64's time or so. Where it can prove nothing, fp64 takes
> its place with a note, unless certified was asked for: Cholesky in binary64, right to about
> 1e-12. mpfr computes in 256 bits, some hundred times slower, and judges the other two.
>
> With --against=GOLDEN each output in FILE is judged by that golden, as by `gka judge FILE
> GOLDEN`; `gka judge --help` says what the figures mean.
>
> JSON: for one FILE an object {file, oracle, parameters, tensors, ...}, for several a list of
> them; NaN and Inf are strings, ok is true, false or null. With --json=- no table is printed.
>
> Exit code: 0 all within tolerance or merely measured, 1 a tensor fails, 2 usage or bad input,
> 3 internal.
