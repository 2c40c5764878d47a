The verdict on what an H100 wrote, the same to the last digit on every machine; release/verify.t has more of its files.
(Only the bound that the oracle proves on its way depends on the BLAS.)

$ gka verify $DATA/h100/d64.safetensors | grep -v certified:
> $DATA/h100/d64.safetensors: B 1, T 192, H 1, D 64, V 64; ridge_ratio 0.02, chunk_size 64, scale 0.125; oracle certified
>
> tensor        dtype  shape         rel_err    stated  max_row_err  at       max_ulp  NaN,Inf  ok
> x             BF16   1,192,1,64   2.57e-03  2.57e-03     6.19e-03  0,68,0     30638        0  -
> fro           F32    1,192,1      5.48e-04  5.48e-04     2.33e-03  0,47,0     24323        0  -
> h_chunk       BF16   1,3,1,64,64  2.14e-03         -     2.17e-03  0,2,0      28384        0  -
> h_final       F32    1,1,64,64    1.30e-03  1.30e-03     1.30e-03  0,0      1.9e+09        0  -
> u_final       F32    1,1,64,64    1.51e-03  1.51e-03     1.51e-03  0,0      1.9e+09        0  -
> o             BF16   1,192,1,64   3.80e-02  3.80e-02     2.26e+00  0,0,0      30986        0  -
> solve.dq      BF16   1,192,1,64   2.51e-03  2.51e-03     6.93e-03  0,128,0    31712        0  -
> solve.dk      BF16   1,192,1,64   4.25e-02  4.25e-02     3.98e-01  0,0,0      33682        0  -
> solve.dg      F32    1,192,1      6.05e-03  6.05e-03     1.26e+00  0,0,0    1.1e+09        0  -
> layer.dq      BF16   1,192,1,64   1.65e-02  1.65e-02     9.04e-02  0,0,0      30704        0  -
> layer.dk      BF16   1,192,1,64   2.69e-02  2.69e-02     2.57e-01  0,0,0      31740        0  -
> layer.dv      BF16   1,192,1,64   2.60e-02  2.60e-02     3.22e-01  0,0,0      30958        0  -
> layer.dalpha  BF16   1,192,1      5.62e-02  5.62e-02     4.06e+01  0,76,0     31602        0  -
> layer.dg      F32    1,192,1      4.18e-02  4.18e-02     6.80e+00  0,65,0   2.0e+09        0  -
>
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: 13 of 13 stated figures agree to two digits
> note: tensor 'g_cumsum' is not judged
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
> note: 13 tensors ref.* are not shown (--show-ref)

An initial state; its gradient solve.dh0 has the wrong sign in these kernels, so it is off by twice
itself.

$ gka verify $DATA/h100/h0.safetensors | grep -v certified:
> $DATA/h100/h0.safetensors: B 1, T 128, H 1, D 128, V 128; ridge_ratio 0.02, chunk_size 64, scale 0.0883883; oracle certified
>
> tensor     dtype  shape           rel_err  stated  max_row_err  at      max_ulp  NaN,Inf  ok
> x          BF16   1,128,1,128    5.31e-03       -     1.35e-02  0,64,0    30213        0  -
> fro        F32    1,128,1        6.72e-03       -     1.04e-02  0,64,0   120674        0  -
> h_chunk    BF16   1,2,1,128,128  1.71e-03       -     2.14e-03  0,1,0     27786        0  -
> h_final    F32    1,1,128,128    1.45e-03       -     1.45e-03  0,0     1.8e+09        0  -
> solve.dq   BF16   1,128,1,128    4.79e-03       -     1.25e-02  0,65,0    31645        0  -
> solve.dk   BF16   1,128,1,128    4.59e-02       -     2.11e-01  0,61,0    33762        0  -
> solve.dg   F32    1,128,1        1.62e-02       -     8.41e-01  0,20,0  2.3e+07        0  -
> solve.dh0  F32    1,1,128,128    2.00e+00       -     2.00e+00  0,0     2.2e+09        0  -
>
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: solve.dh0 points against the gradient: cosine -1.0000, norm 1.0041 of it (symmetric parts)
> note: minus solve.dh0 is off by 3.47e-03 from the formula at its own x and p, by 1.69e-03 from that without the ridge term, which is 3.03e-03 of it
> note: tensor 'g_cumsum' is not judged
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one

Tolerances decide the exit code.

