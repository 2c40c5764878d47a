gka judge, gka show and gka audit: what `verify --against`, `golden --show` and `golden --audit` do, as commands of their own.

$ gka golden --T=20 --D=16 --chunk=16 -o golden; gka audit --write=h100-c32 -o kernel golden
$ gka judge kernel golden >new; gka verify --against=golden kernel | diff new - && tail -2 new
> 13 judged, 0 failed, 1 missing, 0 not judged
> no verdict on: h_chunk; what is missing fails with --require=NAME,..|all
$ gka show golden >new; gka golden --show=golden | diff new - && head -3 new
> golden: format 2, stage all, inputs c24233a15960...
> ridge_ratio 0.02, num_iter 30, chunk_size 16, scale 0.25
> spec {"B":1,"D":16,"G":1,"H":1,"T":20,"V":16,"alpha":true,"chunk":16,"dtype":"bf16","edit":"none","emulate":"none","final":false,"gate":"released","given":"none","h0":false,"iters":30,"lengths":"none","lo":false,"oracle":"certified","outputs":"forward,states,backward","pairs":0,"plain":false,"problem":"iid","ridge":0.02,"scale":0.25,"seed":1,"stage":"all"}
$ gka judge --map=solve.dg=fro kernel golden | head -5
> kernel against golden
>
> tensor        dtype     error  against  tolerance       row  tolerance  ok          steps     local
> x             BF16   5.96e-03  steps     1.56e-02  1.03e-02   3.12e-02  yes      5.96e-03         -
> fro           F32    7.14e+01  steps     1.95e-03  1.74e+02   3.91e-03  NO       7.14e+01         -
$ gka judge --json=- kernel kernel golden | grep -c '"against"'
> 28

A case's name is text of a file: it commands no terminal.

