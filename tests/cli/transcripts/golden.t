Goldens: what is written, and bad specs.

$ gka golden --T=5 --D=4 --dtype=fp32 -o golden; ls
> golden
$ gka golden --show=golden
> golden: format 2, stage all, inputs f35520eeea05...
> ridge_ratio 0.02, num_iter 30, chunk_size 64, scale 0.5
> spec {"B":1,"D":4,"G":1,"H":1,"T":5,"V":4,"alpha":true,"chunk":64,"dtype":"fp32","edit":"none","emulate":"none","final":false,"gate":"released","given":"none","h0":false,"iters":30,"lengths":"none","lo":false,"oracle":"certified","outputs":"forward,states,backward","pairs":0,"plain":false,"problem":"iid","ridge":0.02,"scale":0.5,"seed":1,"stage":"all"}
> oracle {"empty_states":0,"exact_zeros":2,"forward":"correctly rounded, proven","gradient_bounds":{"layer.dalpha":4.8999999999999998e-27,"layer.dg":5.0999999999999999e-27,"layer.dk":6.1999999999999997e-27,"layer.dq":9.5999999999999997e-29,"layer.dv":1e-27,"solve.dg":8.7999999999999995e-27,"solve.dk":6.1999999999999997e-27,"solve.dq":6.7999999999999994e-29},"gradient_elements":115,"gradients":"correctly rounded, proven","gradients_in_mpfr":0,"gradients_undecided":0,"in_mpfr":0,"oracle":"certified","ties":0,"token_solves":15}
>
> tensor        shape      judged  tolerance     floor     panel       row  row floor  row panel
> x             1,5,1,4    steps    9.54e-07  2.46e-08  4.67e-07  9.54e-07   2.98e-08   4.68e-07
> fro           1,5,1      steps    1.19e-07  1.81e-08  5.48e-08  2.38e-07   2.27e-08   7.82e-08
> h_chunk       1,1,1,4,4  steps    2.22e-16         0         0  2.22e-16          0          0
> h_final       1,1,4,4    steps    1.19e-07  2.77e-08  5.38e-08  1.19e-07   2.77e-08   5.38e-08
> u_final       1,1,4,4    steps    1.19e-07  1.76e-08  5.15e-08  1.19e-07   1.76e-08   5.15e-08
> o             1,5,1,4    local    9.54e-07  2.64e-08  3.29e-07  9.54e-07   3.10e-08   4.29e-07
> solve.dq      1,5,1,4    steps    1.91e-06  2.73e-08  5.56e-07  1.91e-06   3.47e-08   5.66e-07
> solve.dk      1,5,1,4    local    9.54e-07  2.61e-08  3.79e-07  1.91e-06   2.63e-08   8.19e-07
> solve.dg      1,5,1      local    9.54e-07  1.78e-08  3.68e-07  1.91e-06   1.75e-08   6.94e-07
> layer.dq      1,5,1,4    steps    9.54e-07  2.23e-08  4.74e-07  1.91e-06   2.43e-08   5.66e-07
> layer.dk      1,5,1,4    local    1.91e-06  2.15e-08  6.53e-07  3.81e-06   2.25e-08   1.27e-06
> layer.dv      1,5,1,4    local    4.77e-07  2.56e-08  2.31e-07  9.54e-07   2.89e-08   2.48e-07
> layer.dalpha  1,5,1      local    7.63e-06  2.87e-08  2.03e-06  7.63e-06   3.50e-08   2.74e-06
> layer.dg      1,5,1      local    1.91e-06  3.98e-08  6.48e-07  1.91e-06   4.50e-08   8.18e-07
>
> tolerance: 2^ceil(log2(max(2 floor, 2 panel, u))); null from 1/2 on
> panel of x fro h_chunk h_final u_final o solve.dq solve.dk solve.dg layer.dq layer.dk layer.dv layer.dalpha layer.dg: ieee32, the worst of C = 64 16, two-term, token by token without fused multiply-adds

