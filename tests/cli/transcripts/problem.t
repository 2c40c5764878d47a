Keys of a model, from projections to what kernels would lose on them.

A dump of projections becomes a problem: made up here, with tensors by layer.

$ gka problem --problem=convsilu --T=64 --D=16 --H=2 --plain --dtype=F32 -o raw.safetensors
> raw.safetensors: B 1, T 64, H 2, G 2, D 16, V 16, F32
$ gka problem raw.safetensors --conv=silu --normalise --beta --alpha --gate=init --cotangents --cast=bf16 --fold -o folded.safetensors
> folded.safetensors: B 1, T 64, H 2, G 2, D 16, V 16, BF16
$ gka problem raw.safetensors --normalise=rounded --beta --cast=bf16 -o server.safetensors
> server.safetensors: B 1, T 64, H 2, G 2, D 16, V 16, BF16; not folded
$ gka problem server.safetensors --fold -o again.safetensors
> again.safetensors: B 1, T 64, H 2, G 2, D 16, V 16, BF16
$ gka verify --emulate=h100,h100/two-term --per-head --csv=heads.csv folded.safetensors
> folded.safetensors: B 1, T 64, H 2, D 16; ridge_ratio 0.02; 1 = h100, 2 = h100/two-term
>
> row  head       x 1       x 2       o 1       o 2      dk 1      dk 2  dalpha 1  dalpha 2
>   0     0  7.78e-03  1.79e-03  1.76e-02  4.94e-03  5.39e-01  3.53e-02  2.55e-02  7.36e-03
>   0     1  2.64e-03  1.93e-03  1.79e-02  6.38e-03  9.36e-02  1.19e-02  2.76e-02  7.51e-03
>
> of 2 heads       x 1       x 2       o 1       o 2      dk 1      dk 2  dalpha 1  dalpha 2
> median      5.21e-03  1.86e-03  1.77e-02  5.66e-03  3.16e-01  2.36e-02  2.65e-02  7.44e-03
> least       2.64e-03  1.79e-03  1.76e-02  4.94e-03  9.36e-02  1.19e-02  2.55e-02  7.36e-03
> largest     7.78e-03  1.93e-03  1.79e-02  6.38e-03  5.39e-01  3.53e-02  2.76e-02  7.51e-03
$ cat heads.csv
> file,row,head,x:h100,x:h100/two-term,o:h100,o:h100/two-term,solve.dk:h100,solve.dk:h100/two-term,layer.dalpha:h100,layer.dalpha:h100/two-term
> folded.safetensors,0,0,7.784663e-03,1.792129e-03,1.756289e-02,4.942245e-03,5.393098e-01,3.526177e-02,2.552400e-02,7.360788e-03
> folded.safetensors,0,1,2.635227e-03,1.927532e-03,1.790322e-02,6.376577e-03,9.356467e-02,1.193769e-02,2.756379e-02,7.511651e-03
$ gka spectrum --per-head folded.safetensors
> folded.safetensors: T 64, D 16, a = 0.02; after the last token
>
> row  head     kappa     share      rank   freedom  smallest  mean key
>   0     0  4.86e+01  9.52e-01  1.26e+00  4.49e+00  5.00e-03  8.85e-01
>   0     1  4.96e+01  9.72e-01  2.06e+00  6.93e+00  1.25e-03  8.10e-01
>
> of 2 heads     kappa     share      rank   freedom  smallest  mean key
> median      4.91e+01  9.62e-01  1.66e+00  5.71e+00  3.13e-03  8.48e-01
> least       4.86e+01  9.52e-01  1.26e+00  4.49e+00  1.25e-03  8.10e-01
> largest     4.96e+01  9.72e-01  2.06e+00  6.93e+00  5.00e-03  8.85e-01
$ gka verify --emulate=h100/two-term folded.safetensors
> folded.safetensors: B 1, T 64, H 2, D 16; ridge_ratio 0.02; emulated: h100/two-term
>
> of 2 heads         x         o  solve.dk  layer.dalpha
> median      1.86e-03  5.66e-03  2.36e-02      7.44e-03
> least       1.79e-03  4.94e-03  1.19e-02      7.36e-03
> largest     1.93e-03  6.38e-03  3.53e-02      7.51e-03
$ gka verify --emulate=h100 server.safetensors
! gka verify: server.safetensors: profile h100 wants q, k, v, alpha and the cotangents in BF16
= 2
$ gka verify --emulate=h100 --fold server.safetensors
> server.safetensors: B 1, T 64, H 2, D 16; ridge_ratio 0.02; emulated: h100
>
> of 2 heads         x         o  solve.dk  layer.dalpha
> median      2.09e-03  6.37e-02  2.54e-01             -
> least       1.95e-03  4.26e-02  2.51e-01             -
> largest     2.23e-03  8.48e-02  2.57e-01             -
$ gka spectrum raw.safetensors:k --gate=none
> raw.safetensors:k: a = 0.02, r = 30, 128 tokens
>
>  t     kappa     share      rank   freedom  smallest  mean key
>  1  5.10e+01  1.00e+00  1.00e+00  9.80e-01         0  1.00e+00
>  2  4.40e+01  8.62e-01  1.69e+00  1.92e+00         0  8.02e-01
>  4  4.38e+01  8.59e-01  2.81e+00  3.73e+00         0  7.13e-01
>  8  4.74e+01  9.29e-01  2.82e+00  5.96e+00         0  7.29e-01
> 16  4.84e+01  9.50e-01  2.88e+00  7.99e+00  6.90e-04  7.33e-01
> 32  4.46e+01  8.75e-01  2.74e+00  9.08e+00  4.25e-02  7.53e-01
> 64  4.18e+01  8.19e-01  2.35e+00  9.02e+00  1.85e-01  7.87e-01
$ gka solve --solver=cholesky --arith=fp64 --problem=raw.safetensors --head=1 | awk '{ print $1, $2, $3, $4, $NF }'
> raw.safetensors, token 64, D 1
> solver arith kappa iters status
> cholesky fp64 47.6 - ran

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
$ gka problem raw.safetensors --gate=none --seed=4 -o x.safetensors
! gka problem: --seed is for a problem that is made up, not for the file raw.safetensors
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