$ gka verify --tolerance=x=3e-3 --tolerance=fro=1e-3 $DATA/h100/d64.safetensors | grep yes
> x             BF16   1,192,1,64   2.57e-03  2.57e-03     6.19e-03  0,68,0     30638        0  yes
> fro           F32    1,192,1      5.48e-04  5.48e-04     2.33e-03  0,47,0     24323        0  yes
$ gka verify --tolerance=x=2e-3 $DATA/h100/d64.safetensors >table; echo "code $?"; grep NO table
> code 1
> x             BF16   1,192,1,64   2.57e-03  2.57e-03     6.19e-03  0,68,0     30638        0  NO
$ gka verify --tolerance=x=2e-3 --tolerance=x=1 $DATA/h100/d64.safetensors | grep yes
! gka verify: --tolerance x: given twice
= 1

Outputs in one file, inputs in another, or in the file of the same name in a folder.

$ gka verify --inputs=$DATA/h100/d64.safetensors $DATA/h100/d64.safetensors | grep -c BF16
> 9
$ gka verify --inputs=$DATA/h100 $DATA/h100/d64.safetensors | grep -c BF16
> 9

The file's own ref.*, an independent computation in fp64, agree with the oracle.

$ gka verify --show-ref --tolerance=ref.x=1e-11 --tolerance=ref.layer.dk=1e-11 $DATA/h100/d64.safetensors | grep -c yes
> 2

JSON on standard output, and nothing else.

