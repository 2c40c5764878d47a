Keys of a model, from projections to what kernels would lose on them.

A real file, one row for each head; data/real/README.md has the same figures.

$ gka verify --emulate=h100,h100/two-term --per-head $DATA/real/smollm2_rope_released.safetensors
> $DATA/real/smollm2_rope_released.safetensors: B 1, T 256, H 4, D 64; ridge_ratio 0.02; 1 = h100, 2 = h100/two-term
>
> row  head       x 1       x 2       o 1       o 2      dk 1      dk 2  dalpha 1  dalpha 2
>   0     0  4.07e-03  2.21e-03  4.02e-02  8.21e-03  4.96e-01  2.41e-02  3.71e-02  8.11e-03
>   0     1  3.86e-03  2.67e-03  1.65e-01  2.64e-02  7.60e-02  1.26e-02  2.28e-01  3.58e-02
>   0     2  3.79e-03  1.96e-03  3.32e-01  4.93e-02  1.94e-01  1.57e-02  3.16e-01  5.34e-02
>   0     3  3.21e-03  2.49e-03  9.07e-02  1.51e-02  1.16e-01  1.11e-02  1.36e-01  2.00e-02
>
> of 4 heads       x 1       x 2       o 1       o 2      dk 1      dk 2  dalpha 1  dalpha 2
> median      3.82e-03  2.35e-03  1.28e-01  2.07e-02  1.55e-01  1.42e-02  1.82e-01  2.79e-02
> least       3.21e-03  1.96e-03  4.02e-02  8.21e-03  7.60e-02  1.11e-02  3.71e-02  8.11e-03
> largest     4.07e-03  2.67e-03  3.32e-01  4.93e-02  4.96e-01  2.41e-02  3.16e-01  5.34e-02
$ gka verify --emulate=h100 --csv=heads.csv $DATA/real/smollm2_rope_released.safetensors
> $DATA/real/smollm2_rope_released.safetensors: B 1, T 256, H 4, D 64; ridge_ratio 0.02; emulated: h100
>
> of 4 heads         x         o  solve.dk  layer.dalpha
> median      3.82e-03  1.28e-01  1.55e-01      1.82e-01
> least       3.21e-03  4.02e-02  7.60e-02      3.71e-02
> largest     4.07e-03  3.32e-01  4.96e-01      3.16e-01
$ sed 's|.*/real/||' heads.csv
> file,row,head,x:h100,o:h100,solve.dk:h100,layer.dalpha:h100
> smollm2_rope_released.safetensors,0,0,4.065747e-03,4.023428e-02,4.959085e-01,3.710601e-02
> smollm2_rope_released.safetensors,0,1,3.858887e-03,1.651402e-01,7.595109e-02,2.275001e-01
> smollm2_rope_released.safetensors,0,2,3.785429e-03,3.317192e-01,1.943121e-01,3.160312e-01
> smollm2_rope_released.safetensors,0,3,3.213048e-03,9.069033e-02,1.161715e-01,1.358899e-01
$ gka spectrum --per-head $DATA/real/smollm2_rope_released.safetensors
> $DATA/real/smollm2_rope_released.safetensors: T 256, D 64, a = 0.02; after the last token
>
> row  head     kappa     share      rank   freedom  smallest  mean key
>   0     0  5.07e+01  9.94e-01  2.17e+00  1.29e+01  4.00e-05  8.10e-01
>   0     1  5.06e+01  9.92e-01  2.07e+00  1.10e+01  2.62e-05  7.72e-01
>   0     2  5.10e+01  9.99e-01  1.10e+00  2.27e+00         0  7.37e-01
>   0     3  5.09e+01  9.98e-01  1.42e+00  6.84e+00  8.72e-05  8.82e-01
>
> of 4 heads     kappa     share      rank   freedom  smallest  mean key
> median      5.08e+01  9.96e-01  1.75e+00  8.90e+00  3.31e-05  7.91e-01
> least       5.06e+01  9.92e-01  1.10e+00  2.27e+00         0  7.37e-01
> largest     5.10e+01  9.99e-01  2.17e+00  1.29e+01  8.72e-05  8.82e-01

A dump of projections becomes a problem: made up here, with tensors by layer.

