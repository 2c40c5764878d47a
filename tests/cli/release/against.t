A golden of a released file's own inputs. The released kernels pass, but for dh0, whose sign is
known to be wrong.

$ gka golden --input=$DATA/h100/h0.safetensors -o golden
$ gka verify --against=golden --junit=junit.xml --json=out.json $DATA/h100/h0.safetensors
> $DATA/h100/h0.safetensors against golden
>
> tensor        dtype     error  against  tolerance       row  tolerance  ok          steps     local
> x             BF16   5.32e-03  steps     3.12e-02  1.35e-02   1.25e-01  yes      5.32e-03         -
> fro           F32    6.72e-03  steps     1.25e-01  7.20e-03   1.25e-01  yes      6.72e-03         -
> h_chunk       BF16   1.71e-03  steps     3.91e-03  1.71e-03   3.91e-03  yes      1.71e-03         -
> h_final       F32    1.45e-03  steps     3.91e-03  1.45e-03   3.91e-03  yes      1.45e-03         -
> u_final       -             -  -         3.91e-03         -   3.91e-03  missing         -         -
> o             -             -  -         6.25e-02         -   2.50e-01  missing         -         -
> solve.dq      BF16   4.81e-03  steps     3.12e-02  1.26e-02   1.25e-01  yes      4.81e-03         -
> solve.dk      BF16   1.21e-02  local     3.12e-02  5.58e-02   1.25e-01  yes      4.59e-02  1.21e-02
> solve.dg      F32    8.57e-03  local     6.25e-02  2.10e-02   1.25e-01  yes      1.63e-02  8.57e-03
> solve.dh0     F32    2.00e+00  local     3.91e-03  2.00e+00   3.91e-03  NO       2.00e+00  2.00e+00
> layer.dq      -             -  -         6.25e-02         -   1.25e-01  missing         -         -
> layer.dk      -             -  -         6.25e-02         -   2.50e-01  missing         -         -
> layer.dv      -             -  -         6.25e-02         -   2.50e-01  missing         -         -
> layer.dalpha  -             -  -         1.25e-01         -          -  missing         -         -
> layer.dg      -             -  -         1.25e-01         -          -  missing         -         -
>
> tensor        inherited     total
> x                     -  5.31e-03
> fro                   -  6.72e-03
> h_chunk               -  1.71e-03
> h_final               -  1.45e-03
> u_final               -         -
> o                     -         -
> solve.dq              -  4.79e-03
> solve.dk       4.30e-02  4.59e-02
> solve.dg       1.30e-02  1.62e-02
> solve.dh0      6.86e-03  2.00e+00
> layer.dq              -         -
> layer.dk              -         -
> layer.dv              -         -
> layer.dalpha          -         -
> layer.dg              -         -
>
> tensor     FLA ratio  FLA < 0.005  torch rtol  with atol  atol with rtol 0  1 - cosine  toward 0
> x           5.32e-03  fails          1.60e-02   2.83e-01          6.24e-01    1.20e-05      38 %
> fro         6.72e-03  fails          1.30e-06   1.15e-01          1.15e-01    1.27e-06      73 %
> h_chunk     1.71e-03  passes         1.60e-02   9.28e-06          3.87e-03    1.45e-06      50 %
> h_final     1.45e-03  passes         1.30e-06   8.57e-05          8.58e-05    1.05e-06      51 %
> solve.dq    4.81e-03  passes         1.60e-02   2.67e+00          5.76e+00    9.73e-06      38 %
> solve.dk    4.59e-02  fails          1.60e-02   6.10e+01          6.14e+01    1.05e-03      44 %
> solve.dg    1.63e-02  fails          1.30e-06   3.47e+00          3.47e+00    1.14e-04      47 %
> solve.dh0   2.00e+00  fails          1.30e-06   7.49e+01          7.49e+01    2.00e+00      32 %
>
> solve.dh0: error 2 > 0.00391; 16349 of 16384 elements off by more than tolerance * rms
>   row solve.dh0[0,0]: error 2 > 0.00391
>   first solve.dh0[0,0,0,0]: -1.22301483 (0xBF9C8BC0), 1.09649183 (0x3F8C59D8) was expected
>   worst solve.dh0[0,0,34,118]: 37.4922752 (0x4215F817), -37.5049103 (0xC2160507) was expected
>   distances in steps of F32:  32768 and more: 16384
> note: tensor 'g_cumsum' is not judged
> 8 judged, 1 failed, 7 missing, 0 not judged
> no verdict on: u_final, o, layer.dq, layer.dk, layer.dv, layer.dalpha, layer.dg; what is missing fails with --require=NAME,..|all
= 1
$ cat junit.xml
> <?xml version="1.0" encoding="UTF-8"?>
> <testsuites>
>   <testsuite name="$DATA/h100/h0.safetensors" tests="15" failures="1" skipped="7">
>     <testcase classname="gka" name="x"/>
>     <testcase classname="gka" name="fro"/>
>     <testcase classname="gka" name="h_chunk"/>
>     <testcase classname="gka" name="h_final"/>
>     <testcase classname="gka" name="u_final"><skipped message="missing"/></testcase>
>     <testcase classname="gka" name="o"><skipped message="missing"/></testcase>
>     <testcase classname="gka" name="solve.dq"/>
>     <testcase classname="gka" name="solve.dk"/>
>     <testcase classname="gka" name="solve.dg"/>
>     <testcase classname="gka" name="solve.dh0"><failure message="error 2, tolerance 0.00391; row error 2, tolerance 0.00391"/></testcase>
>     <testcase classname="gka" name="layer.dq"><skipped message="missing"/></testcase>
>     <testcase classname="gka" name="layer.dk"><skipped message="missing"/></testcase>
>     <testcase classname="gka" name="layer.dv"><skipped message="missing"/></testcase>
>     <testcase classname="gka" name="layer.dalpha"><skipped message="missing"/></testcase>
>     <testcase classname="gka" name="layer.dg"><skipped message="missing"/></testcase>
>   </testsuite>
> </testsuites>
$ grep -c '"name"' out.json; grep -A 16 '"worst"' out.json | tail -11
> 15
>         ],
>         "out": 37.492275238037109,
>         "expected": -37.504910266212271,
>         "out_hex": "0x4215F817",
>         "expected_hex": "0xC2160507"
>       },
>       "distances": [
>         0,
>         0,
>         0,
>         0,
$ gka golden --input=$DATA/h100/d64.safetensors -o golden; gka verify --against=golden $DATA/h100/d64.safetensors | tail -1
> 14 judged, 0 failed, 0 missing, 0 not judged

What is not a golden, what is of another shape, what means nothing.

$ gka verify --against=$DATA/h100/d64.safetensors $DATA/h100/d64.safetensors
! gka verify: $DATA/h100/d64.safetensors: metadata 'golden' is missing; a file made by gka golden was expected
= 2
$ gka verify --against=golden $DATA/h100/h0.safetensors
! gka verify: $DATA/h100/h0.safetensors: tensor 'x': shape [1,128,1,128]; [B,T,H,D] = [1,192,1,64] was expected
= 2
$ gka verify --against=golden --layout=bhtd $DATA/h100/d64.safetensors
! gka verify: $DATA/h100/d64.safetensors: tensor 'x': shape [1,192,1,64]; [B,H,T,D] = [1,1,192,64] was expected (layout [B,T,H,D] would fit)
= 2
$ gka verify --against=golden --map=g=fro $DATA/h100/d64.safetensors | head -5
> $DATA/h100/d64.safetensors against golden
>
> tensor        dtype     error  against  tolerance       row  tolerance  ok      steps     local
> x             BF16   2.56e-03  steps     1.56e-02  6.18e-03   3.12e-02  yes  2.56e-03         -
> fro           F32    1.07e+00  steps     3.91e-03  1.23e+00   1.56e-02  NO   1.07e+00         -
$ gka verify --against=golden --map=out=oo $DATA/h100/d64.safetensors
! gka verify: --map out=oo: no output has that name (did you mean 'o'?)
= 2
$ gka verify --against=golden --map=out $DATA/h100/d64.safetensors
! gka verify: --map out: THEIRS=OURS was expected
= 2
$ gka verify --against=golden --map=out=o --map=y=o $DATA/h100/d64.safetensors
! gka verify: --map y=o: o is mapped twice
= 2
$ gka verify --against=golden --map=out=o $DATA/h100/d64.safetensors >table; tail -4 table
> note: tensor 'g_cumsum' is not judged
> note: tensor 'o' is not judged
> 13 judged, 0 failed, 1 missing, 0 not judged
> no verdict on: out; what is missing fails with --require=NAME,..|all
! gka verify: --map out=o: no candidate has a tensor 'out'
$ gka verify --against=golden --oracle=fp64 $DATA/h100/d64.safetensors
! gka verify: --oracle has no meaning with --against
= 2
$ gka verify --junit=x $DATA/h100/d64.safetensors
! gka verify: --junit has no meaning without --against=GOLDEN
= 2
$ gka verify --against=golden golden
! gka verify: golden: nothing to judge; a tensor 'x' or another output of golden was expected
= 2

A solver that converges is right, and does not compute what three steps of another give.

$ gka golden --T=16 --D=8 --iters=3 --ridge=.005 --dtype=fp32 --no-alpha --outputs=forward -o few
$ gka verify --against=few --map=x.exact=x --map=fro.exact=fro few | grep -v distances
> few against few
>
> tensor  dtype     error  against  tolerance       row  tolerance  ok          steps  local
> x       F64    5.04e+00  steps     1.91e-06  6.10e+00   1.91e-06  NO       5.04e+00      -
> fro     F64    8.65e-17  steps     2.38e-07  1.63e-16   4.77e-07  yes      8.65e-17      -
> o       -             -  -         9.54e-07         -   1.91e-06  missing         -      -
>
> tensor  inherited  total
> x               -      0
> fro             -      0
> o               -      -
>
> tensor  FLA ratio  FLA < 0.005  torch rtol  with atol  atol with rtol 0  1 - cosine  toward 0
> x        5.04e+00  fails          1.00e-07   2.35e+02          2.35e+02    7.55e-02      24 %
> fro      8.65e-17  passes         1.00e-07          0          2.22e-16   -2.22e-16      33 %
>
> x: error 5.04 > 1.91e-06; 128 of 128 elements off by more than tolerance * rms
>   row x[0,0,0]: error 6.1 > 1.91e-06
>   first x[0,0,0,0]: -213.467851 (0xC06AAEF8A246557E), -30.0812806 (0xC03E14CECD8EBA93) was expected
>   worst x[0,0,0,7]: -273.682653 (0xC0711AEC255CD94A), -38.5665787 (0xC0434885A6773C5E) was expected
> note: as near as asked to the exact value, not to num_iter steps; a solver that converges: --reference=exact
> note: tensor 'x.steps' is not judged
> note: tensor 'fro.steps' is not judged
> note: tensor 'o.exact' is not judged
> note: tensor 'o.steps' is not judged
> 2 judged, 1 failed, 1 missing, 0 not judged
> no verdict on: o; what is missing fails with --require=NAME,..|all
$ gka verify --against=few --map=x.exact=x --map=fro.exact=fro --reference=exact few | head -5
> few against few
>
> tensor  dtype  error  against  tolerance  row  tolerance  ok          steps  local  inherited  total
> x       F64        0  exact     1.91e-06    0   3.81e-06  yes      5.04e+00      -          -      0
> fro     F64        0  exact     5.96e-08    0   1.19e-07  yes      8.65e-17      -          -      0

Stages alone: the released backward at its own x, f and p, and the total error in its parts.

$ gka golden --input=$DATA/h100/d64.safetensors --stage=dk -o dk; gka verify --against=dk $DATA/h100/d64.safetensors | head -6
> $DATA/h100/d64.safetensors against dk
>
> tensor    dtype     error  against  tolerance       row  tolerance  ok      steps  local  inherited
> solve.dk  BF16   4.22e-03  steps     3.12e-02  2.51e-02   6.25e-02  yes  4.22e-03      -          -
> layer.dk  BF16   1.82e-02  steps     6.25e-02  4.30e-02   1.25e-01  yes  1.82e-02      -          -
>
$ gka verify --against=dk --given=x $DATA/h100/d64.safetensors
! gka verify: given: dk is of one stage, which has what it is given
= 2
$ gka verify --against=golden --given=x,p,f,h_chunk $DATA/h100/d64.safetensors | head -18
> $DATA/h100/d64.safetensors against golden
>
> tensor        dtype     error  against  tolerance       row  tolerance  ok      steps     local
> x             BF16   2.56e-03  steps     1.56e-02  6.18e-03   3.12e-02  yes  2.56e-03         -
> fro           F32    5.48e-04  steps     3.91e-03  2.26e-03   1.56e-02  yes  5.48e-04         -
> h_chunk       BF16   2.14e-03  steps     7.81e-03  2.17e-03   7.81e-03  yes  2.14e-03         -
> h_final       F32    1.30e-03  steps     3.91e-03  1.30e-03   3.91e-03  yes  1.30e-03         -
> u_final       F32    1.51e-03  steps     3.91e-03  1.51e-03   3.91e-03  yes  1.51e-03         -
> o             BF16   1.77e-02  local     6.25e-02  4.51e-02   1.25e-01  yes  3.80e-02  1.77e-02
> solve.dq      BF16   2.51e-03  steps     1.56e-02  5.14e-03   3.12e-02  yes  2.51e-03         -
> solve.dk      BF16   4.22e-03  local     3.12e-02  2.51e-02   6.25e-02  yes  4.25e-02  4.22e-03
> solve.dg      F32    4.93e-03  local     1.56e-02  9.84e-03   6.25e-02  yes  6.13e-03  4.93e-03
> layer.dq      BF16   1.65e-02  steps     6.25e-02  3.80e-02   1.25e-01  yes  1.65e-02         -
> layer.dk      BF16   1.82e-02  local     6.25e-02  4.30e-02   1.25e-01  yes  2.69e-02  1.82e-02
> layer.dv      BF16   1.33e-02  local     3.12e-02  3.59e-02   1.25e-01  yes  2.59e-02  1.33e-02
> layer.dalpha  BF16   2.45e-02  local     6.25e-02  8.03e-02   2.50e-01  yes  5.62e-02  2.45e-02
> layer.dg      F32    2.64e-02  local     1.25e-01  8.04e-02   2.50e-01  yes  4.19e-02  2.64e-02
>
$ gka verify --against=golden --given=x,p --given-from=$DATA/h100/d64.safetensors $DATA/h100/d64.safetensors | grep -A1 'solve.dk.*local'
> solve.dk      BF16   4.22e-03  local     3.12e-02  2.51e-02   6.25e-02  yes  4.25e-02  4.22e-03
> solve.dg      F32    5.51e-03  local     1.56e-02  1.19e-02   6.25e-02  yes  6.13e-03  5.51e-03
$ gka verify --against=golden --given=p $DATA/h100/d64.safetensors
! gka verify: given: x, or x and p, and outputs that follow from them were expected
= 2
$ gka verify --against=golden --given=x,y $DATA/h100/d64.safetensors
! gka verify: given is 'x,y': none, or of x, p, f and h_chunk, separated by commas, was expected
= 2
$ gka verify --against=golden --given-from=golden $DATA/h100/d64.safetensors
! gka verify: --given-from needs --given=LIST
= 2
$ gka verify --against=golden --given=x --given-from=golden $DATA/h100/d64.safetensors
! gka verify: golden: tensor 'x', which is given, is missing
= 2
