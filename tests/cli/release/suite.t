A suite, candidates in a folder, and one of them missing.

$ gka golden --suite=quick -o quick
> gated: being made
> ungated: being made
> ragged: being made
> strong: being made
> initial: being made
> final: being made
> grouped: being made
> packed: being made
> iterations: being made
> values: being made
> repeat: being made
> fp16: being made
> fp32: being made
> quick: 13 goldens made, 0 kept
$ gka golden --suite=quick -o quick
> quick: 0 goldens made, 13 kept
$ gka golden --audit=quick --json=out.json | tail -1; grep -c '"file"' out.json; grep -A4 '"name": "leak"' out.json | tail -3
> 13 cases: 540 of 540 right kernels pass (387 of 387 took no part in making the tolerances), 33 of 33 mistakes are caught
> 13
>       "applies": 2,
>       "caught": 2,
>       "best": "packed",
$ gka golden --suite=kernel -o quick
! gka golden: quick/index.json: the index of suite 'quick'; a folder of suite 'kernel', or a new one, was expected
= 2
$ mkdir right wrong; for f in quick/*.safetensors; do gka golden --audit=$f --write=h100-c64 -o right/${f#quick/} 2>/dev/null || gka golden --audit=$f --write=exact -o right/${f#quick/}; done
! gka golden: exact does not apply to quick/fp32.safetensors: 30 steps leave 3.2e-04 of x, more than a rounding
$ cp right/* wrong; rm wrong/strong.safetensors; gka golden --audit=quick/ragged.safetensors --write=ragged_mask -o wrong/ragged.safetensors
$ gka verify --against=quick right
> right against quick
>
> case        judged  failed  missing  worst            error  tolerance  ok
> gated           13       0        1  layer.dalpha  2.79e-02   6.25e-02  yes
> ungated          9       0        3  x             6.41e-03   1.56e-02  yes
> ragged          14       0        0  h_chunk       1.70e-03   7.81e-03  yes
> strong          13       0        1  h_final       9.17e-04   1.95e-03  yes
> initial         14       0        1  u_final       4.86e-04   9.77e-04  yes
> final           14       0        1  layer.dq      3.85e-03   7.81e-03  yes
> grouped         13       0        1  layer.dv      1.31e-02   3.12e-02  yes
> packed          13       0        1  layer.dk      2.37e-02   6.25e-02  yes
> iterations      13       0        1  layer.dalpha  1.27e-02   3.12e-02  yes
> values          12       0        1  u_final       1.64e-03   3.91e-03  yes
> repeat          13       0        1  layer.dv      3.51e-02   1.25e-01  yes
> fp16            13       0        1  solve.dq      4.58e-04   1.95e-03  yes
> fp32             -       -        -  -                    -          -  missing
>
> 13 cases, 1 of them missing; 154 tensors judged, 0 failed, 13 missing, 0 not judged
> no verdict on (in how many cases): h_chunk 11, solve.dk 1, layer.dk 1; what is missing fails with --require=NAME,..|all
$ gka verify --against=quick --junit=junit.xml --json=out.json wrong
> wrong against quick
>
> case        judged  failed  missing  worst            error  tolerance  ok
> gated           13       0        1  layer.dalpha  2.79e-02   6.25e-02  yes
> ungated          9       0        3  x             6.41e-03   1.56e-02  yes
> ragged          14       7        0  u_final       1.34e+00   3.91e-03  NO
> strong           -       -        -  -                    -          -  missing
> initial         14       0        1  u_final       4.86e-04   9.77e-04  yes
> final           14       0        1  layer.dq      3.85e-03   7.81e-03  yes
> grouped         13       0        1  layer.dv      1.31e-02   3.12e-02  yes
> packed          13       0        1  layer.dk      2.37e-02   6.25e-02  yes
> iterations      13       0        1  layer.dalpha  1.27e-02   3.12e-02  yes
> values          12       0        1  u_final       1.64e-03   3.91e-03  yes
> repeat          13       0        1  layer.dv      3.51e-02   1.25e-01  yes
> fp16            13       0        1  solve.dq      4.58e-04   1.95e-03  yes
> fp32             -       -        -  -                    -          -  missing
>
> ragged:
> h_final: error 1.15 > 0.00391; 8156 of 8192 elements off by more than tolerance * rms
>   row h_final[0,0]: error 1.02 > 0.00391
>   first h_final[0,0,0,0]: 0.0378643498 (0x3D1B17A6), 0.0291374439 (0x3CEEB1A6) was expected
>   worst h_final[0,1,19,40]: -0.00767743634 (0xBBFB9301), 0.0871028859 (0x3DB262FF) was expected
>   distances in steps of F32:  8192..16383: 6  16384..32767: 6  32768 and more: 8180
> u_final: error 1.34 > 0.00391; 8171 of 8192 elements off by more than tolerance * rms
>   row u_final[0,0]: error 1.19 > 0.00391
>   first u_final[0,0,0,0]: -0.0485849567 (0xBD470105), -0.0453689582 (0xBD39D4CD) was expected
>   worst u_final[0,1,14,42]: 0.761190534 (0x3F42DD62), 0.0173286366 (0x3C8DF4C9) was expected
>   distances in steps of F32:  8192..16383: 4  16384..32767: 3  32768 and more: 8185
> solve.dk: error 0.364 > 0.0156; 7480 of 9600 elements off by more than tolerance * rms
>   row solve.dk[0,73,0]: error 1.57 > 0.0625
>   first solve.dk[0,0,0,0]: -374 (0xC3BB), -334.418257 (0xC3A7) was expected
>   worst solve.dk[0,74,0,8]: -468 (0xC3EA), -31.4943052 (0xC1FC) was expected
>   distances in steps of BF16:  0: 277  1: 446  2..3: 678  4..7: 854  8..15: 998  16..31: 1143
>     32..63: 1197  64..127: 1158  128..255: 923  256..511: 553  512..1023: 144  1024..2047: 14
>     16384..32767: 106  32768 and more: 1109
> solve.dg: error 0.563 > 0.0312; 106 of 150 elements off by more than tolerance * rms
>   row solve.dg[0,74,0]: error 2.42 > 0.0625
>   first solve.dg[0,5,1]: 0.00167814782 (0x3ADBF54C), -2.91826894 (0xC03AC4EB) was expected
>   worst solve.dg[0,73,0]: -255.632599 (0xC37FA1F2), -75.9395991 (0xC297E113) was expected
>   distances in steps of F32:  8192..16383: 3  16384..32767: 3  32768 and more: 144
> layer.dk: error 0.422 > 0.0625; 5277 of 9600 elements off by more than tolerance * rms
>   row layer.dk[0,74,1]: error 1.42 > 0.25
>   first layer.dk[0,0,1,1]: -2.078125 (0xC005), -2.0147153 (0xC001) was expected
>   worst layer.dk[0,70,1,30]: 3.3125 (0x4054), 0.459293119 (0x3EEB) was expected
>   distances in steps of BF16:  0: 1049  1: 576  2..3: 668  4..7: 862  8..15: 950  16..31: 1085
>     32..63: 1135  64..127: 1063  128..255: 779  256..511: 427  512..1023: 113  1024..2047: 7
>     16384..32767: 886
> layer.dv: error 0.402 > 0.0625; 5313 of 9600 elements off by more than tolerance * rms
>   row layer.dv[0,73,1]: error 1.16 > 0.25
>   first layer.dv[0,0,1,0]: 0.486328125 (0x3EF9), 0.479475209 (0x3EF5) was expected
>   worst layer.dv[0,74,1,15]: 0.30859375 (0x3E9E), -0.00298929469 (0xBB44) was expected
>   distances in steps of BF16:  0: 1121  1: 560  2..3: 648  4..7: 852  8..15: 903  16..31: 1167
>     32..63: 1139  64..127: 1012  128..255: 754  256..511: 411  512..1023: 147  1024..2047: 13
>     16384..32767: 873
> layer.dg: error 0.6 > 0.125; 75 of 150 elements off by more than tolerance * rms
>   row layer.dg[0,74,1]: error 3.41 > 0.25
>   first layer.dg[0,16,1]: 0.819615602 (0x3F51D254), 0.887933044 (0x3F634F94) was expected
>   worst layer.dg[0,74,1]: 1.87265694 (0x3FEFB339), 0.0518081686 (0x3D5434CD) was expected
>   distances in steps of F32:  2048..4095: 1  4096..8191: 1  16384..32767: 2  32768 and more: 146
>
> 13 cases, 2 of them missing; 141 tensors judged, 7 failed, 12 missing, 0 not judged
> no verdict on (in how many cases): h_chunk 10, solve.dk 1, layer.dk 1; what is missing fails with --require=NAME,..|all
= 1
$ grep -A1 'strong' junit.xml; grep -c '<testsuite ' junit.xml; grep -A3 strong out.json; grep -c '"file"' out.json
>   <testsuite name="wrong/strong.safetensors" tests="1" failures="0" skipped="1">
>     <testcase classname="gka" name="file"><skipped message="missing"/></testcase>
> 13
>     "file": "wrong/strong.safetensors",
>     "against": "quick/strong.safetensors",
>     "absent": true,
>     "required": false,
>     "failed": 0
> 13
$ gka judge --require=x --junit=junit.xml right quick | tail -2; grep -c '<failure message="required, and missing"/>' junit.xml; gka judge --require=x --json=- right quick | grep -A3 absent; gka show quick
> 13 cases, 1 of them missing; 154 tensors judged, 0 failed, 13 missing, 0 not judged
> no verdict on (in how many cases): h_chunk 11, solve.dk 1, layer.dk 1; what is missing fails with --require=NAME,..|all
> 1
>     "absent": true,
>     "required": true,
>     "failed": 1
>   }
! gka show: quick: a folder of 13 goldens; one of them was expected, such as quick/gated.safetensors
= 2
$ gka verify --against=quick --json=- right | grep -c '"file"'
> 13
$ mkdir empty; gka verify --against=quick empty
! gka verify: empty: none of the 13 files of quick; gated.safetensors or another was expected
= 2
$ gka verify --against=quick right/gated.safetensors
! gka verify: right/gated.safetensors: a folder was expected, for quick is one
= 2
$ gka verify --against=right right
! gka verify: right/index.json: cannot be opened: No such file or directory; a folder made by gka golden --suite was expected
= 2
$ cp quick/gated.safetensors quick/packed.safetensors; gka verify --against=quick right 2>&1 | sed 's/[0-9a-f]*\.\.\./HASH/g'
> gka verify: quick/packed.safetensors: hashes to HASH; HASH was expected
