Every mistake is one line on stderr and exit code 2.

$ gka
! gka: no command given; `gka --help` lists the commands
= 2
$ gka verfy
! gka: no command 'verfy' (did you mean 'verify'?); `gka --help` lists the commands
= 2
$ gka format
! gka: no command 'format' (did you mean 'formats'?); `gka --help` lists the commands
= 2
$ gka frobnicate
! gka: no command 'frobnicate'; `gka --help` lists the commands
= 2
$ gka --verison
! gka: no option '--verison' before a command; `gka --help` lists both
= 2
$ gka --version formats
! gka: --version takes nothing after it
= 2
$ gka formats x
! gka formats: 'x' is one operand too many; `gka formats --help` says more
= 2
$ gka formats --jsn
! gka formats: no option '--jsn'; `gka formats --help` lists the options
= 2
$ gka verify
! gka verify: FILE..., or --emulate=K and a problem, was expected
= 2
$ gka verify --orcale=fp64 $DATA/h100/d64.safetensors
! gka verify: no option '--orcale' (did you mean '--oracle'?)
= 2
$ gka verify --oracle $DATA/h100/d64.safetensors
! gka verify: --oracle=$DATA/h100/d64.safetensors: expected certified, fp64, mpfr or mpfr/BITS
= 2
$ gka golden --suite -o folder; gka golden --T --D=4 -o golden; gka solve --ridge -1
! gka golden: --suite: expected a value before -o
! gka golden: --T: expected a value before --D=4
! gka solve: --ridge=-1: expected a number from 0 to 1000000
= 2
$ gka verify --oracle=mprf $DATA/h100/d64.safetensors
! gka verify: --oracle=mprf: expected certified, fp64, mpfr or mpfr/BITS (did you mean 'mpfr'?)
= 2
$ gka verify --show-ref=yes $DATA/h100/d64.safetensors
! gka verify: --show-ref takes no value
= 2
$ gka verify --tolerance=x $DATA/h100/d64.safetensors
! gka verify: --tolerance x: NAME=VALUE was expected
= 2
$ gka verify --tolerance=x=small $DATA/h100/d64.safetensors
! gka verify: --tolerance x=small: a finite number >= 0 was expected
= 2
$ gka verify --tolerance=x=-1 $DATA/h100/d64.safetensors
! gka verify: --tolerance x=-1: a finite number >= 0 was expected
= 2
$ gka verify --tolerance=x=nan $DATA/h100/d64.safetensors
! gka verify: --tolerance x=nan: a finite number >= 0 was expected
= 2
$ gka verify --tolerance=x=1 --tolerance=o=1 --tolerance=x=.001 $DATA/h100/d64.safetensors
! gka verify: --tolerance x: given twice
= 2
$ gka verify --show-ref --oracle=fp64 --show-ref $DATA/h100/d64.safetensors; gka golden --T=4 --D=4 --T=8 -o golden; gka problem --T=4 --T=8 -o p
! gka verify: --show-ref: given twice
! gka golden: --T: given twice
! gka problem: --T: given twice
= 2
$ gka golden --alpha --no-alpha -o z; gka golden --pairs=3 -o z; gka solve --solver=cholesky --iters=3
! gka golden: --alpha and --no-alpha: one of them was expected
! gka golden: --pairs has no meaning but with --problem=recall
! gka solve: --iters has no meaning where no solver iterates
= 2
$ gka judge --require=x a b --require=o; gka formats --help --json=- --json=-; gka solve --arith=fp64 --arith=fp64 --T=4 --T=4; ls
> gka formats - number formats: precision, range, unit roundoff, overflow rule
>
> Usage: gka formats [OPTION...]
>   -h, --help     print this text
>
> A finite value is m 2^(e-p+1), |m| < 2^p, emin <= e <= emax. The unit roundoff is
> 2^-p; max is the largest finite value, and overflow what rounding to nearest does
> beyond it.
>
> The numbers of a block share a scale: the smallest by which its largest number fits
> (up), the nearest to that, or the power of two that makes the largest number's
> exponent the element's (OCP). `gka solve --arith` takes BLOCKS-acc32, an emulation
> /states=BLOCKS: h100/states=mxfp8-e4m3.
! gka judge: --require: given twice
! gka solve: --T: given twice
$ for s in handoff=1 handoff=2; do set -- "$@" --set=$s; done; gka verify --emulate=h100 "$@" $DATA/h100/d64.safetensors; gka attribute "$@"
! gka verify: --set handoff: given twice
! gka attribute: --set handoff: given twice
= 2
$ gka verify --emulate=h100 --set=foo=1 $DATA/h100/d64.safetensors
! gka verify: no rounding point or repair 'foo'
= 2
$ gka verify --tolerance=x=inf $DATA/h100/d64.safetensors
! gka verify: --tolerance x=inf: a finite number >= 0 was expected
= 2
$ gka verify --tolerance=solve.dkk=1 $DATA/h100/d64.safetensors
! gka verify: --tolerance solve.dkk: no output has that name (did you mean 'solve.dk'?)
= 2
$ gka verify --tolerance=whatever=1 $DATA/h100/d64.safetensors
! gka verify: --tolerance whatever: no output has that name
= 2

