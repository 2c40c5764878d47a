What the hardware wrote and what the replay of its kernels gives, bit for bit.

$ gka verify --emulate=h100 $DATA/h100/iid_ungated.safetensors | awk 'NF > 10 { print $1, $4, $(NF - 3), $(NF - 1), $NF }'
> $DATA/h100/iid_ungated.safetensors: T scale oracle certified
> tensor rel_err ok far predicted
> x 2.64e-03 100.000 0 2.64e-03
> fro 6.06e-03 100.000 0 6.06e-03
> h_chunk 1.70e-03 100.000 0 1.70e-03
> h_final 2.85e-07 100.000 0 2.85e-07
> u_final 2.16e-07 100.000 0 2.16e-07
> o 1.29e-02 100.000 0 1.29e-02
> solve.dq 2.76e-03 100.000 0 2.76e-03
> solve.dk 5.38e-02 100.000 0 5.38e-02
> layer.dq 9.40e-03 100.000 0 9.40e-03
> layer.dk 1.41e-02 100.000 0 1.41e-02
> layer.dv 1.13e-02 100.000 0 1.13e-02
> layer.dalpha 2.99e-02 100.000 0 2.99e-02
> note: proven token in MPFR
> note: the however its error
$ gka verify --emulate=h100 $DATA/h100/decode.safetensors | awk 'NF > 10 { print $1, $4, $(NF - 3), $(NF - 1), $NF }'
> $DATA/h100/decode.safetensors: T scale oracle certified
> tensor rel_err ok far predicted
> x 1.96e-03 100.000 0 1.96e-03
> h_final 5.19e-04 100.000 0 5.19e-04
> note: proven token in MPFR
> note: the however its error
$ gka verify --set=mask=exact $DATA/h100/iid_ungated.safetensors
! gka verify: --set: --emulate=NAME was expected with it
= 2
$ gka verify --emulate=h100 --set=mosk=exact $DATA/h100/iid_ungated.safetensors
! gka verify: no rounding point 'mosk'
= 2
The same inputs through repaired kernels: predicted errors of x, o, dk.
$ for s in form=three-term form=two-term form=cg-consistent operand=tf32 margin=2^-6 num_iter=10; do echo $s $(gka verify --oracle=fp64 --emulate=h100 --set=$s $DATA/h100/iid_gated.safetensors | awk '/^(x|o|solve.dk) / { print $NF }'); done
> form=three-term 2.55e-03 4.73e-01 6.08e-01
> form=two-term 1.74e-03 1.06e-01 6.53e-02
> form=cg-consistent 1.71e-03 1.15e-01 2.62e-02
> operand=tf32 1.74e-03 1.20e-01 1.05e-01
> margin=2^-6 1.88e-03 4.29e-01 4.59e-01
> num_iter=10 8.98e-02 3.30e-01 2.61e-01
$ gka verify --oracle=fp64 --emulate=h100 --set=form=two-term --set=store=2 $DATA/h100/iid_gated.safetensors | awk '/^(x|o|solve.dk) / { print $1, $NF }'
> x 5.90e-04
> o 9.03e-02
> solve.dk 5.69e-03
$ gka verify --emulate=h100 --set=store=3 $DATA/h100/iid_gated.safetensors
! gka verify: 'store=3': expected 1 or 2
= 2

# Our own kernels, replayed without a GPU; a name that is none.
$ gka verify --oracle=fp64 --emulate=cuda $DATA/cuda/case000.safetensors | grep -c '100.000 %    0'
> 11
$ gka verify --oracle=fp64 --emulate=cuda/three-term $DATA/cuda/case000.safetensors | grep -c '100.000 %    0'
> 0
= 1
$ gka verify --emulate=h10 $DATA/cuda/case000.safetensors
! gka verify: no kernel 'h10': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, a device with a tensor core, cuda or tokens/POLICY was expected (did you mean 'h100'?)
= 2
$ gka verify --emulate=h100/output.num_warps=8 $DATA/cuda/case000.safetensors
> $DATA/cuda/case000.safetensors: B 1, T 70, H 2, D 64, V 64; ridge_ratio 0.02, chunk_size 64, scale 0.125; oracle certified
>
> tensor        dtype  shape       rel_err  stated  max_row_err  at      max_ulp  non-finite  ok  identical    far  predicted
> x             BF16   1,70,2,64  1.80e-03       -     6.38e-03  0,67,1    30462           0  -    69.252 %  30203   2.74e-03
> fro           F32    1,70,2     1.68e-05       -     4.35e-05  0,64,0      697           0  -     0.000 %  44861   1.17e-03
> h_final       F32    1,2,64,64  1.30e-07       -     1.30e-07  0,0         319           0  -   100.000 %      0   1.30e-07
> u_final       F32    1,2,64,64  1.06e-07       -     1.06e-07  0,0        1920           0  -   100.000 %      0   1.06e-07
> o             BF16   1,70,2,64  1.31e-02       -     2.41e-01  0,5,1     30103           0  -    10.859 %  30251   3.31e-02
> solve.dq      BF16   1,70,2,64  1.64e-03       -     6.15e-03  0,64,0    30915           0  -    69.520 %  30816   3.55e-03
> solve.dk      BF16   1,70,1,64  3.58e-02       -     5.37e-02  0,1,0     33552           0  -     0.000 %      0        NaN
> layer.dq      BF16   1,70,2,64  1.02e-02       -     8.03e-02  0,0,0     30508           0  -    21.696 %  30772   1.36e-02
> layer.dk      BF16   1,70,1,64  1.81e-02       -     5.01e-02  0,0,0     31457           0  -     0.000 %      0        NaN
> layer.dv      BF16   1,70,1,64  1.25e-02       -     2.48e-02  0,1,0     30293           0  -    18.013 %  31344   4.05e-02
> layer.dalpha  BF16   1,70,2     1.72e-02       -     1.13e+00  0,10,0    30082           0  -     6.429 %  30833   4.68e-02
>
> note: certified: worst proven bound 2.2e-27, 0 of 420 token solves in MPFR
> note: max_ulp counts the stored numbers between: a small one of the wrong sign is as far as all numbers between it and 0 are many, however small its error
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
