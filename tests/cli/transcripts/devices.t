Matrix units as data.

$ gka devices | head -4 | cut -c 1-100
> device         input  group  sum              bits  floor  result         besides
> v100           fp16       4  cut                23      -  fp32           -
> v100-fp16      fp16       4  cut                23    -19  fp16           -
> t4             fp16       8  cut                24   -132  fp32           -
$ gka devices --help
> gka devices - matrix units of chips as data; which of them computed a probe file
>
> Usage: gka devices [OPTION...]
>   -h, --help                               print this text
>       --fit=FILE                           which device, or which parameters,
>                                            gave the results in FILE
>       --input=bf16|fp16|tf32|e4m3|e5m2     what the integers of FILE encode
>       --limit=SECONDS                      how long parameters are searched
>                                            for a set (60)
>       --json=OUT                           with --fit: the rows as JSON; - is
>                                            standard output
>
> A unit adds `group` products a step. E is the largest exponent among them and the accumulator,
> at least `floor`; `cut`: every term is cut to `bits` fractional bits below E, and the sum to the
> result. `exact`, `pairs`, `floored`, `chains`: gka/arith.h says what these are. `apart`: so many
> products are summed from zero and added to the accumulator in one rounding.
>
> --fit reads sets NAME.a [tiles,M,K], NAME.b [tiles,N,K], NAME.c and NAME.d [tiles,M,N] (without
> tiles: one), d = c + a b^T as hardware computed it (NAME.o in place of NAME.d: b is [tiles,K,N]).
> A search of parameters ends after --limit seconds for each set; then the nearest so far is named.
> Types BF16, F16, F8_E4M3, F8_E5M2, and F32 for tf32; c and d F32 or F16. Integer types hold
> encodings: --input says of what; of U8 it is e4m3 otherwise. Exit code 1: of some set neither a
> preset nor a parameter that was searched gives all bits.
$ gka devices --fit=$DATA/probes/units.safetensors | head -6
> set                             input    K  results
> wgmma.e4m3.any                  e4m3    32      256
> wgmma.e4m3.range                e4m3    32      256
> wgmma.e4m3.near                 e4m3    32      256
> wgmma.e4m3.subnormal            e4m3    32      256
> wgmma.e4m3.floor                e4m3    32      256
A rule that no chip has is found; with one result damaged, the nearest is named.
$ gka devices --fit=$DATA/probes/fit.safetensors
> set      input   K  results  presets      differ  parameters                               differ
> found    bf16   16       64  avx512-bf16      34  group 4, cut, 22 bits, floor -133, fp32       0
> nearest  bf16   16       64  a100 l40s        37  group 4, cut, 22 bits, floor -133, fp32       1
= 1
Encodings of what is not said; then what they are of.
$ gka devices --fit=$DATA/probes/products.safetensors
! gka devices: $DATA/probes/products.safetensors: bf16.k16.any.a holds U16: --input=NAME says what these encode
= 2
$ gka devices --input=e4m3
! gka devices: --input is of --fit alone
= 2
$ gka devices --fit=$DATA/probes/sums.safetensors
! gka devices: $DATA/probes/sums.safetensors: scan.128.a: expected a tensor of two or three axes beside scan.128.o
= 2
$ gka devices --fit=none.safetensors
! gka devices: none.safetensors: No such file or directory
= 2
$ gka devices x
! gka devices: 'x' is one operand too many; `gka devices --help` says more
= 2
As JSON.
$ gka devices --fit=$DATA/probes/fit.safetensors --limit=1000 --json=- | grep -c '"search_ended": true'
> 2
$ gka devices --json=x
! gka devices: --json is of --fit alone
= 2
