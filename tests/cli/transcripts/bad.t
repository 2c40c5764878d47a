Every bad file is one line on stderr and exit code 2, and nothing is written.

$ : >empty; gka verify --json=out.json empty
! gka verify: empty: 0 bytes long; a safetensors file has at least 10
= 2
$ printf 'not a safetensors file' >text; gka verify --json=out.json text
! gka verify: text: not a safetensors file: header length 7021991845529153390; at most 100000000 expected
= 2
$ printf '\xff\xff\0\0\0\0\0\0{}' >short; gka verify --json=out.json short
! gka verify: short: header length 65535 goes beyond the end of the file (10 bytes)
= 2
$ safetensors bad '[]' 0; gka verify --json=out.json bad
! gka verify: bad: header does not begin with '{'; a JSON object expected
= 2
$ safetensors bad '{"q": 1}' 0; gka verify --json=out.json bad
! gka verify: bad: tensor 'q': an object {dtype, shape, data_offsets} was expected in the header
= 2
$ safetensors bad '{"q": {"dtype": "F31", "shape": [1], "data_offsets": [0,4]}}' 4; gka verify --json=out.json bad
! gka verify: bad: tensor 'q': dtype 'F31' cannot be read; F64, F32, BF16, F16, F8_*, F6_*, F4, BOOL or an integer type I8 .. U64 was expected
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1], "data_offsets": [0,4]}}' 3; gka verify --json=out.json bad
! gka verify: bad: tensor 'q': data_offsets [0, 4] do not lie within the 3 bytes of data
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [4294967296,4294967296], "data_offsets": [0,4]}}' 4; gka verify --json=out.json bad
! gka verify: bad: tensor 'q': shape: the product of the extents overflows
= 2

Nothing to judge; nothing to judge it by.

$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}}' 16; gka verify --json=out.json bad
! gka verify: bad: nothing to judge; a tensor 'x', 'fro', 'o', 'h_final', 'solve.dq', 'layer.dq' or another output was expected
= 2
$ safetensors bad '{"x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}}' 16; gka verify --json=out.json bad
! gka verify: bad: tensor 'q' is missing; --inputs=FILE takes inputs from elsewhere, --against=GOLDEN judges by a golden
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "o": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: tensor 'o' cannot be judged: its input 'v' is missing
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "solve.dq": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: tensor 'solve.dq' cannot be judged: its input 'dx' is missing
= 2

Shapes and types that do not agree.

$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,2,1,1], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: tensor 'k': shape [1,2,1,1]; [B,T,Hkv,D] = [1,1,1,2] was expected
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,2,1,1], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: tensor 'x': shape [1,2,1,1]; [B,T,H,D] = [1,1,1,2] was expected
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "I32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: tensor 'x': dtype I32; a floating-point type was expected
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F4", "shape": [1,1,1,2], "data_offsets": [16,17]}}' 17; gka verify --json=out.json bad
! gka verify: bad: tensor 'x': dtype F4; a floating-point type was expected
= 2
$ safetensors bad '{"x": {"dtype": "F6_E2M3", "shape": [1,4,1,2], "data_offsets": [0,6]}}' 6; gka golden --T=4 --D=2 --outputs=forward -o golden; gka judge --json=out.json bad golden; rm golden
! gka judge: bad: tensor 'x': dtype F6_E2M3; a floating-point type was expected
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "h_chunk": {"dtype": "F32", "shape": [1,2,1,2,2], "data_offsets": [16,48]}}' 48; gka verify --json=out.json bad
! gka verify: bad: tensor 'h_chunk': shape [1,2,1,2,2]; [B,ceil(T/chunk_size),H,D,D] = [1,1,1,2,2] was expected
= 2

Parameters.