A tolerance that nothing is held to is a mistake too.

$ gka verify --tolerance=solve.dh0=1 $DATA/h100/d64.safetensors >table
! gka verify: --tolerance solve.dh0: no file holds a tensor of that name
= 2
$ gka verify --tolerance=ref.x=1 $DATA/h100/d64.safetensors >table
! gka verify: --tolerance ref.x: no file holds a tensor of that name that is shown; --show-ref was expected
= 2

Names of files.

$ gka verify $DATA/h100/iid_gatde.safetensors
! gka verify: $DATA/h100/iid_gatde.safetensors: No such file or directory (did you mean 'iid_gated.safetensors'?)
= 2
$ gka verify $DATA/h100/nothing_like_it
! gka verify: $DATA/h100/nothing_like_it: No such file or directory
= 2
$ gka verify $DATA/h100
! gka verify: $DATA/h100: not a regular file
= 2
$ gka verify --inputs=$DATA/h100/d65.safetensors $DATA/h100/d64.safetensors
! gka verify: $DATA/h100/d65.safetensors: No such file or directory (did you mean 'd64.safetensors'?)
= 2
$ gka verify --json=no/such/folder/out.json $DATA/h100/d64.safetensors >table
! gka verify: no/such/folder/out.json: cannot be written: No such file or directory
= 2
$ cp $DATA/h100/d64.safetensors in; gka verify --json=in in; cmp in $DATA/h100/d64.safetensors; rm in
! gka verify: --json=in: that is an input file
$ gka verify --emulate=exact64 --per-head --json=same --csv=./same $DATA/h100/d64.safetensors
! gka verify: --json and --csv: two different outputs were expected
= 2
$ gka golden --T=2 --D=2 -o golden; gka judge golden golden --json=golden; gka audit golden --json=./golden
! gka judge: --json=golden: that is an input file
! gka audit: --json=./golden: that is an input file
= 2
$ mkdir goldens; mv golden goldens/g.safetensors; gka judge goldens goldens --junit=goldens/g.safetensors; rm -r goldens
! gka judge: --junit=goldens/g.safetensors: that is an input file
$ gka verify ''
! gka verify: '': No such file or directory
= 2
$ gka verify --json=/dev/full $DATA/h100/d64.safetensors >table
! gka verify: /dev/full: cannot be written: No space left on device
= 2
$ gka verify $DATA/h100/d64.safetensors >/dev/full
! gka verify: cannot write to standard output: No space left on device
= 2
$ ls
> table

Standard output is for one thing, and a list has no empty names.

