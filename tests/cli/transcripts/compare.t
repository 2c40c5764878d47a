The layers side by side on a small problem, on one with gates that another layer does not read, and what is refused.

$ gka compare --T=40 --D=32 --V=16 --H=2 --layers=all
> made up: B 1, T 40, H 2, D 32, V 16; num_iter 30, chunk_size 64
>
> layer     arith        rel_err  max_row_err      norm  multiply-adds  state  bytes
> linear    fp64               0            0  2.41e+01           1024    512   8192
> linear    bf16-acc32  7.48e-03     4.87e-02  2.42e+01           1024    512   2048
> linear    h100        2.15e-03     4.23e-03  2.41e+01           1024    512   4096
> retnet    fp64        3.05e-16     1.07e-15  1.44e+01           1536    512   8192
> retnet    bf16-acc32  6.24e-03     2.51e-02  1.44e+01           1536    512   2048
> retnet    h100        1.96e-03     4.39e-03  1.36e+01           1536    512   4096
> mamba2    fp64        3.12e-16     8.72e-16  1.00e+01           1536    512   8192
> mamba2    bf16-acc32  5.39e-03     2.45e-02  1.00e+01           1536    512   2048
> mamba2    h100        2.03e-03     3.89e-03  1.00e+01           1536    512   4096
> gla       fp64        3.12e-16     8.72e-16  1.00e+01           1536    512   8192
> gla       bf16-acc32  5.39e-03     2.45e-02  1.00e+01           1536    512   2048
> gla       h100        2.00e-03     4.11e-03  9.99e+00           1536    512   4096
> deltanet  fp64        3.17e-16     5.87e-16  6.98e+00           1536    512   8192
> deltanet  bf16-acc32  7.06e-03     3.41e-02  6.99e+00           1536    512   2048
> deltanet  h100        3.76e-03     6.67e-03  6.62e+00           1536    512   4096
> gdn       fp64        3.02e-16     1.02e-15  5.13e+00           2048    512   8192
> gdn       bf16-acc32  6.52e-03     4.94e-02  5.13e+00           2048    512   2048
> gdn       h100        3.18e-03     5.01e-03  4.38e+00           2048    512   4096
> kda       fp64        3.02e-16     1.02e-15  5.13e+00           2048    512   8192
> kda       bf16-acc32  6.52e-03     4.94e-02  5.13e+00           2048    512   2048
> kda       h100        3.01e-03     5.81e-03  4.38e+00           2048    512   4096
> mesa      fp64        6.55e-16     1.87e-15  4.55e+00          34304   1536  24576
> mesa      bf16-acc32  1.30e-02     3.86e-02  4.55e+00          34304   1536   6144
> mesa      h100        2.36e-03     3.32e-02  4.55e+00          34304   1536  12288
> kla       fp64        4.80e-16     1.72e-15  1.44e+01           1536    544   8704
> kla       bf16-acc32  8.97e-03     6.02e-02  1.44e+01           1536    544   2176
> kla       h100               -            -         -           1536    544   4352
> softmax   fp64        1.86e-16     4.87e-16  1.64e+01            984   1920   8256
> softmax   bf16-acc32  4.60e-03     9.37e-03  1.64e+01            984   1920   2064
> softmax   h100               -            -         -            984   1920   4128
> gka       fp64        1.85e-04     3.63e-04  4.55e+00          35328   1536  24576
> gka       bf16-acc32  5.02e-02     3.66e-01  4.55e+00          35328   1536   6144
> gka       h100        1.20e-01     5.16e-01  4.55e+00          35328   1536  12288
>
> note: -: softmax has no chunk form here
> note: no tensor gk: gates by channel are g in every channel
$ gka compare --T=6 --D=4 --layers=mesa/ridge=.5/num_iter=3,softmax/sharpness=4,gka --arith=fp32/fma,exact64 --csv=rows.csv --dtype=F32
> made up: B 1, T 6, H 1, D 4, V 4; num_iter 30, chunk_size 64
>
> layer                     arith      rel_err  max_row_err      norm  multiply-adds  state  bytes
> mesa/ridge=.5/num_iter=3  fp32/fma  3.93e-03     5.85e-03  8.82e-01            128     32    256
> mesa/ridge=.5/num_iter=3  exact64   3.93e-03     5.85e-03  8.82e-01            128     32    512
> softmax/sharpness=4       fp32/fma  4.32e-08     6.82e-08  3.38e+00             28     48    144
> softmax/sharpness=4       exact64          -            -         -             28     48    288
> gka                       fp32/fma  2.69e-04     4.27e-04  8.82e-01            576     32    256
> gka                       exact64   2.69e-04     4.27e-04  8.82e-01            576     32    512
>
> note: -: softmax has no chunk form here
$ cat rows.csv
> layer,arith,rel_err,max_row_err,norm,multiply_adds,state,bytes
> mesa/ridge=.5/num_iter=3,fp32/fma,0.0039270789,0.00584556493,0.882438994,128,32,256
> mesa/ridge=.5/num_iter=3,exact64,0.00392703853,0.00584545799,0.882438999,128,32,512
> softmax/sharpness=4,fp32/fma,4.32439337e-08,6.82041995e-08,3.37745131,28,48,144
> softmax/sharpness=4,exact64,,,,28,48,288
> gka,fp32/fma,0.000268981339,0.000426768654,0.882439017,576,32,256
> gka,exact64,0.000268918535,0.000426775853,0.882438999,576,32,512
$ gka compare --layers=gkda
! gka compare: --layers: no layer 'gkda': linear, retnet, mamba2, gla, deltanet, gdn, kda, mesa, kla, softmax or gka was expected (did you mean 'kda'?)
= 2
$ gka compare --layers=mesa/ridge=0
! gka compare: --layers: mesa/ridge=0: ridge=X above 0, guard=X of at least 0 or num_iter=N of at least 1 was expected
= 2
$ gka compare --arith=b200
! gka compare: --arith: 'b200': a device whose products or functions were not measured; an arithmetic as fp64, bf16-acc32 or fp32/fma, or h100 or exact64 was expected
= 2
$ gka compare --layers=gdn,mesa/num_iter=3 --iters=3; gka compare --layers=mesa --ridge=.1; gka compare --layers=kda,mesa --no-alpha
! gka compare: --iters has no meaning where no layer reads it; mesa without num_iter=N and gka do
! gka compare: --ridge has no meaning without the layer gka; mesa/ridge=X is that of mesa
! gka compare: --no-alpha has no meaning without the layer gka
= 2
$ gka compare --layers=linear,deltanet --gate=slow; gka compare --arith=fp64 --chunk=16
! gka compare: --gate has no meaning where no layer reads the gates
! gka compare: --chunk has no meaning where no arithmetic works by chunks (a device, exact64)
= 2
$ gka compare --h0 --T=4 --D=4
! gka compare: made up: linear: layers are compared from an empty state, without h0 and u0
= 2
$ gka compare --V=0 --T=4 --D=4
! gka compare: made up: linear: the tensor v is missing
= 2
$ gka compare $DATA/h100/h0.safetensors
! gka compare: $DATA/h100/h0.safetensors: linear: layers are compared from an empty state, without h0 and u0
= 2
$ gka compare $DATA/h100/d64.safetensors --D=4
! gka compare: --D is for a problem that is made up, not for the file $DATA/h100/d64.safetensors
= 2
$ gka compare --json=/nowhere/x --T=4 --D=4
! gka compare: /nowhere/x: cannot be written: No such file or directory
= 2

No report takes the place of an input, or of another.

$ gka problem --T=6 --D=4 --dtype=F32 -o p; gka compare --csv=p p; gka compare --csv=x --json=x p
> p: B 1, T 6, H 1, G 1, D 4, V 4, F32
! gka compare: --csv=p: that is an input file
! gka compare: --csv and --json: two different outputs were expected
= 2
$ gka compare --T=4 --D=4 --layers=gka,kda --json=- | grep -c '"schema": 1'
> 1