$ gka golden
! gka golden: expected -o FILE; `gka golden --help` says more
= 2
$ gka golden --T=-1 -o x
! gka golden: T is '-1': an integer from 1 to 1073741824 was expected
= 2
$ gka golden --dtype=bf17 -o x
! gka golden: dtype is 'bf17': bf16, fp16 or fp32 was expected
= 2
$ gka golden --outputs=sideways -o x
! gka golden: outputs is 'sideways': some of forward, states and backward, separated by commas, was expected
= 2
$ gka golden --H=3 --G=2 -o x
! gka golden: G is 2: a divisor of H = 3 was expected
= 2
$ gka golden --B=100000 --T=1000000 -o x 2>&1 | sed 's/most .* GB/most N GB/'
> gka golden: B T H G D V = 100000 1000000 1 1 128 128: 5.14e+06 GB of memory needed; at most N GB was expected
$ gka golden --chunk=24 --emulate=h100 -o x
! gka golden: chunk_size = 24: the tensor core of h100 wants a multiple of 16
= 2
$ gka golden --dtype=fp32 --emulate=h100 -o x
! gka golden: profile h100 wants q, k, v, alpha and the cotangents in BF16
= 2
$ echo '{"T": 3, "tokens": 4}' >spec; gka golden --spec=spec -o x
! gka golden: spec: no key 'tokens': one of problem gate B T H G D V pairs dtype chunk ridge iters scale seed h0 alpha plain final edit lengths outputs emulate lo oracle stage given serving prefill h-type u-type lambda operands was expected
= 2
$ echo '{"T": [3]}' >spec; gka golden --spec=spec -o x
! gka golden: spec: T: a string, a number, true or false was expected
= 2
$ printf '{"T": 3}\0{"T": 4}' >spec; gka golden --spec=spec -o x
! gka golden: spec: byte 8 is NUL; a JSON object was expected
= 2
$ echo '{"T": 3' >spec; gka golden --spec=spec -o x
! gka golden: spec: line 2: '}' expected near end of file; a JSON object was expected
= 2
$ gka golden --spec=nothing -o x
! gka golden: nothing: cannot be opened: No such file or directory; a file with a JSON object was expected
= 2
$ gka golden --lengths=3,4 --B=2 -o x
! gka golden: lengths: packed sequences: B = 1, no h0 and no final were expected
= 2
$ gka golden --lengths=3,4 --T=8 -o x
! gka golden: --T has no meaning with --lengths, whose sum it is
= 2
$ echo '[1]' >list; gka golden --spec=list -o x
! gka golden: list: a JSON object was expected
= 2
$ gka golden --show=list
! gka golden: list: 4 bytes long; a safetensors file has at least 10
= 2
$ gka golden --input=golden -o golden
! gka golden: -o golden: that is an input file
= 2
$ gka golden --edit=gamma-one --ungated -o x
! gka golden: edit is 'gamma-one' without a gate: gate slow, released, strong or init was expected
= 2
$ gka golden --suite=slow -o x
! gka golden: no suite 'slow': quick, kernel or edge was expected
= 2
$ gka golden --suite=quick --T=3 -o x
! gka golden: --T has no meaning with --suite
= 2
$ : >file; gka golden --suite=quick -o file; ln -s nowhere dangling; gka golden --suite=quick -o dangling; rm file dangling
! gka golden: file: a folder, or the name of a new one, was expected
! gka golden: dangling: a folder, or the name of a new one, was expected
$ gka golden --suite=quick -o nowhere/x
! gka golden: nowhere/x: cannot be made: No such file or directory
= 2
$ gka golden --input=golden --T=3 -o x
! gka golden: --T is for inputs that are made up, not for the file golden
= 2
$ gka golden --input=golden --oracle=fp64 -o x
! gka golden: oracle is 'fp64': certified or mpfr was expected
= 2
$ gka golden --T=2 --D=2 -o nowhere/x
! gka golden: nowhere/x: cannot be written: No such file or directory
= 2
$ ls
> golden
> list
> spec

Stages.

$ gka golden --stage=dk --given=x -o x
! gka golden: given: x and p, and perhaps f and h_chunk, was expected for stage dk
= 2
$ gka golden --given=x -o x
! gka golden: given: a stage (solve, output, dk or dg) was expected for stage all
= 2
$ gka golden --stage=decode -o x
! gka golden: stage decode: T = 1 and h0 were expected
= 2
$ gka golden --stage=output --given=f -o x
! gka golden: given: x was expected for stage output
= 2
$ gka golden --stage=sideways -o x
! gka golden: stage is 'sideways': all, solve, output, dk, dg or decode was expected
= 2
$ gka golden --stage=dk --given=q -o x
! gka golden: given is 'q': none, or of x, p, f and h_chunk, separated by commas, was expected
= 2
$ gka golden --stage=dk --emulate=h100 -o x
! gka golden: emulate is 'h100': none was expected for a stage
= 2
$ gka golden --stage=dk --V=0 --T=6 --D=8 -o x
$ gka golden --stage=output --V=0 -o x
! gka golden: stage output: an input 'do' was expected
= 2
$ gka golden --stage=dk --input=golden -o x
! gka golden: golden: tensor 'x', which is given, is missing
= 2

A golden that gka 0.1.0 wrote has format 1. It is refused with a line, which says the way to a new one.
$ gka show $DATA/golden_0.1.0.safetensors
! gka show: $DATA/golden_0.1.0.safetensors: a golden of format 1; format 2 was expected: gka golden makes it again from its metadata 'spec'
= 2
$ gka judge $DATA/golden_0.1.0.safetensors $DATA/golden_0.1.0.safetensors
! gka judge: $DATA/golden_0.1.0.safetensors: a golden of format 1; format 2 was expected: gka golden makes it again from its metadata 'spec'
= 2
$ gka audit $DATA/golden_0.1.0.safetensors
! gka audit: $DATA/golden_0.1.0.safetensors: a golden of format 1; format 2 was expected: gka golden makes it again from its metadata 'spec'
= 2
$ gka verify --against=$DATA/golden_0.1.0.safetensors $DATA/golden_0.1.0.safetensors
! gka verify: $DATA/golden_0.1.0.safetensors: a golden of format 1; format 2 was expected: gka golden makes it again from its metadata 'spec'
= 2
$ grep -aoE '"spec":"[^}]*}' $DATA/golden_0.1.0.safetensors | sed 's/^"spec":"//; s/\\//g' >spec; gka golden --spec=spec -o new; gka show new | head -1
> new: format 2, stage all, inputs f8e401903045...
Its inputs are a problem as any other.
$ gka verify --emulate=tokens/fp32 $DATA/golden_0.1.0.safetensors
> $DATA/golden_0.1.0.safetensors: B 1, T 3, H 1, D 2; ridge_ratio 0.02; emulated: tokens/fp32
>
> of 1 heads         x         o  solve.dk  layer.dalpha
> median      3.21e-04  4.01e-04  5.45e-04             -
> least       3.21e-04  4.01e-04  5.45e-04             -
> largest     3.21e-04  4.01e-04  5.45e-04             -
