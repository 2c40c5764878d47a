Goldens: what is written, and bad specs.

$ gka golden --T=5 --D=4 --dtype=fp32 -o golden; ls
> golden

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
! gka golden: spec: no key 'tokens': one of problem gate B T H G D V pairs dtype chunk ridge iters scale seed h0 alpha plain final edit lengths outputs emulate lo oracle stage given was expected
= 2
$ echo '{"T": [3]}' >spec; gka golden --spec=spec -o x
! gka golden: spec: T: a string, a number, true or false was expected
= 2
$ echo '{"T": 3' >spec; gka golden --spec=spec -o x
! gka golden: spec: line 2: '}' expected near end of file; a JSON object was expected
= 2
$ gka golden --spec=nothing -o x
! gka golden: nothing: cannot be opened; a JSON object was expected
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
$ gka golden --input=golden -o golden
! gka golden: -o golden: that is the input file
= 2
$ gka golden --edit=gamma-one --ungated -o x
! gka golden: edit is 'gamma-one' without a gate: gate slow, released or strong was expected
= 2
$ gka golden --suite=slow -o x
! gka golden: no suite 'slow': quick, kernel or edge was expected
= 2
$ gka golden --suite=quick --T=3 -o x
! gka golden: --T has no meaning with --suite
= 2
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
$ gka golden --stage=dk --V=0 -o x
$ gka golden --stage=output --V=0 -o x
! gka golden: stage output: an input 'do' was expected
= 2
$ gka golden --stage=dk --input=golden -o x
! gka golden: golden: tensor 'x', which is given, is missing
= 2