$ safetensors bad '{"__metadata__": {"ridge_ratio": "small"}, "q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: metadata 'ridge_ratio' is 'small'; a finite number was expected
= 2
$ safetensors bad '{"__metadata__": {"ridge_ratio": "-1"}, "q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: ridge_ratio -1: a finite number >= 0 was expected
= 2
$ safetensors bad '{"__metadata__": {"chunk_size": "0"}, "q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: metadata 'chunk_size' is 0; an integer from 1 to 9223372036854775807 was expected
= 2
$ safetensors bad '{"__metadata__": {"rel_err_vs_fp64": "{x: 1}"}, "q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: metadata 'rel_err_vs_fp64': string or '}' expected near 'x'; a JSON object {tensor: number} was expected
= 2
$ safetensors bad '{"__metadata__": {"rel_err_vs_fp64": "[1]"}, "q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: metadata 'rel_err_vs_fp64': not an object; a JSON object {tensor: number} was expected
= 2
$ safetensors bad '{"__metadata__": {"rel_err_vs_fp64": "{\"x\": \"small\"}"}, "q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}}' 24; gka verify --json=out.json bad
! gka verify: bad: metadata 'rel_err_vs_fp64': a value is not a number; a JSON object {tensor: number} was expected
= 2
$ safetensors bad '{"__metadata__": {"ridge_ratio": "0.5"}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}}' 8; gka verify --json=out.json --inputs=$DATA/h100/d64.safetensors bad
! gka verify: bad: metadata 'ridge_ratio' is 0.5; 0.02 was expected, as in $DATA/h100/d64.safetensors
= 2

Gates: a positive one, and NaN.

$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}, "g": {"dtype": "F32", "shape": [1,1,1], "data_offsets": [24,28]}}' 24; printf '\0\0\x80\x3f' >>bad; gka verify --json=out.json bad
! gka verify: bad: tensor 'g': 1 at [0,0,0]; a gate <= 0 or -inf expected
= 2
$ safetensors bad '{"q": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [0,8]}, "k": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [8,16]}, "x": {"dtype": "F32", "shape": [1,1,1,2], "data_offsets": [16,24]}, "g": {"dtype": "F32", "shape": [1,1,1], "data_offsets": [24,28]}}' 24; printf '\0\0\xc0\x7f' >>bad; gka verify --json=out.json bad
! gka verify: bad: tensor 'g': nan at [0,0,0]; a gate <= 0 or -inf expected
= 2

The second file of two is bad.

$ safetensors bad '{}' 0; gka verify --json=out.json $DATA/h100/d64.safetensors bad >table
! gka verify: bad: nothing to judge; a tensor 'x', 'fro', 'o', 'h_final', 'solve.dq', 'layer.dq' or another output was expected
= 2
$ ls
> bad
> empty
> short
> table
> text

What is odd but not bad: an empty state, a zero gate, no tokens, a name not known.

$ safetensors odd '{"q": {"dtype": "F32", "shape": [1,2,1,2], "data_offsets": [0,16]}, "k": {"dtype": "F32", "shape": [1,2,1,2], "data_offsets": [16,32]}, "x": {"dtype": "F32", "shape": [1,2,1,2], "data_offsets": [32,48]}, "y": {"dtype": "U8", "shape": [1], "data_offsets": [48,49]}}' 49; gka verify odd | grep -v certified:
> odd: B 1, T 2, H 1, D 2, V 0; ridge_ratio 0.02, chunk_size 64, scale 0.707107; oracle certified
>
> tensor  dtype  shape         rel_err  stated  max_row_err  at     max_ulp  NaN,Inf  ok
> x       F32    1,2,1,2  0.00e+00 abs       -            0  0,0,0        0        0  -
>
> note: metadata 'ridge_ratio' is missing: 0.02 taken
> note: metadata 'num_iter' is missing: 30 taken
> note: metadata 'chunk_size' is missing: 64 taken
> note: metadata 'scale' is missing: 0.7071067812 taken
> note: 2 token solves met an empty state (f = 0): x = 0 there
> note: tensor 'y' is not judged
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
$ safetensors odd '{"q": {"dtype": "F32", "shape": [1,0,1,2], "data_offsets": [0,0]}, "k": {"dtype": "F32", "shape": [1,0,1,2], "data_offsets": [0,0]}, "x": {"dtype": "F32", "shape": [1,0,1,2], "data_offsets": [0,0]}}' 0; gka verify odd | grep -v certified:
> odd: B 1, T 0, H 1, D 2, V 0; ridge_ratio 0.02, chunk_size 64, scale 0.707107; oracle certified
>
> tensor  dtype  shape         rel_err  stated  max_row_err  at  max_ulp  NaN,Inf  ok
> x       F32    1,0,1,2  0.00e+00 abs       -            0  -         0        0  -
>
> note: metadata 'ridge_ratio' is missing: 0.02 taken
> note: metadata 'num_iter' is missing: 30 taken
> note: metadata 'chunk_size' is missing: 64 taken
> note: metadata 'scale' is missing: 0.7071067812 taken
> note: measured, no verdict: --tolerance=NAME=VALUE or --against=GOLDEN asks for one
