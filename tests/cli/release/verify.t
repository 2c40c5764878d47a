Verdicts on what an H100 wrote with heads of 128, the same to the last digit on every machine. (Only the bound that the
oracle proves on its way depends on the BLAS.)

$ gka verify $DATA/h100/iid_gated.safetensors | grep -v certified:
> $DATA/h100/iid_gated.safetensors: B 1, T 192, H 1, D 128, V 128; ridge_ratio 0.02, chunk_size 64, scale 0.0883883; oracle certified
>
> tensor        dtype  shape           rel_err    stated  max_row_err  at       max_ulp  NaN,Inf  ok
> x             BF16   1,192,1,128    2.55e-03  2.55e-03     7.53e-03  0,64,0     31113        0  -
> fro           F32    1,192,1        9.61e-04  9.61e-04     3.22e-03  0,64,0     50420        0  -
> h_chunk       BF16   1,3,1,128,128  1.81e-03         -     1.83e-03  0,2,0      27978        0  -
> h_final       F32    1,1,128,128    1.44e-03  1.44e-03     1.44e-03  0,0      1.8e+09        0  -
> u_final       F32    1,1,128,128    1.58e-03  1.58e-03     1.58e-03  0,0      1.8e+09        0  -
> o             BF16   1,192,1,128    4.73e-01  4.73e-01     1.71e+01  0,128,0    31125        0  -
> solve.dq      BF16   1,192,1,128    2.10e-03  2.10e-03     6.01e-03  0,41,0     32091        0  -
> solve.dk      BF16   1,192,1,128    6.08e-01  6.08e-01     2.34e+00  0,167,0    36007        0  -
> solve.dg      F32    1,192,1        1.91e-02  1.91e-02     1.20e+05  0,131,0  2.1e+09        0  -
> layer.dq      BF16   1,192,1,128    6.48e-02  6.48e-02     1.35e-01  0,168,0    30679        0  -
> layer.dk      BF16   1,192,1,128    3.27e-01  3.27e-01     2.47e+00  0,88,0     32229        0  -
> layer.dv      BF16   1,192,1,128    4.24e-01  4.24e-01     1.21e+01  0,128,0    31236        0  -
> layer.dalpha  BF16   1,192,1        5.61e-01  5.61e-01     2.11e+02  0,100,0    31592        0  -
> layer.dg      F32    1,192,1        1.79e-01  1.79e-01     6.07e+02  0,131,0  2.0e+09        0  -
>
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: 13 of 13 stated figures agree to two digits
> note: tensor 'g_cumsum' is not judged
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
> note: 13 tensors ref.* are not shown (--show-ref)
$ gka verify $DATA/h100/iid_ungated.safetensors | grep -v certified:
> $DATA/h100/iid_ungated.safetensors: B 1, T 192, H 1, D 128, V 128; ridge_ratio 0.02, chunk_size 64, scale 0.0883883; oracle certified
>
> tensor        dtype  shape           rel_err    stated  max_row_err  at       max_ulp  NaN,Inf  ok
> x             BF16   1,192,1,128    2.64e-03  2.64e-03     1.03e-02  0,67,0     30199        0  -
> fro           F32    1,192,1        6.06e-03  6.06e-03     9.03e-03  0,128,0   111385        0  -
> h_chunk       BF16   1,3,1,128,128  1.70e-03         -     1.70e-03  0,2,0          1        0  -
> h_final       F32    1,1,128,128    2.85e-07  2.85e-07     2.85e-07  0,0         2032        0  -
> u_final       F32    1,1,128,128    2.16e-07  2.16e-07     2.16e-07  0,0        23616        0  -
> o             BF16   1,192,1,128    1.29e-02  1.29e-02     1.16e-01  0,3,0      29978        0  -
> solve.dq      BF16   1,192,1,128    2.76e-03  2.76e-03     1.07e-02  0,64,0     31496        0  -
> solve.dk      BF16   1,192,1,128    5.38e-02  5.38e-02     3.23e-01  0,0,0      33498        0  -
> layer.dq      BF16   1,192,1,128    9.40e-03  9.40e-03     7.31e-02  0,2,0      30382        0  -
> layer.dk      BF16   1,192,1,128    1.41e-02  1.41e-02     3.48e-02  0,0,0      31045        0  -
> layer.dv      BF16   1,192,1,128    1.13e-02  1.13e-02     3.08e-02  0,0,0      30260        0  -
> layer.dalpha  BF16   1,192,1        2.99e-02  2.99e-02     2.20e+01  0,51,0     30646        0  -
>
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: 11 of 11 stated figures agree to two digits
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
$ gka verify $DATA/h100/ragged.safetensors | grep -v certified:
> $DATA/h100/ragged.safetensors: B 1, T 150, H 1, D 128, V 128; ridge_ratio 0.02, chunk_size 64, scale 0.0883883; oracle certified
>
> tensor        dtype  shape           rel_err    stated  max_row_err  at       max_ulp  NaN,Inf  ok
> x             BF16   1,150,1,128    2.72e-03  2.72e-03     8.05e-03  0,128,0    30608        0  -
> fro           F32    1,150,1        2.55e-03  2.55e-03     6.04e-03  0,129,0    93195        0  -
> h_chunk       BF16   1,3,1,128,128  2.18e-03         -     2.18e-03  0,1,0      28459        0  -
> h_final       F32    1,1,128,128    1.36e-03  1.36e-03     1.36e-03  0,0      1.9e+09        0  -
> u_final       F32    1,1,128,128    1.63e-03  1.63e-03     1.63e-03  0,0      1.9e+09        0  -
> o             BF16   1,150,1,128    3.33e-02  3.33e-02     3.69e+01  0,0,0      30507        0  -
> solve.dq      BF16   1,150,1,128    2.06e-03  2.06e-03     8.54e-03  0,128,0    31337        0  -
> solve.dk      BF16   1,150,1,128    4.48e-01  4.48e-01     6.94e-01  0,1,0      35077        0  -
> solve.dg      F32    1,150,1        1.10e-02  1.10e-02     1.74e+00  0,90,0   1.1e+09        0  -
> layer.dq      BF16   1,150,1,128    1.33e-02  1.33e-02     1.30e-01  0,0,0      30643        0  -
> layer.dk      BF16   1,150,1,128    3.80e-02  3.80e-02     2.29e-01  0,0,0      32160        0  -
> layer.dv      BF16   1,150,1,128    5.34e-02  5.34e-02     3.20e-01  0,0,0      31237        0  -
> layer.dalpha  BF16   1,150,1        4.26e-02  4.26e-02     1.18e+02  0,13,0     31411        0  -
> layer.dg      F32    1,150,1        8.86e-02  8.86e-02     1.47e+00  0,80,0   2.0e+09        0  -
>
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: 13 of 13 stated figures agree to two digits
> note: tensor 'g_cumsum' is not judged
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
$ gka verify $DATA/h100/slow.safetensors | grep -v certified:
> $DATA/h100/slow.safetensors: B 1, T 192, H 1, D 128, V 128; ridge_ratio 0.02, chunk_size 64, scale 0.0883883; oracle certified
>
> tensor        dtype  shape           rel_err    stated  max_row_err  at       max_ulp  NaN,Inf  ok
> x             BF16   1,192,1,128    2.14e-03  2.14e-03     1.05e-02  0,131,0    30351        0  -
> fro           F32    1,192,1        5.37e-03  5.37e-03     9.05e-03  0,128,0    86195        0  -
> h_chunk       BF16   1,3,1,128,128  2.11e-03         -     2.20e-03  0,1,0      28840        0  -
> h_final       F32    1,1,128,128    1.17e-03  1.17e-03     1.17e-03  0,0      1.9e+09        0  -
> u_final       F32    1,1,128,128    1.59e-03  1.59e-03     1.59e-03  0,0      1.9e+09        0  -
> o             BF16   1,192,1,128    2.28e-02  2.28e-02     1.45e+00  0,1,0      30507        0  -
> solve.dq      BF16   1,192,1,128    3.19e-03  3.19e-03     1.09e-02  0,130,0    33002        0  -
> solve.dk      BF16   1,192,1,128    5.99e-01  5.99e-01     6.09e-01  0,1,0      35090        0  -
> solve.dg      F32    1,192,1        1.21e-02  1.21e-02     5.61e+00  0,0,0    1.1e+09        0  -
> layer.dq      BF16   1,192,1,128    1.07e-02  1.07e-02     1.12e-01  0,0,0      30743        0  -
> layer.dk      BF16   1,192,1,128    1.69e-02  1.69e-02     7.34e-02  0,4,0      31370        0  -
> layer.dv      BF16   1,192,1,128    2.30e-02  2.30e-02     1.42e-01  0,1,0      31013        0  -
> layer.dalpha  BF16   1,192,1        3.61e-02  3.61e-02     8.73e+02  0,65,0     31375        0  -
> layer.dg      F32    1,192,1        1.13e-02  1.13e-02     5.11e+00  0,48,0   2.0e+09        0  -
>
> note: max_ulp counts the numbers between: one of the wrong sign is far, however small its error
> note: 13 of 13 stated figures agree to two digits
> note: tensor 'g_cumsum' is not judged
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
$ gka verify --inputs=$DATA/h100/slow.safetensors $DATA/h100/iid_ungated.safetensors | grep -c BF16
> 9