$ gka problem --problem=convsilu --T=64 --D=32 --H=2 --plain --dtype=F32 -o raw.safetensors
> raw.safetensors: B 1, T 64, H 2, G 2, D 32, V 32, F32
$ gka problem raw.safetensors --conv=silu --normalise --beta --alpha --gate=init --cotangents --cast=bf16 --fold -o folded.safetensors
> folded.safetensors: B 1, T 64, H 2, G 2, D 32, V 32, BF16
$ gka problem raw.safetensors --normalise=rounded --beta --cast=bf16 -o server.safetensors
> server.safetensors: B 1, T 64, H 2, G 2, D 32, V 32, BF16; not folded
$ gka problem server.safetensors --fold -o again.safetensors
> again.safetensors: B 1, T 64, H 2, G 2, D 32, V 32, BF16
$ gka verify --emulate=h100/two-term folded.safetensors
> folded.safetensors: B 1, T 64, H 2, D 32; ridge_ratio 0.02; emulated: h100/two-term
>
> of 2 heads         x         o  solve.dk  layer.dalpha
> median      1.76e-03  1.27e-02  1.90e-02      1.76e-02
> least       1.57e-03  1.24e-02  1.31e-02      1.58e-02
> largest     1.95e-03  1.29e-02  2.50e-02      1.95e-02
$ gka verify --emulate=h100 server.safetensors
! gka verify: server.safetensors: profile h100 wants q, k, v, alpha and the cotangents in BF16
= 2
$ gka verify --emulate=h100 --fold server.safetensors
> server.safetensors: B 1, T 64, H 2, D 32; ridge_ratio 0.02; emulated: h100
>
> of 2 heads         x         o  solve.dk  layer.dalpha
> median      3.94e-03  8.09e-02  2.67e-01             -
> least       2.85e-03  6.67e-02  1.30e-01             -
> largest     5.03e-03  9.50e-02  4.03e-01             -
$ gka spectrum raw.safetensors:k --gate=none
> raw.safetensors:k: a = 0.02, r = 30, 128 tokens
>
>  t     kappa     share      rank   freedom  smallest  mean key
>  1  5.10e+01  1.00e+00  1.00e+00  9.80e-01         0  1.00e+00
>  2  4.62e+01  9.06e-01  1.67e+00  1.92e+00         0  8.40e-01
>  4  4.29e+01  8.41e-01  2.96e+00  3.75e+00         0  6.99e-01
>  8  4.70e+01  9.22e-01  3.22e+00  6.52e+00         0  7.04e-01
> 16  4.87e+01  9.55e-01  3.35e+00  1.02e+01         0  7.09e-01
> 32  4.93e+01  9.67e-01  3.48e+00  1.33e+01  5.55e-06  7.10e-01
> 64  4.89e+01  9.59e-01  2.97e+00  1.39e+01  1.78e-02  7.45e-01
$ gka solve --solver=cholesky --arith=fp64 --problem=raw.safetensors --head=1 | awk '{ print $1, $2, $3, $4, $NF }'
> raw.safetensors, token 64, D 1
> solver arith kappa iters status
> cholesky fp64 48.9 - ran

What is wrong.

$ gka problem raw.safetensors
! gka problem: -o OUT was expected
= 2
$ gka problem raw.safetensors -o raw.safetensors
! gka problem: -o raw.safetensors: that is an input file
= 2
$ gka problem raw.safetensors:layers.*. -o x.safetensors
! gka problem: raw.safetensors: no tensor, and no pair of tensors q and k, matches 'layers.*.'
= 2
$ gka problem raw.safetensors --fold -o x.safetensors
! gka problem: raw.safetensors: --fold: there is neither a beta nor a normalise to fold
= 2
$ gka problem raw.safetensors --seed=4 -o x.safetensors
! gka problem: --seed is for a problem that is made up, not for the file raw.safetensors
= 2
$ gka problem server.safetensors --beta -o x.safetensors
! gka problem: server.safetensors: beta: the problem has one already
= 2
$ gka problem --beta -o x.safetensors
! gka problem: --beta: a FILE was expected with it
= 2
$ gka problem --normalise=twice raw.safetensors -o x.safetensors
! gka problem: --normalise=twice: expected one of none|unit|rounded
= 2
$ gka verify --per-head raw.safetensors
! gka verify: --per-head, --csv and the options of a problem: --emulate=K was expected with them
= 2
$ gka verify --emulate=h100,h300 raw.safetensors
! gka verify: no kernel 'h300': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, another device that multiplies bf16 (gka devices), cuda or tokens/POLICY was expected (did you mean 'h100'?)
= 2
$ gka verify --emulate=h100/three-terms folded.safetensors
! gka verify: 'three-terms': expected POINT=exact or POINT=released, or a form as two-term (did you mean 'three-term'?)
= 2
$ gka verify --emulate=h100 --tolerance=o=.1 folded.safetensors
! gka verify: --tolerance: outputs to judge were expected with it
= 2
$ gka solve --problem=raw.safetensors --head=2
! gka solve: raw.safetensors: --head=2, but the file holds 2 heads
= 2
$ gka solve --head=0
! gka solve: --head: a file was expected as --problem
= 2
$ ls
> again.safetensors
> folded.safetensors
> heads.csv
> raw.safetensors
> server.safetensors