$ gka verify --emulate=h100 --per-head --csv=- --json=/dev/stdout $DATA/h100/d64.safetensors
! gka verify: --json and --csv: two different outputs were expected
= 2
$ gka verify --emulate=h100 --per-head --csv=- $DATA/h100/d64.safetensors | cut -d, -f2-4
> row,head,x:h100
> 0,0,2.568836e-03
$ gka verify --json=/dev/stdout $DATA/h100/d64.safetensors | head -2
> {
>   "schema": 1,
$ gka verify --emulate=h100, --per-head $DATA/h100/d64.safetensors
! gka verify: no kernel '': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, another device that multiplies bf16 (gka devices), cuda or tokens/POLICY was expected
= 2
$ gka verify --emulate=h100,,cuda $DATA/h100/d64.safetensors
! gka verify: no kernel '': certified, fp64, mpfr/BITS, steps, exact64, ieee32, h100, another device that multiplies bf16 (gka devices), cuda or tokens/POLICY was expected
= 2
$ gka golden --T=2 --D=2 -o ''; gka problem -o ''
! gka golden: '': the path of a file to write was expected
! gka problem: '': the path of a file to write was expected
= 2

A name that is nearly one is met with that one, and a list says where it stands.

$ for k in h100/solve_dh.num_warp=4 h100/slove.num_warps=4 h100/solve.num_warps=3 h100/ h100//two-term; do gka verify --emulate=$k $DATA/h100/d64.safetensors; done; gka solve --problem=iid,mean
! gka verify: 'solve_dh.num_warp=4': expected num_warps=W after '.' (did you mean 'solve_dh.num_warps'?)
! gka verify: 'slove.num_warps=4': expected one of the kernels solve, solve_dk, solve_dh, states, output, output_bwd, gates and decode, or all, before .num_warps (did you mean 'solve.num_warps'?)
! gka verify: 'solve.num_warps=3': expected 1, 2, 4 or 8
! gka verify: h100/: a part after '/' is empty
! gka verify: h100/: a part after '/' is empty
! gka solve: --problem=iid,mean: no such file, and no generator; iid, powerlaw, lowrank, repeat, recall, mean, convsilu, aligned, or a file was expected
= 2
$ for k in h100/twoterm h100/two-term/stor_x=exact cuda/twoterm; do gka verify --emulate=$k $DATA/h100/d64.safetensors; done; gka attribute --set=store_y
! gka verify: 'twoterm': expected POINT=exact or POINT=released, or a form as two-term (did you mean 'two-term'?)
! gka verify: no rounding point or repair 'stor_x' (did you mean 'store_x'?)
! gka verify: cuda/twoterm: three-term, two-term, accurate or decode was expected (did you mean 'two-term'?)
! gka attribute: 'store_y': expected POINT=exact or POINT=released, or a form as two-term (did you mean 'store_x'?)
= 2
$ gka solve --problem=men; gka solve --solver=foo; gka solve --solver=chebyshv; gka compare --arith=a100 --problem=mean; gka compare --arith=foo --problem=mean
! gka solve: --problem=men: no such file, and no generator; iid, powerlaw, lowrank, repeat, recall, mean, convsilu, aligned, or a file was expected (did you mean 'mean'?)
! gka solve: --solver: nothing is named 'foo'; `gka solve --help` lists names
! gka solve: --solver: nothing is named 'chebyshv' (did you mean 'chebyshev'?)
! gka compare: --arith: 'a100': a device whose products or functions were not measured; an arithmetic as fp64, bf16-acc32 or fp32/fma, or h100 or exact64 was expected
! gka compare: --arith: 'foo': an arithmetic as fp64, bf16-acc32 or fp32/fma, or h100 or exact64 was expected
= 2

`--csv FILE`, where a file to read was meant, does not replace its tensors by a table.

$ cp $DATA/h100/d64.safetensors a.safetensors; gka spectrum --csv a.safetensors; gka solve --trace=a.safetensors; cmp a.safetensors $DATA/h100/d64.safetensors
! gka spectrum: --csv=a.safetensors: a file of tensors; a name for text was expected
! gka solve: --trace=a.safetensors: a file of tensors; a name for text was expected
