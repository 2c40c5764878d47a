The gradient of the keys on an H100: the released kernels lose 34 times what storage and rounding
explain; in the two-term form less than 4 times (here emulated; measured on an H100, 6.53e-02 too). The
worst direction would explain anything: u kappa is above 2.

$ gka condition --tensor=solve.dk $DATA/h100/iid_gated.safetensors
> $DATA/h100/iid_gated.safetensors: T 192, D 128; ridge_ratio 0.02
>
> tensor    dtype     error     floor   typical  ratio  word
> solve.dk  BF16   6.08e-01  1.80e-02  3.39e-03  33.82  unstable
>
> tensor    kappa q  kappa k  kappa v  kappa alpha  kappa g  products   u kappa  of  its ratio
> solve.dk      140      618        -            -     2.15        16  2.41e+00  k        0.25
$ gka condition --tensor=solve.dk --emulate=h100 --form=two-term $DATA/h100/iid_gated.safetensors
> $DATA/h100/iid_gated.safetensors: T 192, D 128; ridge_ratio 0.02; emulated: h100
>
> tensor    dtype     error     floor   typical  ratio  word
> solve.dk  BF16   6.53e-02  1.80e-02  3.39e-03   3.63  stable
>
> tensor    kappa q  kappa k  kappa v  kappa alpha  kappa g  products   u kappa  of  its ratio
> solve.dk      140      618        -            -     2.15        16  2.41e+00  k        0.03

What a file holds, judged; the same with inputs from elsewhere.

$ gka condition --tensor=x $DATA/h100/d64.safetensors | tail -n +2 | cut -c1-57
>
> tensor  dtype     error     floor   typical  ratio  word
> x       BF16   2.57e-03  1.65e-03  2.78e-03   0.92  stabl
>
> tensor  kappa q  kappa k  kappa v  kappa alpha  kappa g 
> x          2.98     5.74        -            -     1.37 
$ gka condition --tensor=x --tensor=o --inputs=$DATA/h100/h0.safetensors $DATA/h100/h0.safetensors | tail -n +2 | cut -c1-57
>
> tensor  dtype     error     floor   typical  ratio  word
> x       BF16   5.31e-03  1.66e-03  2.50e-03   2.12  stabl
>
> tensor  kappa q  kappa k  kappa v  kappa alpha  kappa g 
> x           3.8     6.92        -            -     2.03 