$ gka verify --json=- $DATA/h100/decode.safetensors | head -4
> {
>   "schema": 1,
>   "file": "$DATA/h100/decode.safetensors",
>   "oracle": "certified",
$ gka verify --json=- $DATA/h100/decode.safetensors $DATA/h100/d64.safetensors | grep '"file"\|^[][{}]'
> [
>     "file": "$DATA/h100/decode.safetensors",
>     "file": "$DATA/h100/d64.safetensors",
> ]
$ gka verify --json=out.json $DATA/h100/d64.safetensors >table; ls
> out.json
> table

Ctrl-C in the middle of long work: the signal's exit code, and nothing left behind.

$ timeout --preserve-status -s INT 0.3 gka verify --oracle=mpfr --json=late.json $DATA/h100/slow.safetensors; echo $?; ls -A
> 130
> out.json
> table

What a server leaves: a prefill, then token after token from its states. The replay has every bit, and the name of the
kernel the configuration of each of its kernels.

$ gka verify --emulate=h100/serving $DATA/h200/serving/t10.safetensors
> $DATA/h200/serving/t10.safetensors: B 1, T 12, H 4, D 64, V 64; ridge_ratio 0.02, chunk_size 64, scale 0.125; oracle certified
>
> tensor     dtype  shape       rel_err  stated  max_row_err  at     max_ulp  NaN,Inf  ok
> prefill.o  BF16   1,10,4,64  4.99e-02       -     2.79e+00  0,0,2    30481        0  -
> prefill.h  F32    1,4,64,64  2.89e-03       -     3.00e-03  0,0    1.9e+09        0  -
> prefill.u  F32    1,4,64,64  2.69e-03       -     2.89e-03  0,2    1.9e+09        0  -
> decode.o   BF16   1,2,4,64   2.95e-03       -     3.44e-03  0,1,3      180        0  -
> decode.h   F32    1,4,64,64  2.59e-03       -     2.91e-03  0,0    1.9e+09        0  -
> decode.u   F32    1,4,64,64  2.50e-03       -     2.81e-03  0,2    1.9e+09        0  -
>
> tensor     identical  far  predicted
> prefill.o  100.000 %    0   4.99e-02
> prefill.h  100.000 %    0   2.89e-03
> prefill.u  100.000 %    0   2.69e-03
> decode.o   100.000 %    0   2.95e-03
> decode.h   100.000 %    0   2.59e-03
> decode.u   100.000 %    0   2.50e-03
>
> note: a server's outputs; exact: of q, k with normalise unit and k, v times beta + 1e-6
> note: certified: worst proven bound 1.9e-27, 0 of 48 token solves in MPFR
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
$ gka verify --emulate=h100/serving --tolerance=decode.o=.01 $DATA/h200/serving/t10.safetensors | grep -c yes
> 1
$ gka verify --emulate=h100/serving/decode.num_warps=8 $DATA/h200/serving/states.safetensors >table
$ awk '/%/ { print $1, $2 }' table
> prefill.o 100.000
> prefill.h 100.000
> prefill.u 100.000
> decode.o 99.941
> decode.h 100.000
> decode.u 75.208
$ gka verify --emulate=h100/serving $DATA/h100/d64.safetensors
! gka verify: kernel h100/serving gives no 'x'
= 2
$ gka verify --emulate=h100 $DATA/h200/serving/t10.safetensors
! gka verify: $DATA/h200/serving/t10.safetensors: outputs of a server: the kernel h100/serving was expected, not h100
= 2
$ gka verify --emulate=h100/auto $DATA/h200/serving/t10.safetensors
> $DATA/h200/serving/t10.safetensors: B 1, T 12, H 4, D 64, V 64; ridge_ratio 0.02, chunk_size 64, scale 0.125; oracle certified
>
> tensor     dtype  shape       rel_err  stated  max_row_err  at     max_ulp  NaN,Inf  ok
> prefill.o  BF16   1,10,4,64  4.99e-02       -     2.79e+00  0,0,2    30481        0  -
> prefill.h  F32    1,4,64,64  2.89e-03       -     3.00e-03  0,0    1.9e+09        0  -
> prefill.u  F32    1,4,64,64  2.69e-03       -     2.89e-03  0,2    1.9e+09        0  -
> decode.o   BF16   1,2,4,64   2.95e-03       -     3.44e-03  0,1,3      180        0  -
> decode.h   F32    1,4,64,64  2.59e-03       -     2.91e-03  0,0    1.9e+09        0  -
> decode.u   F32    1,4,64,64  2.50e-03       -     2.81e-03  0,2    1.9e+09        0  -
>
> tensor     identical  far  predicted
> prefill.o  100.000 %    0   4.99e-02
> prefill.h  100.000 %    0   2.89e-03
> prefill.u  100.000 %    0   2.69e-03
> decode.o   100.000 %    0   2.95e-03
> decode.h   100.000 %    0   2.59e-03
> decode.u   100.000 %    0   2.50e-03
>
> note: a server's outputs; exact: of q, k with normalise unit and k, v times beta + 1e-6
> note: certified: worst proven bound 1.9e-27, 0 of 48 token solves in MPFR
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
> note: configuration: solve.num_warps=4 output.num_warps=4 decode.num_warps=4; every element; 7 runs for 1.79e+07 choices known, the rest of them indistinguishable, and so are some of those run
$ gka verify --tolerance=decode.q=1 $DATA/h200/serving/t10.safetensors
! gka verify: --tolerance decode.q: no output has that name (did you mean 'decode.o'?)
= 2

A kernel's name is an oracle's too.

$ gka verify --oracle=mpfr/64 $DATA/h100/d64.safetensors | head -1
> $DATA/h100/d64.safetensors: B 1, T 192, H 1, D 64, V 64; ridge_ratio 0.02, chunk_size 64, scale 0.125; oracle mpfr/64
$ gka verify --oracle=mpfr/1 $DATA/h100/d64.safetensors
! gka verify: --oracle=mpfr/1: a number of bits from 53 to 1048576 was expected
= 2
$ gka verify --oracle=h100 $DATA/h100/d64.safetensors
! gka verify: --oracle=h100: expected certified, fp64, mpfr or mpfr/BITS
= 2

NaN that the released kernel gives itself, where the state is empty.

$ safetensors zero.st '{"q":{"dtype":"BF16","shape":[1,1,1,16],"data_offsets":[0,32]},"k":{"dtype":"BF16","shape":[1,1,1,16],"data_offsets":[32,64]},"x":{"dtype":"BF16","shape":[1,1,1,16],"data_offsets":[64,96]}}' 64
$ printf '\300\177%.0s' {1..16} >>zero.st; gka verify --emulate=h100 --tolerance=x=1 zero.st
> zero.st: B 1, T 1, H 1, D 16, V 0; ridge_ratio 0.02, chunk_size 64, scale 0.25; oracle certified
>
> tensor  dtype  shape     rel_err  stated  max_row_err  at     max_ulp  NaN,Inf  ok
> x       BF16   1,1,1,16      NaN       -          NaN  0,0,0        0       16  NO
>
> tensor  identical  far  predicted
> x       100.000 %    0        NaN
>
> note: metadata 'ridge_ratio' is missing: 0.02 taken
> note: metadata 'num_iter' is missing: 30 taken
> note: metadata 'chunk_size' is missing: 64 taken
> note: metadata 'scale' is missing: 0.25 taken
> note: 1 token solves met an empty state (f = 0): x = 0 there
> note: certified: worst proven bound 0.0e+00, 0 of 1 token solves in MPFR
> note: x: of its 16 NaN and infinite elements 16 are predicted: the emulation has NaN or an infinity there too
= 1
