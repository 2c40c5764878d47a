Is an error the kernel's, or the problem's? The released iteration on one key repeated, and the
two-term form of the same polynomial.

$ gka condition --emulate=h100 --problem=repeat --T=16 --D=16 --chunk=16
> made up: T 16, D 16; ridge_ratio 0.02; emulated: h100
>
> tensor        dtype     error     floor   typical  ratio  word
> x             BF16   6.80e-03  1.47e-03  2.60e-03   2.61  stable
> o             BF16   3.39e-01  2.03e-02  2.37e-02  14.33  unstable
> solve.dq      BF16   6.84e-03  1.64e-03  1.26e-03   4.17  stable
> solve.dk      BF16   8.68e-01  5.99e-02  1.70e-02  14.50  unstable
> solve.dg      F32    1.14e-02  1.85e-03  2.18e-03   5.25  stable
> layer.dq      BF16   3.51e-02  1.78e-03  1.94e-02   1.81  stable
> layer.dk      BF16   3.74e-02  2.57e-03  3.70e-03  10.11  unstable
> layer.dv      BF16   3.29e-01  1.73e-02  2.58e-02  12.75  unstable
> layer.dalpha  BF16   1.20e+00  3.41e-02  3.92e-02  30.65  unstable
> layer.dg      F32    1.47e-01  1.01e-02  1.04e-02  14.07  unstable
>
> tensor        kappa q  kappa k  kappa v  kappa alpha  kappa g  products   u kappa  of  its ratio
> x                2.35     5.64        -            -    0.318        18  2.20e-02  k        0.31
> o                4.73     54.6     2.41        0.764    0.471        47  2.13e-01  k        1.59
> solve.dq            -     5.85        -            -    0.339        13  2.29e-02  k        0.30
> solve.dk           15      289        -            -    0.368        16  1.13e+00  k        0.77
> solve.dg         14.1     5.98        -            -    0.404        17  5.52e-02  q        0.21
> layer.dq            -     21.4      3.8        0.593    0.457        29  8.36e-02  k        0.42
> layer.dk         2.42     2.66      4.4          1.6    0.417        33  1.72e-02  v        2.17
> layer.dv         5.45     54.5        -        0.499    0.504        31  2.13e-01  k        1.55
> layer.dalpha     5.59      133     3.79            -     1.13        33  5.21e-01  k        2.31
> layer.dg         6.36       51     4.89          1.7    0.897        33  1.99e-01  k        0.74
$ gka condition --emulate=h100 --form=two-term --problem=repeat --T=8 --D=16 --chunk=16 | grep solve
> solve.dq      BF16   2.18e-03  1.63e-03  1.32e-03   1.34  stable
> solve.dk      BF16   4.86e-02  5.99e-02  1.47e-02   0.81  ill-conditioned
> solve.dg      F32    4.50e-03  1.48e-03  1.88e-03   2.39  stable
> solve.dq            -     4.39        -            -    0.315        12  1.71e-02  k        0.13
> solve.dk         10.8      208        -            -    0.329        15  8.13e-01  k        0.06
> solve.dg         11.5      4.9        -            -    0.325        15  4.50e-02  q        0.10
$ gka condition --emulate=h100 --problem=repeat --T=6 --D=16 --chunk=16 --json=- | grep 'file\|emulate\|name\|word' | head -6
>   "file": "made up",
>   "emulate": "h100",
>       "name": "x",
>       "word": "stable",
>       "name": "o",
>       "word": "unstable",

The derivative of r steps against the implicit formula: one for dq, not for dk and dg.