$ mkdir cases kernels; cp golden cases/a.safetensors; cp kernel kernels/a.safetensors; printf '{"golden": "2", "complete": true, "cases": [{"name": "\\u001b[31mred\\n", "file": "a.safetensors", "sha256": "%s"}]}' $(sha256sum <golden | cut -c1-64) >cases/index.json
$ gka judge --map=solve.dg=fro kernels cases | cut -c1-60 | head -6
> kernels against cases
>
> case             judged  failed  missing  worst     error  t
> \x1b[31mred\x0a      13       2        1  fro    7.14e+01  
>
> \x1b[31mred\x0a:

What has no verdict is named in the last line.

$ gka golden --T=8 --D=4 --chunk=4 --outputs=forward -o small; gka golden --T=8 --D=4 --chunk=4 --outputs=forward,states -o more; gka audit --write=exact -o candidate small; gka judge candidate more >out; echo $?; tail -2 out
> 0
> 3 judged, 0 failed, 3 missing, 0 not judged
> no verdict on: h_chunk, h_final, u_final; what is missing fails with --require=NAME,..|all
$ gka judge --require=x candidate more | tail -2; gka judge --require=all candidate more | tail -2
> 3 judged, 0 failed, 3 missing, 0 not judged
> no verdict on: h_chunk, h_final, u_final; what is missing fails with --require=NAME,..|all
> u_final: required, and missing
> 3 judged, 3 failed (3 required and missing), 3 missing, 0 not judged
$ gka golden --T=1 --D=16 --V=8 -o one; gka audit --write=exact -o right one; gka judge right one | tail -2; gka judge --require=layer.dk,x right one | tail -5
> 12 judged, 0 failed, 0 missing, 2 not judged
> no verdict on: layer.dk, layer.dalpha
>   distances in steps of BF16:  1: 7  2..3: 9
>   required, and the golden has no tolerance: right kernels are too far apart
> note: tensor 'layer.dalpha' is not judged: right kernels are too far apart here for a tolerance
> 13 judged, 1 failed, 0 missing, 1 not judged
> no verdict on: layer.dalpha
$ gka golden --T=2 --D=4 --scale=1e-12 --dtype=fp32 --outputs=forward -o faint; safetensors zeros '{"o":{"dtype":"F16","shape":[1,2,1,4],"data_offsets":[0,16]}}' 16; gka judge --require=o zeros faint | tail -6
>   worst o[0,0,0,2]: 0 (0x0000), 3.20079985e-13 (0x0000) was expected
>   distances in steps of F16:  0: 8
>   required, and cannot be judged without 'x'
>   F16 does not hold these values: rounded to it the reference itself fails
> 1 judged, 1 failed, 2 missing, 0 not judged
> no verdict on: x, fro; what is missing fails with --require=NAME,..|all
$ mkdir suite; mv golden suite/g.safetensors; gka show suite; mv suite/g.safetensors golden; rm -r suite
! gka show: suite/index.json: cannot be opened: No such file or directory; a folder made by gka golden --suite was expected

Where every right kernel overflows there is no tolerance, for those that converge neither.

$ gka golden --edit=largest-key --outputs=forward --T=4 --D=4 -o big; grep -ao 'fro[^a-z]*exact[^}]*}' big
> fro\":{\"exact\":{\"row\":null,\"value\":null}
> fro.exact":{"dtype":"F64","shape":[1,4,1],"data_offsets":[440,472]}

What stands without a proof is named: k v + e^-1e9 u0 = 1 + 2^-26 + 2^-27 + 2^-53 and a rest that nothing here sees.

$ safetensors tie '{"q":{"dtype":"F64","shape":[1,1,1,1],"data_offsets":[0,8]},"k":{"dtype":"F64","shape":[1,1,1,1],"data_offsets":[8,16]},"v":{"dtype":"F64","shape":[1,1,1,1],"data_offsets":[16,24]},"g":{"dtype":"F64","shape":[1,1,1],"data_offsets":[24,32]},"u0":{"dtype":"F64","shape":[1,1,1,1],"data_offsets":[32,40]},"u_final":{"dtype":"F64","shape":[1,1,1,1],"data_offsets":[40,48]}}' 0; printf '\0\0\0\0\0\0\360\77\0\0\0\4\0\0\360\77\0\0\0\2\0\0\360\77\0\0\0\0\145\315\315\301\0\0\0\0\0\0\360\77\0\0\0\6\0\0\360\77' >>tie; gka verify tie | grep declared
> note: certified but for 1 declared ties, halfway between two numbers as far as is known: u_final element 0
$ gka golden --input=tie --lo -o tied; gka show tied | grep ^oracle
> oracle {"empty_states":0,"exact_zeros":1,"forward":"correctly rounded, proven but for 1 declared ties","gradients":"correctly rounded, proven","in_mpfr":1,"oracle":"certified","ties":1,"token_solves":1,"unproven":["u_final[0]"]}
$ safetensors tie '{"__metadata__":{"scale":"1"},"q":{"dtype":"F64","shape":[1,2,1,1],"data_offsets":[0,16]},"k":{"dtype":"F64","shape":[1,2,1,1],"data_offsets":[16,32]},"v":{"dtype":"F64","shape":[1,2,1,1],"data_offsets":[32,48]},"do":{"dtype":"F64","shape":[1,2,1,1],"data_offsets":[48,64]},"alpha":{"dtype":"F64","shape":[1,2,1],"data_offsets":[64,80]},"g":{"dtype":"F64","shape":[1,2,1],"data_offsets":[80,96]},"layer.dv":{"dtype":"F64","shape":[1,2,1,1],"data_offsets":[96,112]}}' 0; printf '\0\0\0\0\0\0\360\77\0\0\0\0\0\0\360\77\0\0\0\4\0\0\360\77\0\0\0\0\0\0\360\77\0\0\0\0\0\0\360\77\0\0\0\0\0\0\360\77\0\0\0\2\0\0\360\77\0\0\0\0\0\0\360\77\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\145\315\315\301\0\0\0\0\0\0\360\77\0\0\0\0\0\0\360\77' >>tie; gka verify tie | grep 'but for'; gka golden --input=tie -o tied; gka show tied | grep -o 'but for.*undecided"\|unproven.*'
> note: certified but for 1 gradients, rounded without a proof
> but for the undecided","gradients_in_mpfr":3,"gradients_undecided"
> unproven":["layer.dq[0]","layer.dv[0]"]}
$ gka judge golden
! gka judge: expected CANDIDATE... GOLDEN; `gka judge --help` says more
= 2
$ gka judge golden kernel; gka verify golden --against=kernel; gka judge kernel kernel; gka judge nothing kernel
! gka judge: kernel is no golden, but golden is one: the golden comes last
! gka verify: kernel is no golden, but golden is one: --against names the golden
! gka judge: kernel: metadata 'golden' is missing; a file made by gka golden was expected
! gka judge: nothing: No such file or directory
= 2
$ safetensors dv '{"layer.dv":{"dtype":"BF16","shape":[1,20,1,16],"data_offsets":[0,640]}}' 640; gka judge dv golden >out; tail -1 out
> no verdict on: x, fro, h_chunk, h_final, u_final, o, solve.dq, solve.dk, solve.dg, layer.dq, layer.dk, layer.dv, layer.dalpha, layer.dg; what is missing fails with --require=NAME,..|all
! gka judge: golden: nothing was judged: a tensor with a tolerance there, and those that it follows from, were expected
$ gka judge kernel nothing
! gka judge: nothing: No such file or directory
= 2
$ gka judge --oracle=fp64 kernel golden
! gka judge: no option '--oracle'; `gka judge --help` lists the options
= 2
$ gka show
! gka show: expected GOLDEN; `gka show --help` says more
= 2
$ gka show golden golden
! gka show: 'golden' is one operand too many; `gka show --help` says more
= 2
$ gka show nothing
! gka show: nothing: No such file or directory
= 2
$ gka audit --write=steps golden -o m --json=report; gka audit --write=steps golden -o m --units=u; find . -name m -o -name report
! gka audit: --json has no meaning with --write
! gka audit: --units has no meaning with --write
$ gka audit -o m golden
! gka audit: -o: expected --write=MEMBER too
= 2
$ gka audit --write=omega golden
! gka audit: --write: no member 'omega' in the panels (did you mean 'omega0'?); `gka audit golden` lists them
= 2
$ gka judg golden; gka sohw golden; gka audti golden
! gka: no command 'judg' (did you mean 'judge'?); `gka --help` lists the commands
! gka: no command 'sohw' (did you mean 'show'?); `gka --help` lists the commands
! gka: no command 'audti' (did you mean 'audit'?); `gka --help` lists the commands
= 2
$ gka golden --show=golden --T=5
! gka golden: --T has no meaning with --show
= 2
$ gka golden --show=golden -o other
! gka golden: --output has no meaning with --show
= 2
$ gka golden --audit=golden --suite=quick
! gka golden: --suite has no meaning with --audit
= 2
$ gka golden --json=out -o other
! gka golden: --json needs --audit=GOLDEN
= 2
$ gka judge --help
> gka judge - judge a kernel's tensors by a golden, or a folder of them by a suite
>
> Usage: gka judge [OPTION...] CANDIDATE... GOLDEN
>   -h, --help                                print this text
>       --json=OUT                            write the figures as JSON
>       --map=THEIRS=OURS                     the candidate calls the golden's
>                                             tensor OURS THEIRS; may be repeated
>       --reference=steps|exact|certified     exact (or certified): for a solver
>                                             that converges (steps)
>       --gradients=implicit|through|auto     through: of the steps themselves,
>                                             as autograd gives them (implicit)
>       --require=NAME,..|all                 these outputs, or all of the
>                                             golden's, must be there and be
>                                             judged
>       --given=LIST                          judge later stages only locally,
>                                             at the candidate's own x, p, f,
>                                             h_chunk
>       --given-from=OTHER                    ... or at those of this file
>       --junit=OUT                           write verdicts as JUnit
>       --layout=bthd|bhtd                    axes of the candidate's token
>                                             tensors (bthd)
>
> Each output in CANDIDATE, a safetensors file, is judged by the tolerance that GOLDEN has
> for it. `gka golden` makes goldens and `gka show GOLDEN` prints one. The columns:
>
>   error      rel_err against NAME.steps, or against what the exact formulas make of the
>              candidate's own upstream tensors (x fro, solve.dq or layer.dq), whichever
>              is nearer
>   row        the largest error of a row, of a row's norm or of the mean one, with its
>              tolerance
>   inherited  how far the upstream tensors alone have moved the exact formulas' value
>   total      rel_err against NAME.exact
>
> and, against NAME.steps, in the words of other tests: flash-linear-attention's ratio; the
> smallest atol that torch.testing.assert_close passes with its own rtol for the type; the
> cosine; and, of the elements that differ, the share nearer to 0 than the reference: half
> of them where a kernel rounds to nearest, all where it cuts off. What fails is shown at
> its first and worst element, in decimal and in hex.
>
> Where GOLDEN is a folder (gka golden --suite), CANDIDATE is a folder of candidates of the
> same names, judged case by case; what it lacks is named. With --require a case without
> a candidate fails, too.
>
> NAME.steps is num_iter Chebyshev steps: a solver that converges (CG, Cholesky) is judged
> with --reference=exact, by NAME.exact in its place. A solve.dh0 that is symmetric is
> judged by the symmetric part of the reference.
>
> JSON: for one CANDIDATE an object {file, against, tensors, judged, failed, missing}, for
> several a list of them. A tensor's `distances` are how many elements lie 0, 1, 2..3,
> 4..7, ... steps of the stored format from the reference, the last two 2^15 and more, and
> NaN. With --json=- no table is printed.
>
> An output without a verdict (the candidate lacks it, or the golden has no tolerance) is
> named in the last line; --require=NAME,..|all makes a failure of it.
>
> Exit code: 0 nothing fails, 1 a tensor fails, 2 usage or bad input, 3 internal.
$ gka show --help
> gka show - what a golden holds, and where its tolerances come from
>
> Usage: gka show [OPTION...] GOLDEN
>   -h, --help     print this text
>
> Prints the parameters of GOLDEN and, for each output, its tolerance and what that is made
> of: 2^ceil(log2(max(2 floor, 2 stage, u))), where
>
>   floor  is the error of NAME.steps rounded once to the stored types
>   stage  is the largest error of the kernels that are named below the table, which are right
>   u      is the unit roundoff of the stored type
$ gka audit --help
> gka audit - does a golden tell right kernels from wrong ones?
>
> Usage: gka audit [OPTION...] GOLDEN
>   -h, --help             print this text
>       --write=MEMBER     write its tensors, as a candidate, to -o
>   -o, --output=FILE      with --write: the candidate to write
>       --json=FILE        the report as JSON, - for stdout
>       --units=FOLDER     share the files among all processes that are given
>                          this folder (mpirun: rank 0 prints and has the exit
>                          code, the others end with 0), and go on from what is
>                          there
>
> Judges two panels of kernels by GOLDEN, or by each golden of a suite's folder: kernels
> that are right (emulations that differ in their roundings and in the order of their sums)
> and kernels with one mistake each, else exact.
>
> For each tensor it prints the largest error accepted and the smallest error rejected.
>
>   slack   of a right kernel: tolerance / error, where that is smallest; below 1 it fails
>   margin  of a mistake: error / the largest error of a right kernel, where that is largest;
>           of a tensor: smallest rejected / largest accepted
>
> What a golden cannot tell apart (a margin below 3) is named. --write=MEMBER writes the
> tensors of one member as a candidate, for `gka judge`.
>
> Exit code: 0 the panels are told apart; 1 a right kernel fails or, for a suite, no case
> catches a mistake; 2 usage or bad input; 3 internal.

A golden of MesaNet: its ridge is printed, and the audit, whose members are Gated KalmaNet's, refuses it.

$ gka golden --lambda=0.5 --no-alpha --T=8 --D=16 --chunk=16 -o mesa.safetensors
$ gka show mesa.safetensors | grep lambda | head -1
> lambda 0.5
$ gka audit mesa.safetensors
! gka audit: mesa.safetensors: a golden of MesaNet (lambda = 0.5): the members of an audit are Gated KalmaNet's
= 2
$ gka verify --emulate=h100/mesa mesa.safetensors | head -1
> mesa.safetensors: B 1, T 8, H 1, D 16; ridge_ratio 0.02, lambda 0.5; emulated: h100/mesa
$ gka verify --emulate=amx/mesa mesa.safetensors
! gka verify: mesa.safetensors: amx has no matrix unit for fp16
= 2

An audit's or a verification's folder of units, where it has no effect:

$ gka audit --units=u absent.safetensors
! gka audit: --units: a suite's folder was expected with it
= 2
$ gka audit --units=u --write=steps -o w.safetensors absent.safetensors
! gka audit: --units has no meaning with --write
= 2
$ gka verify --against=golden kernel --ridge=.5; gka verify --against=golden kernel --seed=3 --layout=bthd; gka verify --against=golden kernel --layout=bthd | tail -1
> no verdict on: h_chunk; what is missing fails with --require=NAME,..|all
! gka verify: --against: the golden has a problem, so its options but --layout have no meaning
! gka verify: --against: the golden has a problem, so its options but --layout have no meaning
$ gka verify --against=absent.safetensors --units=u absent.safetensors
! gka verify: --units has no meaning with --against
= 2

A file that is no golden, named as one.

$ gka problem --T=8 --H=1 --D=4 --V=4 -o p.safetensors; gka golden --T=8 --D=4 -o g.safetensors; gka verify --against=p.safetensors; gka verify --against=p.safetensors g.safetensors
> p.safetensors: B 1, T 8, H 1, G 1, D 4, V 4, BF16
! gka verify: p.safetensors: nothing was judged: a tensor with a tolerance there, and those that it follows from, were expected
! gka verify: p.safetensors is no golden, but g.safetensors is one: --against names the golden
= 2
