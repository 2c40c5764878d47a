Goldens of a server (gka golden --serving), and an H200's prefill and decode steps judged by one.

$ gka golden --serving --T=20 --prefill=18 --D=64 --H=1 --iters=3 --u-type=bf16 -o golden
$ gka show golden
> golden: format 2, stage serving, inputs 89f278f419bb...
> ridge_ratio 0.02, num_iter 3, chunk_size 64, scale 0.125
> spec {"B":1,"D":64,"G":1,"H":1,"T":20,"V":64,"alpha":true,"chunk":64,"dtype":"bf16","edit":"none","emulate":"none","final":false,"gate":"released","given":"none","h-type":"fp32","h0":false,"iters":3,"lengths":"none","lo":false,"oracle":"certified","outputs":"forward,states,backward","pairs":0,"plain":false,"prefill":18,"problem":"iid","ridge":0.02,"scale":0.125,"seed":1,"serving":true,"stage":"all","u-type":"bf16"}
> oracle {"empty_states":0,"exact_zeros":0,"forward":"correctly rounded, proven","in_mpfr":0,"oracle":"certified","ties":0,"token_solves":20}
>
> tensor     shape      judged  tolerance     floor     panel       row  row floor  row panel
> prefill.o  1,18,1,64  steps    3.12e-02  1.94e-03  1.50e-02  6.25e-02   2.08e-03   2.55e-02
> prefill.h  1,1,64,64  steps    7.81e-03  2.57e-08  2.97e-03  7.81e-03   2.57e-08   2.97e-03
> prefill.u  1,1,64,64  steps    7.81e-03  2.54e-08  2.68e-03  7.81e-03   2.54e-08   2.68e-03
> decode.o   1,2,1,64   steps    3.12e-02  1.78e-03  7.96e-03  1.56e-02   1.80e-03   7.61e-03
> decode.h   1,1,64,64  steps    3.91e-03  2.59e-08  1.96e-03  3.91e-03   2.59e-08   1.96e-03
> decode.u   1,1,64,64  steps    7.81e-03  1.65e-03  2.81e-03  7.81e-03   1.65e-03   2.81e-03
>
> tolerance: 2^ceil(log2(max(2 floor, 2 panel, u))); null from 1/2 on
> panel of prefill.o prefill.h prefill.u decode.o decode.h decode.u: h100/serving, the worst of solve.num_warps = 4 1 2 8, decode.num_warps = 4 2 8
$ gka golden --serving --T=20 --prefill=18 --D=64 --H=1 --iters=3 --u-type=bf16 -o again && cmp golden again

A prefill of 10 tokens and two decode steps, by the authors' kernels.

$ gka golden --serving --prefill=10 --input=$DATA/h200/serving/t10.safetensors -o golden
$ gka judge $DATA/h200/serving/t10.safetensors golden >table && sed -n '3,9p' table && tail -1 table
> tensor     dtype     error  against  tolerance       row  tolerance  ok      steps  local  inherited
> prefill.o  BF16   4.99e-02  steps     1.25e-01  1.29e-01          -  yes  4.99e-02      -          -
> prefill.h  F32    2.89e-03  steps     7.81e-03  3.00e-03   7.81e-03  yes  2.89e-03      -          -
> prefill.u  F32    2.69e-03  steps     7.81e-03  2.89e-03   7.81e-03  yes  2.69e-03      -          -
> decode.o   BF16   2.94e-03  steps     7.81e-03  3.09e-03   7.81e-03  yes  2.94e-03      -          -
> decode.h   F32    2.59e-03  steps     7.81e-03  2.91e-03   7.81e-03  yes  2.59e-03      -          -
> decode.u   F32    2.50e-03  steps     7.81e-03  2.81e-03   7.81e-03  yes  2.50e-03      -          -
> 6 judged, 0 failed, 0 missing, 0 not judged
$ gka judge --require=prefill.o,decode.o $DATA/h200/serving/t10.safetensors golden | grep 'decode.o .*yes'
> decode.o   BF16   2.94e-03  steps     7.81e-03  3.09e-03   7.81e-03  yes  2.94e-03      -          -

A configuration of the prefill's output kernel that is compiled wrong (experiments/REPORTS.md, 8).

$ gka golden --serving --input=$DATA/h200/serving/miscompiled.safetensors --prefill=64 -o golden
$ gka judge $DATA/h200/serving/miscompiled.safetensors golden | grep -E 'prefill.o .*NO|judged,'
> prefill.o  BF16   2.27e+00  steps     6.25e-02  1.06e+01   2.50e-01  NO       2.27e+00      -
> 1 judged, 1 failed, 2 missing, 0 not judged
$ gka judge --require=all $DATA/h200/serving/miscompiled.safetensors golden | grep missing
> prefill.h  -             -  -         7.81e-03         -   7.81e-03  NO: missing         -      -
> prefill.u  -             -  -         7.81e-03         -   7.81e-03  NO: missing         -      -
> prefill.h: required, and missing
> prefill.u: required, and missing
> 1 judged, 3 failed (2 required and missing), 2 missing, 0 not judged

What makes no sense.

$ gka golden --serving --T=20 --prefill=30 --D=64 -o golden
! gka golden: prefill is 30: 0 to T = 20 was expected
= 2
$ gka golden --T=20 --prefill=10 -o golden
! gka golden: prefill: a golden of a server (serving) was expected with it
= 2
$ gka golden --T=20 --u-type=bf16 -o golden
! gka golden: u-type: a golden of a server (serving) was expected with it
= 2
$ gka golden --serving --T=20 --D=16 -o golden
! gka golden: serving: D and V are 64, 128 or 256
= 2
$ gka golden --serving --T=20 --D=64 --h-type=e4m3 -o golden
! gka golden: h-type is 'e4m3': fp32, bf16, fp16, mxfp8-e4m3, mxfp6-e2m3 or mxfp4 was expected
= 2
$ gka golden --serving --T=20 --D=64 --outputs=x -o golden
! gka golden: outputs is 'x': some of forward, states and backward, separated by commas, was expected
= 2
$ gka golden --serving --T=20 --D=64 --outputs=forward -o golden
! gka golden: serving: outputs as it is by default was expected, in a golden of a server
= 2
$ gka golden --serving --T=20 --D=64 --lo -o golden
! gka golden: serving: lo as it is by default was expected, in a golden of a server
= 2
$ gka judge golden golden
! gka judge: golden: nothing to judge; a tensor 'prefill.o' or another output of a server was expected
= 2

Which configuration was it? An H200 wrote this file with one drawn for each kernel (its metadata `truth`).

$ gka verify --oracle=fp64 --emulate=h100/auto $DATA/h200/serving/mixed.safetensors | tail -1
> note: configuration: solve.num_warps=8 output.num_warps=4 decode.num_warps=2; every element; 7 runs for 1.79e+07 choices known, the rest of them indistinguishable