Many of them, each into a file of a folder.

$ gka problem --T=16 --D=16 --plain --dtype=F32 -o p.safetensors >/dev/null; gka problem --T=8 --D=16 --plain --dtype=F32 -o r.safetensors >/dev/null; mkdir folder
$ gka problem p.safetensors r.safetensors --normalise --beta --fold -o folder
> folder/p.safetensors: B 1, T 16, H 1, G 1, D 16, V 16, F32
> folder/r.safetensors: B 1, T 8, H 1, G 1, D 16, V 16, F32
$ gka problem p.safetensors:[qk] --cast=bf16 -o folder
> folder/p.q.safetensors: B 1, T 16, H 1, G 1, D 16, V 0, BF16
> folder/p.k.safetensors: B 1, T 16, H 1, G 1, D 16, V 0, BF16
$ gka problem p.safetensors r.safetensors -o one.safetensors
! gka problem: -o one.safetensors: a folder was expected, for several files
= 2
$ gka problem p.safetensors:[qk] -o one.safetensors
! gka problem: p.safetensors:k: that is a second problem; one was expected (-o with a folder that exists takes several)
= 2
$ gka problem p.safetensors:[qk] -o new/
! gka problem: -o new/: a folder that exists was expected
= 2
$ gka problem p.safetensors ./p.safetensors -o folder
> folder/p.safetensors: B 1, T 16, H 1, G 1, D 16, V 16, F32
! gka problem: ./p.safetensors: a second problem would be written to folder/p.safetensors
= 2
$ gka problem folder/p.safetensors -o folder
! gka problem: -o folder/p.safetensors: that is an input file
= 2
$ ls folder one.safetensors
> folder:
> p.k.safetensors
> p.q.safetensors
> p.safetensors
> r.safetensors
! ls: cannot access 'one.safetensors': No such file or directory
= 2

A solver's system is one of a model's projections just as well.

$ gka solve --problem=p.safetensors --conv=silu --normalise --beta --gate=released --solver=chebyshev,cg --arith=p6e5 --T=12
> p.safetensors, token 12, D = 16, ridge = 0.02, seed = 1
> solver     arith  kappa  iters  residual       eta   rel_err    grad_q    grad_k  status
> chebyshev  p6e5    46.1     30  3.12e-01  8.04e-03  5.03e-02  7.28e-02  1.52e-01  ran
> cg         p6e5    46.1     30  1.61e-01  4.23e-03  6.02e-02  7.52e-02  1.72e-01  breakdown at 16
$ gka solve --problem=p.safetensors --normalise --cotangents
! gka solve: --cotangents has no meaning here, where it is not read
= 2
$ gka solve --beta --solver=cg --arith=fp32
! gka solve: --beta has no meaning but with a FILE as --problem
= 2
$ gka solve --problem=p.safetensors:[qk] --solver=cg --arith=fp32
! gka solve: p.safetensors:k: that is a second problem; one was expected
= 2

Projections of one head, [T,D]: no --layout is needed where something is prepared.

$ safetensors head '{"q":{"dtype":"F32","shape":[5,16],"data_offsets":[0,320]},"k":{"dtype":"F32","shape":[5,16],"data_offsets":[320,640]}}' 640
$ gka problem --cast=bf16 head -o head.bf16
> head.bf16: B 1, T 5, H 1, G 1, D 16, V 0, BF16
