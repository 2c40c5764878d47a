The panels judged by a golden, by a suite, and by one that is too small.

$ gka golden --T=3 --D=16 --chunk=16 --dtype=fp32 --iters=2 --plain -o g
$ gka golden --audit=g
> tensor    tolerance  largest accepted  by      smallest rejected  by     margin
> x          4.77e-07          1.35e-07  ieee32           1.54e-02  bf16   113881
> fro        2.38e-07          1.15e-07  tokens           1.65e-02  bf16   143096
> h_chunk    2.22e-16                 0  steps                   -  -           -
> h_final    1.19e-07          3.69e-08  tokens           3.93e-03  bf16   106420
> u_final    1.19e-07          4.01e-08  tokens           3.37e-03  bf16    84226
> o          1.91e-06          8.25e-07  tokens           7.50e-02  bf16    90892
> solve.dq   4.77e-07          1.59e-07  tokens           1.74e-02  bf16   109774
> solve.dk   1.91e-06          7.47e-07  tokens           4.40e-02  bf16    58881
> layer.dq   3.81e-06          1.47e-06  tokens           1.07e-01  bf16    72610
> layer.dk   9.54e-07          1.94e-07  tokens           3.63e-03  ridge   18674
> layer.dv   1.91e-06          5.64e-07  tokens           4.58e-02  bf16    81271
>
> panel   member          verdict  tensor       error  tolerance     margin  note
> accept  steps           passes   u_final   2.54e-08   1.19e-07       4.69
> accept  exact           -        -                -          -          -  2 steps leave 2.6e+00 of x, more than a rounding
> accept  h100            -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c16        -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c32        -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c64        -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c128       -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-w2         -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-w8         -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  a100            -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  fp32-states     -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  two-term        -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  cg-consistent   -        -                -          -          -  profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  ieee32          passes   o         7.90e-07   1.91e-06       2.41
> accept  tokens          passes   fro       1.15e-07   2.38e-07       2.07
> reject  exp2            -        -                -          -          -  no gates
> reject  state_exp2      -        -                -          -          -  no gates
> reject  exclusive_gate  -        -                -          -          -  no gates
> reject  omega0          caught   x         5.17e-01   4.77e-07    3818706
> reject  r_minus_1       caught   x         4.91e-01   4.77e-07    3626088
> reject  r_plus_1        caught   x         5.05e-01   4.77e-07    3730069
> reject  stale_f         caught   x         3.87e-01   4.77e-07    2859707
> reject  chunk_state     -        -                -          -          -  no sequence is longer than a chunk
> reject  ragged_mask     caught   h_final   4.38e+00   1.19e-07  118692256
> reject  leak            -        -                -          -          -  one sequence
> reject  h0_ignored      -        -                -          -          -  no initial states
> reject  head_map        -        -                -          -          -  no groups of heads that could be mixed up
> reject  beta_once       -        -                -          -          -  every key has length 1: no beta
> reject  transposed      caught   u_final   1.48e+00   1.19e-07   36861492
> reject  scale_twice     caught   layer.dk  7.50e-01   9.54e-07    3860803
> reject  bf16            caught   fro       1.65e-02   2.38e-07     143096
> reject  ridge           caught   solve.dk  3.30e-01   1.91e-06     441849
> reject  final_gradient  -        -                -          -          -  final states have no cotangents
> reject  chunk_gradient  -        -                -          -          -  no sequence is longer than a chunk
> reject  dh0_sign        -        -                -          -          -  no such tensor
> reject  dk_zero         caught   layer.dk  1.00e+00   9.54e-07    5147738
> reject  dk_half         caught   layer.dk  5.00e-01   9.54e-07    2573869
> reject  dk_minus        caught   layer.dk  2.00e+00   9.54e-07   10295475
> 3 of 3 right kernels pass, 12 of 12 mistakes are caught
$ gka golden --suite=quick -o quick
> quick: 13 goldens made, 0 kept
$ gka golden --audit=quick --json=out.json | tail -1; grep -c '"file"' out.json; grep -A4 '"name": "leak"' out.json | tail -3
> 13 cases: 169 of 169 right kernels pass, 23 of 23 mistakes are caught
> 13
>       "applies": 2,
>       "caught": 2,
>       "best": "packed",

Of one case alone, with thirty iterations in bf16.

$ mkdir one; cp quick/strong.safetensors one; printf '{"suite": "one", "golden": "1", "gka_version": "0.1.0", "cases": [{"name": "strong", "file": "strong.safetensors", "sha256": "%s"}]}' $(sha256sum one/strong.safetensors | cut -d' ' -f1) > one/index.json
$ gka golden --audit=one | tail -9; exit ${PIPESTATUS[0]}
> no case catches omega0
> no case catches r_minus_1
> no case catches r_plus_1
> leak applies to no case
> h0_ignored applies to no case
> head_map applies to no case
> final_gradient applies to no case
> dh0_sign applies to no case
> 1 case: 14 of 14 right kernels pass, 15 of 23 mistakes are caught
= 1

A member's tensors.

$ gka golden --audit=g --write=omega0 -o m; gka verify --against=g m | grep -E 'NO$|judged'
> x         F32    5.17e-01  steps     4.77e-07  5.17e-01   4.77e-07  5.17e-01         -          -  8.67e-01  NO
> solve.dq  F32    5.17e-01  steps     4.77e-07  5.17e-01   4.77e-07  5.17e-01         -          -  8.67e-01  NO
> layer.dq  F32    2.49e-01  steps     3.81e-06  3.93e-01   3.81e-06  2.49e-01         -          -  7.42e-01  NO
> 11 judged, 3 failed, 0 missing
$ gka golden --audit=g --write=omega -o m
! gka golden: --write: no member 'omega' in the panels (did you mean 'omega0'?)
= 2
$ gka golden --audit=g --write=h100 -o m
! gka golden: h100 does not apply to g: profile h100 wants q, k, v, alpha and the cotangents in BF16
= 2
$ gka golden --audit=g -o m
! gka golden: -o with --audit: expected --write=MEMBER too
= 2
$ gka golden --audit=g --write=omega0
! gka golden: --write: expected -o FILE too
= 2
$ gka golden --audit=m
! gka golden: m: metadata 'golden' or 'tolerances' is missing; a file made by gka golden was expected
= 2
$ gka golden --audit=nothing
! gka golden: nothing: No such file or directory
= 2
