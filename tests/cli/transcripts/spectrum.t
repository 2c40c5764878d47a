Where the eigenvalues are and where the released solver looks for them.

$ gka spectrum $DATA/h100/d64.safetensors
> $DATA/h100/d64.safetensors: a = 0.02, r = 30, 192 tokens
>
> f                           outside    worst e    factor   f error
> as released                   0.0 %  -8.93e-04  3.20e-04  5.48e-04
> fp32 reduction of the norm    0.0 %  -8.93e-04  3.20e-04  5.45e-04
> upper end raised by 2^-6 f    0.0 %  -8.93e-04  3.43e-04  5.48e-04
> exact f                       0.0 %   2.22e-16  3.20e-04         0
$ gka spectrum $DATA/h100/nothing.safetensors
! gka spectrum: $DATA/h100/nothing.safetensors: No such file or directory (did you mean 'h0.safetensors'?)
= 2
