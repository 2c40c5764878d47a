One system by several solvers, in several arithmetics; lists may be given in parts.

$ gka solve --solver=cg --solver=cholesky,kalman --arith=fp32 --arith=bf16 --D=8 --T=8
> mean, token 8, D = 8, ridge = 0.02, seed = 1
> solver    arith  kappa  iters  residual       eta   rel_err    grad_q    grad_k  status
> cg        fp32    47.2     30  4.26e-07  2.52e-08  2.78e-07  5.78e-07  3.98e-07  stopped at 23
> cholesky  fp32    47.2      -  3.68e-07  2.18e-08  4.22e-07  7.17e-07  7.18e-07  ran
> kalman    fp32    47.2      -  6.17e-07  3.66e-08  2.24e-07  1.66e-07  4.47e-07  ran
> cg        bf16    47.2     30  3.39e-02  2.01e-03  1.78e-02  3.48e-02  3.04e-02  stopped at 19
> cholesky  bf16    47.2      -  1.64e-02  9.79e-04  2.77e-02  3.09e-02  3.37e-02  ran
> kalman    bf16    47.2      -  6.00e-02  3.56e-03  1.29e-02  1.39e-02  3.14e-02  ran
$ gka solve --solver=chebyshev --arith=fp64 --D=8 --T=8 --iters=3 --normalised
> mean, token 8, D = 8, ridge = 0.02, seed = 1, H divided by its Frobenius norm
> solver     arith  kappa  iters  residual       eta   rel_err    grad_q    grad_k  status
> chebyshev  fp64    47.2      3  4.06e-01  2.70e-02  4.18e-01  5.62e-01  5.40e-01  ran
$ gka solve --solver=cg --arith=tokens/bf16 --D=4 --T=4 --json=- | python3 -c 'import json, sys; print(*json.load(sys.stdin)["rows"][0])'
> solver arith problem D T ridge iters seed kappa residual eta rel_err grad_q_err grad_k_err status
$ gka solve --solver=cg --arith=fp32 --D=4 --T=4 --iters=2 --trace=- --json=rows; ls
> solver,arith,step,residual,eta,rel_err,symmetry,smallest
> cg,fp32,0,1.000000e+00,1.000000e+00,1.000000e+00,,
> cg,fp32,1,1.512042e+00,2.151039e-01,8.775758e-01,,
> cg,fp32,2,1.091155e+00,8.104928e-02,7.228414e-01,,
> rows
A state that has decayed: a filter is judged against the system whose ridge has decayed, too. Without a ridge none starts.

$ gka solve --gate=strong --solver=kalman-potter,cholesky --arith=fp64 --D=4 --T=200
> mean, token 200, D = 4, ridge = 0.02, seed = 1
> solver         arith  kappa  iters  residual       eta   rel_err    grad_q    grad_k  status
> kalman-potter  fp64     180      -  2.51e-14  3.03e-16  6.20e-15  4.16e-15  8.70e-15  ran
> cholesky       fp64    39.5      -  1.30e-15  5.87e-17  1.84e-15  8.63e-16  2.23e-15  ran
$ gka solve --ridge=0 --solver=cholesky --arith=fp64 --D=4 --T=8; gka solve --ridge=0 --solver=kalman --D=4 --T=8; gka solve --ridge=0 --D=8 --T=4 --solver=cg
> mean, token 8, D = 4, ridge = 0, seed = 1
> solver    arith  kappa  iters  residual       eta   rel_err    grad_q    grad_k  status
> cholesky  fp64    21.3      -  6.28e-16  4.86e-17  3.04e-16  1.02e-15  9.10e-16  ran
! gka solve: kalman: a Kalman filter starts from a ridge, which is 0 here
! gka solve: H of token 4 is singular in binary64, and the ridge is 0
= 2
Names are found or refused.

$ gka solve --solver=cholesky --solver=chebychev; gka solve --arith=fp32,,bf16; gka solve --problem=men; gka solve --head=1
! gka solve: --solver: nothing is named 'chebychev' (did you mean 'chebyshev'?)
! gka solve: --arith: nothing is named ''; `gka solve --help` lists names
! gka solve: --problem=men: no such file, and no generator; iid, powerlaw, lowrank, repeat, recall, mean, convsilu, aligned, or a file was expected (did you mean 'mean'?)
! gka solve: --head: a file was expected as --problem
= 2
$ gka solve --arith=all --arith=all --arith=all --arith=all --arith=all; gka solve --solver=cg,choleski --arith=fp23
! gka solve: --arith: more than 64 names
! gka solve: --solver: nothing is named 'choleski' (did you mean 'cholesky'?)
= 2

Nothing is drawn for a gate of none, and no seed is asked for.

$ gka problem --T=8 --H=1 --D=4 --V=4 -o p.safetensors; gka solve --problem=p.safetensors --gate=none --solver=cg | head -n 1
> p.safetensors: B 1, T 8, H 1, G 1, D 4, V 4, BF16
> p.safetensors, token 8, D = 4, ridge = 0.02, seed = 1
