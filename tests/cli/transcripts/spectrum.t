Where the eigenvalues are and where the released solver looks for them.

$ gka spectrum $DATA/h100/d64.safetensors
> $DATA/h100/d64.safetensors: a = 0.02, r = 30, 192 tokens
>
> f                           outside    worst e    factor   f error
> as released                   0.0 %  -8.93e-04  3.20e-04  5.48e-04
> fp32 reduction of the norm    0.0 %  -8.93e-04  3.20e-04  5.45e-04
> upper end raised by 2^-6 f    0.0 %  -8.93e-04  3.43e-04  5.48e-04
> exact f                       0.0 %          0  3.20e-04         0
>
>   t     kappa     share      rank   freedom  smallest  mean key
>   1  5.10e+01  1.00e+00  1.00e+00  9.80e-01         0  1.00e+00
>   2  4.28e+01  8.40e-01  1.92e+00  1.94e+00         0  7.29e-01
>   4  3.93e+01  7.71e-01  3.45e+00  3.81e+00         0  5.79e-01
>   8  3.18e+01  6.24e-01  6.18e+00  7.36e+00         0  4.17e-01
>  16  3.40e+01  6.67e-01  8.98e+00  1.32e+01         0  2.81e-01
>  32  3.35e+01  6.57e-01  1.22e+01  2.06e+01         0  1.77e-01
>  64  4.03e+01  7.91e-01  7.04e+00  1.89e+01  6.44e-10  1.18e-01
> 128  2.63e+01  5.15e-01  1.49e+01  2.78e+01  2.01e-04  8.92e-02
> 192  2.52e+01  4.94e-01  1.68e+01  2.92e+01  3.60e-04  7.64e-02
$ gka spectrum $DATA/h100/nothing.safetensors
! gka spectrum: $DATA/h100/nothing.safetensors: No such file or directory (did you mean 'h0.safetensors'?)
= 2
$ gka spectrum --T=4 --D=16 --json=- | grep -c '"kappa"'; gka spectrum --T=4 --D=16 --H=2 --per-head --json=- | grep -c '"kappa"'
> 3
> 2
$ gka spectrum --T=4 --D=16 --V=3; gka spectrum --no-alpha --per-head; gka spectrum --scale=2 $DATA/h100/d64.safetensors
! gka spectrum: --V has no meaning here, where it is not read
! gka spectrum: --no-alpha has no meaning here, where it is not read
! gka spectrum: --scale has no meaning here, where it is not read
= 2
