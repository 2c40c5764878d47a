The panels judged by a golden, by a suite, and by one that is too small.

$ gka golden --T=3 --D=16 --chunk=16 --dtype=fp32 --iters=2 --plain -o g
$ gka golden --audit=g
> tensor    tolerance  largest accepted  by               smallest rejected  by     margin
> x          4.77e-07          2.28e-07  tokens-pairwise           1.94e-04  tf32      851
> fro        2.38e-07          1.15e-07  tokens                    1.65e-02  bf16   143096
> h_chunk    2.22e-16                 0  steps                            -  -           -
> h_final    1.19e-07          3.69e-08  tokens                    3.93e-03  bf16   106420
> u_final    1.19e-07          4.01e-08  tokens                    3.37e-03  bf16    84226
> o          1.91e-06          8.25e-07  tokens                    2.64e-03  tf32     3197
> solve.dq   4.77e-07          2.19e-07  tokens-pairwise           2.10e-04  tf32      961
> solve.dk   1.91e-06          7.47e-07  tokens                    1.75e-03  tf32     2339
> layer.dq   3.81e-06          1.47e-06  tokens                    1.78e-03  tf32     1209
> layer.dk   9.54e-07          2.61e-07  ieee32-two-term           3.29e-04  trace    1258
> layer.dv   1.91e-06          6.80e-07  tokens-pairwise           2.22e-03  tf32     3269
>
> panel   member           tolerances   verdict  tensor       error  tolerance  slack     margin
> accept  steps            made         passes   u_final   2.54e-08   1.19e-07   4.69          -
> accept  exact            -            -        -                -          -      -          -
> accept  h100             -            -        -                -          -      -          -
> accept  h100-c16         -            -        -                -          -      -          -
> accept  h100-c32         -            -        -                -          -      -          -
> accept  h100-c64         -            -        -                -          -      -          -
> accept  h100-c128        -            -        -                -          -      -          -
> accept  h100-c48         -            -        -                -          -      -          -
> accept  h100-c80         -            -        -                -          -      -          -
> accept  two-term         -            -        -                -          -      -          -
> accept  h100-w1          -            -        -                -          -      -          -
> accept  h100-w2          -            -        -                -          -      -          -
> accept  h100-w8          -            -        -                -          -      -          -
> accept  all-w1           -            -        -                -          -      -          -
> accept  all-w8           -            -        -                -          -      -          -
> accept  two-term-w8      -            -        -                -          -      -          -
> accept  a100             -            -        -                -          -      -          -
> accept  a100-two-term    -            -        -                -          -      -          -
> accept  b200             -            -        -                -          -      -          -
> accept  fp32-states      -            -        -                -          -      -          -
> accept  cg-consistent    -            -        -                -          -      -          -
> accept  fp32-norm        -            -        -                -          -      -          -
> accept  split            -            -        -                -          -      -          -
> accept  handoff-2        -            -        -                -          -      -          -
> accept  low-states       -            -        -                -          -      -          -
> accept  decode           -            -        -                -          -      -          -
> accept  cuda             -            -        -                -          -      -          -
> accept  points           -            -        -                -          -      -          -
> accept  points-c16       -            -        -                -          -      -          -
> accept  points-c32       -            -        -                -          -      -          -
> accept  points-c64       -            -        -                -          -      -          -
> accept  points-c128      -            -        -                -          -      -          -
> accept  points-two-term  -            -        -                -          -      -          -
> accept  tf32-weight      -            -        -                -          -      -          -
> accept  ieee32           made         passes   o         7.90e-07   1.91e-06   2.41          -
> accept  ieee32-c16       -            -        -                -          -      -          -
> accept  ieee32-c32       independent  passes   o         7.90e-07   1.91e-06   2.41          -
> accept  ieee32-c64       independent  passes   o         7.90e-07   1.91e-06   2.41          -
> accept  ieee32-c128      independent  passes   o         7.90e-07   1.91e-06   2.41          -
> accept  ieee32-c24       independent  passes   o         7.90e-07   1.91e-06   2.41          -
> accept  ieee32-two-term  made         passes   solve.dq  1.54e-07   4.77e-07   3.10          -
> accept  tokens           made         passes   fro       1.15e-07   2.38e-07   2.07          -
> accept  tokens-fma       independent  passes   fro       1.15e-07   2.38e-07   2.07          -
> accept  tokens-pairwise  independent  passes   x         2.28e-07   4.77e-07   2.09          -
> accept  cg-mix           -            -        -                -          -      -          -
> accept  cg-handoffs      -            -        -                -          -      -          -
> accept  two-term-end     -            -        -                -          -      -          -
> accept  points-end       -            -        -                -          -      -          -
> accept  ieee32-end       -            -        -                -          -      -          -
> accept  ieee32-two-end   -            -        -                -          -      -          -
> accept  ieee32-cg        -            -        -                -          -      -          -
> reject  exp2             -            -        -                -          -      -          -
> reject  state_exp2       -            -        -                -          -      -          -
> reject  exclusive_gate   -            -        -                -          -      -          -
> reject  ungated_h        -            -        -                -          -      -          -
> reject  late_gate        -            -        -                -          -      -          -
> reject  omega0           -            caught   solve.dq  5.17e-01   4.77e-07      -    2363971
> reject  r_minus_1        -            caught   solve.dq  4.91e-01   4.77e-07      -    2241784
> reject  r_plus_1         -            caught   solve.dq  5.05e-01   4.77e-07      -    2306603
> reject  stale_f          -            caught   fro       2.52e-01   2.38e-07      -    2184229
> reject  stale_ridge      -            caught   solve.dq  4.11e-01   4.77e-07      -    1876044
> reject  trace            -            caught   solve.dq  2.84e-01   4.77e-07      -    1296355
> reject  chunk_state      -            -        -                -          -      -          -
> reject  ragged_mask      -            caught   h_final   4.38e+00   1.19e-07      -  118692256
> reject  leak             -            -        -                -          -      -          -
> reject  h0_ignored       -            -        -                -          -      -          -
> reject  head_map         -            -        -                -          -      -          -
> reject  beta_once        -            -        -                -          -      -          -
> reject  transposed       -            caught   u_final   1.48e+00   1.19e-07      -   36861492
> reject  scale_twice      -            caught   layer.dk  7.50e-01   9.54e-07      -    2868395
> reject  alpha_swapped    -            -        -                -          -      -          -
> reject  alpha_twice      -            -        -                -          -      -          -
> reject  bf16             -            caught   fro       1.65e-02   2.38e-07      -     143096
> reject  fp16             -            -        -                -          -      -          -
> reject  tf32             -            caught   layer.dv  2.22e-03   1.91e-06      -       3269
> reject  ridge            -            caught   solve.dk  3.30e-01   1.91e-06      -     441849
> reject  exclusive_dg     -            -        -                -          -      -          -
> reject  direct_lost      -            -        -                -          -      -          -
> reject  final_gradient   -            -        -                -          -      -          -
> reject  chunk_gradient   -            -        -                -          -      -          -
> reject  dh0_sign         -            -        -                -          -      -          -
> reject  dk_zero          -            caught   layer.dk  1.00e+00   9.54e-07      -    3824527
> reject  dk_half          -            caught   layer.dk  5.00e-01   9.54e-07      -    1912263
> reject  dk_minus         -            caught   layer.dk  2.00e+00   9.54e-07      -    7649054
>
> panel   member           note
> accept  exact            2 steps leave 2.6e+00 of x, more than a rounding
> accept  h100             profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c16         profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c32         profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c64         profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c128        profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c48         profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-c80         profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  two-term         profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-w1          profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-w2          profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  h100-w8          profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  all-w1           profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  all-w8           profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  two-term-w8      profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  a100             profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  a100-two-term    profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  b200             profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  fp32-states      profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  cg-consistent    profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  fp32-norm        profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  split            profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  handoff-2        profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  low-states       profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  decode           more than one token, or none
> accept  cuda             2 steps leave 2.6e+00 of x, more than a rounding
> accept  points           rounds to 16 bits; the inputs have more
> accept  points-c16       the golden's own chunk size
> accept  points-c32       rounds to 16 bits; the inputs have more
> accept  points-c64       rounds to 16 bits; the inputs have more
> accept  points-c128      rounds to 16 bits; the inputs have more
> accept  points-two-term  rounds to 16 bits; the inputs have more
> accept  tf32-weight      rounds to 16 bits; the inputs have more
> accept  ieee32-c16       the golden's own chunk size
> accept  cg-mix           rounds to 16 bits; the inputs have more
> accept  cg-handoffs      rounds to 16 bits; the inputs have more
> accept  two-term-end     profile h100 wants q, k, v, alpha and the cotangents in BF16
> accept  points-end       rounds to 16 bits; the inputs have more
> accept  ieee32-end       2 steps leave 2.6e+00 of x, more than a rounding
> accept  ieee32-two-end   2 steps leave 2.6e+00 of x, more than a rounding
> accept  ieee32-cg        2 steps leave 2.6e+00 of x, more than a rounding
> reject  exp2             no gates
> reject  state_exp2       no gates
> reject  exclusive_gate   no gates
> reject  ungated_h        no gates
> reject  late_gate        no gates, or one for several heads of a key
> reject  chunk_state      no sequence is longer than a chunk
> reject  leak             one sequence
> reject  h0_ignored       no initial states
> reject  head_map         no groups of heads that could be mixed up
> reject  beta_once        every key has length 1: no beta
> reject  alpha_swapped    no alpha
> reject  alpha_twice      no alpha
> reject  fp16             not the inputs' type: see bf16
> reject  exclusive_dg     no such tensor
> reject  direct_lost      changes nothing here
> reject  final_gradient   final states have no cotangents
> reject  chunk_gradient   no sequence is longer than a chunk
> reject  dh0_sign         no such tensor
> 10 of 10 right kernels pass (6 of 6 took no part in making the tolerances), 15 of 15 mistakes are caught
Where the released kernels themselves give NaN there is no verdict, and it is counted.