$ gka condition --iterations --T=20 --D=16 | grep -v dq | cut -c1-72
> made up: T 20, D 16; ridge_ratio 0.02; gradients of <dx, x> at r steps i
>
>  r     bound         x  of  implicit - derivative  implicit  derivative
>  5  3.56e-01  3.50e-01  dk               8.75e-01  3.90e-01    6.39e-01
>  5  3.56e-01  3.50e-01  dg               2.69e-01  5.15e-01    3.51e-01
> 10  8.98e-02  8.73e-02  dk               2.63e-01  9.50e-02    2.51e-01
> 10  8.98e-02  8.73e-02  dg               7.82e-02  1.52e-01    8.08e-02
> 20  5.37e-03  5.22e-03  dk               2.30e-02  6.66e-03    2.37e-02
> 20  5.37e-03  5.22e-03  dg               5.42e-03  9.41e-03    4.45e-03
> 30  3.20e-04  3.11e-04  dk               1.73e-03  4.22e-04    1.73e-03
> 30  3.20e-04  3.11e-04  dg               3.47e-04  6.20e-04    2.88e-04
$ gka condition --iterations --form=two-term --ridge=.1 --gate=none --T=20 --D=16 | grep -v dq | cut -c1-72
> made up: T 20, D 16; ridge_ratio 0.1; gradients of <dx, x> at r steps in
>
>  r     bound         x  of  implicit - derivative  implicit  derivative
>  5  4.78e-02  4.69e-02  dk               1.48e-01  7.67e-02    1.38e-01
> 10  2.13e-03  2.08e-03  dk               1.07e-02  2.49e-03    1.09e-02
> 20  4.22e-06  4.14e-06  dk               3.54e-05  5.35e-06    3.57e-05
> 30  8.36e-09  8.16e-09  dk               8.31e-08  1.09e-08    8.31e-08
$ gka condition --iterations --T=4 --D=4 --json=- | grep -c derivative
> 12

What is needed.

$ gka condition --ridge=.1 $DATA/h100/d64.safetensors
! gka condition: tensors that are there keep their parameters: --ridge, --iters, --chunk and --scale go with --emulate=KERNEL or --iterations
= 2
$ gka condition --tensor=solve.kd $DATA/h100/d64.safetensors
! gka condition: --tensor=solve.kd: no output that is judged here (did you mean 'solve.dk'?)
= 2
$ gka condition --tensor=o $DATA/h100/h0.safetensors
! gka condition: $DATA/h100/h0.safetensors: nothing to judge; a tensor 'x', 'o', 'solve.dk', 'layer.dk' or another output was expected
= 2

$ gka condition --iterations --emulate=h100
! gka condition: --emulate has no meaning with --iterations, which run in binary64
= 2
$ gka condition --iterations --form=cg --T=4 --D=4
! gka condition: form cg: three-term or two-term was expected
= 2

$ gka condition
! gka condition: a FILE, --emulate=KERNEL or --iterations was expected
= 2
$ gka condition --set=mask=exact $DATA/h100/d64.safetensors
! gka condition: --set: --emulate=KERNEL was expected with it
= 2
$ gka condition --inputs=$DATA/h100/d64.safetensors --emulate=h100
! gka condition: --inputs: a FILE was expected with it
= 2
$ gka condition --seed=2 $DATA/h100/d64.safetensors
! gka condition: --seed is for a problem that is made up, not for the file $DATA/h100/d64.safetensors
= 2
$ gka condition --emulate=h100 --T=4 --D=20
! gka condition: D = 20: the tensor core of h100 wants a multiple of 16
= 2
$ gka condition $DATA/h100/d46.safetensors
! gka condition: $DATA/h100/d46.safetensors: No such file or directory (did you mean 'd64.safetensors'?)
= 2
$ gka condition --emulate=cuda --problem=repeat --T=16 --D=20
! gka condition: D = 20, V = 20: profile gka-cuda wants D = 64 or 128, V = 64, 128 or 256
= 2
$ gka condition --emulate=tokens/fp32 --problem=repeat --T=4 --D=16 --chunk=16 | grep emulated
> made up: T 4, D 16; ridge_ratio 0.02; emulated: tokens/fp32
$ gka condition --emulate=h100/decode --problem=repeat --T=1 --D=32 | awk '/^(tensor|x) / { print $1 }' | head -2
> tensor
> x
$ gka condition --emulate=h10
! gka condition: no kernel 'h10': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, another device that multiplies bf16 (gka devices), cuda or tokens/POLICY was expected (did you mean 'h100'?)
= 2

