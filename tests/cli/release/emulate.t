What the hardware wrote and what the replay of its kernels gives, bit for bit.

$ gka verify --emulate=h100 $DATA/h100/iid_ungated.safetensors | grep %
> x             100.000 %    0   2.64e-03
> fro           100.000 %    0   6.06e-03
> h_chunk       100.000 %    0   1.70e-03
> h_final       100.000 %    0   2.85e-07
> u_final       100.000 %    0   2.16e-07
> o             100.000 %    0   1.29e-02
> solve.dq      100.000 %    0   2.76e-03
> solve.dk      100.000 %    0   5.38e-02
> layer.dq      100.000 %    0   9.40e-03
> layer.dk      100.000 %    0   1.41e-02
> layer.dv      100.000 %    0   1.13e-02
> layer.dalpha  100.000 %    0   2.99e-02
$ gka verify --emulate=h100 $DATA/h100/decode.safetensors | grep %
> x        100.000 %    0   1.96e-03
> h_final  100.000 %    0   5.19e-04
$ gka verify --set=mask=exact $DATA/h100/iid_ungated.safetensors
! gka verify: --set: --emulate=NAME was expected with it
= 2
$ gka verify --emulate=h100 --set=mosk=exact $DATA/h100/iid_ungated.safetensors
! gka verify: no rounding point or repair 'mosk' (did you mean 'mask'?)
= 2
The same inputs through repaired kernels: predicted errors of x, o, dk.
$ for s in form=three-term form=two-term form=cg-consistent operand=tf32 margin=2^-6 num_iter=10; do echo $s $(gka verify --oracle=fp64 --emulate=h100 --set=$s $DATA/h100/iid_gated.safetensors | awk '/^(x|o|solve.dk) .*%/ { print $5 }'); done
> form=three-term 2.55e-03 4.73e-01 6.08e-01
> form=two-term 1.74e-03 1.06e-01 6.53e-02
> form=cg-consistent 1.71e-03 1.15e-01 2.62e-02
> operand=tf32 1.74e-03 1.20e-01 1.05e-01
> margin=2^-6 1.88e-03 4.29e-01 4.59e-01
> num_iter=10 8.98e-02 3.30e-01 2.61e-01
$ gka verify --oracle=fp64 --emulate=h100 --set=form=two-term --set=store=2 $DATA/h100/iid_gated.safetensors | awk '/^(x|o|solve.dk) .*%/ { print $1, $NF }'
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
! gka verify: no kernel 'h10': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, another device that multiplies bf16 (gka devices), cuda or tokens/POLICY was expected (did you mean 'h100'?)
= 2
$ gka verify --emulate=h100/output.num_warps=1 $DATA/cuda/case000.safetensors
! gka verify: 'output.num_warps=1': expected 2, 4 or 8
= 2