$ gka golden --T=17 --D=16 --chunk=16 --ungated -o n; gka audit n | tail -5
> not judged: 44 tensors of 22 right kernels are not finite: solve.dk layer.dk
> 45 of 45 right kernels pass (32 of 32 took no part in making the tolerances), 17 of 20 mistakes are caught
> cannot tell apart: omega0 (omega_0 = 0, as Algorithm 1 is misprinted): margin 1.85
> cannot tell apart: r_minus_1 (one iteration too few): margin 1.00
> cannot tell apart: r_plus_1 (one iteration too many): margin 1.00
$ gka audit n --json=- | grep -A1 '"note": "not finite: solve.dk layer.dk"' | head -2
>       "note": "not finite: solve.dk layer.dk",
>       "left_out": 2,

Of one case alone, with thirty iterations in bf16.

$ mkdir one; gka golden --T=50 --D=32 --chunk=32 --gate=strong -o one/strong.safetensors; printf '{"suite": "one", "golden": "2", "complete": true, "gka_version": "0.1.0", "cases": [{"name": "strong", "file": "strong.safetensors", "sha256": "%s"}]}' $(sha256sum one/strong.safetensors | cut -d' ' -f1) > one/index.json
$ gka audit one | tail -11; exit ${PIPESTATUS[0]}
> no case catches omega0
> no case catches r_minus_1
> no case catches r_plus_1
> leak applies to no case
> h0_ignored applies to no case
> head_map applies to no case
> fp16 applies to no case
> tf32 applies to no case
> final_gradient applies to no case
> dh0_sign applies to no case
> 1 case: 44 of 44 right kernels pass (32 of 32 took no part in making the tolerances), 23 of 33 mistakes are caught
= 1

A member's tensors.

$ gka audit --write=omega0 -o m g; gka judge m g | grep -E 'NO$|judged'
> 11 judged, 3 failed, 0 missing, 0 not judged
$ gka golden --audit=g --write=omega -o m
! gka golden: --write: no member 'omega' in the panels (did you mean 'omega0'?); `gka audit g` lists them
= 2
$ gka golden --audit=g --write=h100 -o m
! gka golden: h100 does not apply to g: profile h100 wants q, k, v, alpha and the cotangents in BF16
= 2
$ gka golden --audit=g -o m
! gka golden: -o: expected --write=MEMBER too
= 2
$ gka golden --audit=g --write=omega0
! gka golden: --write: expected -o FILE too
= 2
$ gka golden --audit=m
! gka golden: m: metadata 'golden' is missing; a file made by gka golden was expected
= 2
$ gka golden --audit=nothing
! gka golden: nothing: No such file or directory
= 2