On a device whose rule nothing was compared with, and on one that was.
$ gka condition --emulate=mi100 --T=16 --D=16
! gka condition: mi100: the rule of mi100 is derived from descriptions and unchecked: --unchecked was expected with it
= 2
$ gka condition --emulate=a100 --unchecked --T=16 --D=16
! gka condition: --unchecked: an emulated device without a checked rule was expected
= 2
$ gka condition --unchecked --iterations
! gka condition: --unchecked: --emulate=KERNEL was expected with it
= 2
$ gka verify --emulate=mi100,h100 --unchecked --T=16 --D=32 | sed -n 's/.*; //p'
> 1 = mi100 (exp, division and root as another device's), 2 = h100
$ gka verify --emulate=a100/fp8 --T=16 --D=32
! gka verify: made up: fp8=e4m3: a100 has no unit for it that gives binary32, as far as is known
= 2

Head by head, and many files.

$ gka condition --emulate=h100 --per-head --tensor=x --tensor=solve.dk --T=6 --D=16 --chunk=16 --H=2 --csv=heads.csv
> made up: T 6, D 16; ridge_ratio 0.02; emulated: h100
>
> row  head   x error   x floor  x typical   x ratio  solve.dk error  solve.dk floor  solve.dk typical
>   0     0  3.23e-03  1.92e-03   2.96e-03  1.09e+00        2.91e-01        6.70e-02          6.08e-03
>   0     1  3.11e-03  1.74e-03   2.71e-03  1.15e+00        2.62e-01        2.60e-02          6.10e-03
>
> row  head  solve.dk ratio  unstable
>   0     0        4.34e+00  -
>   0     1        1.01e+01  solve.dk
>
> of 2 heads   x error   x floor  x typical   x ratio  solve.dk error  solve.dk floor
> median      3.17e-03  1.83e-03   2.83e-03  1.12e+00        2.76e-01        4.65e-02
> least       3.11e-03  1.74e-03   2.71e-03  1.09e+00        2.62e-01        2.60e-02
> largest     3.23e-03  1.92e-03   2.96e-03  1.15e+00        2.91e-01        6.70e-02
>
> of 2 heads  solve.dk typical  solve.dk ratio
> median              6.09e-03        7.21e+00
> least               6.08e-03        4.34e+00
> largest             6.10e-03        1.01e+01
$ head -2 heads.csv
> file,row,head,x:error,x:floor,x:typical,x:ratio,solve.dk:error,solve.dk:floor,solve.dk:typical,solve.dk:ratio
> made up,0,0,3.227634e-03,1.923532e-03,2.961066e-03,1.090024e+00,2.906054e-01,6.703489e-02,6.084451e-03,4.335137e+00
$ gka condition --emulate=h100 --tensor=x --csv=a.csv --T=6 --D=16 --chunk=16 --H=2 --json=- | grep -c error
> 2
$ gka problem --T=6 --D=16 --chunk=16 --H=2 -o a.safetensors >/dev/null; gka problem --T=6 --D=16 --chunk=16 --seed=2 -o b.safetensors >/dev/null
$ gka condition --emulate=h100 --tensor=x a.safetensors b.safetensors
> a.safetensors: T 6, D 16; ridge_ratio 0.02; emulated: h100
> b.safetensors: T 6, D 16; ridge_ratio 0.02; emulated: h100
>
> of 3 heads   x error   x floor  x typical   x ratio
> median      3.23e-03  1.74e-03   2.96e-03  1.15e+00
> least       3.11e-03  1.50e-03   2.71e-03  1.09e+00
> largest     4.34e-03  1.92e-03   3.00e-03  1.45e+00
$ gka condition --per-head --T=16 --D=16
! gka condition: --per-head and --csv: --emulate=KERNEL was expected with them
= 2
$ gka condition a.safetensors b.safetensors
! gka condition: one FILE was expected; several go with --emulate=KERNEL
= 2
$ gka condition --emulate=h100 --per-head --iterations --T=16 --D=16 --chunk=16
! gka condition: --emulate has no meaning with --iterations, which run in binary64
= 2

A constant ridge is MesaNet's, and has no second derivatives here.

$ gka condition --emulate=h100/mesa --lambda=0.5 --no-alpha --T=16 --D=16 --chunk=16
! gka condition: oracle: a constant ridge, 0.5, is for forward results, not for second derivatives
= 2
