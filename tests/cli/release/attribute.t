What each rounding costs. The bf16 sum of the norm makes the error of f here (.006; 6e-5 without it).

$ gka attribute $DATA/h100/iid_ungated.safetensors
> $DATA/h100/iid_ungated.safetensors: three-term form, errors against 30 exact steps
>
> rounding             f only    x only    o only  f without  x without  o without
> store_x                   0  1.66e-03  5.29e-03   6.06e-03   2.03e-03   1.25e-02
> norm_reduce        6.03e-03  1.51e-03  1.74e-03   6.41e-05   2.14e-03   1.27e-02
> state_snapshot     2.07e-05  1.17e-03  2.35e-03   6.06e-03   2.36e-03   1.27e-02
> operand_x                 0  6.93e-04  8.58e-03   6.06e-03   2.57e-03   1.16e-02
> norm_square        4.95e-05  1.66e-04  1.38e-05   6.04e-03   2.64e-03   1.29e-02
> operand_score             0  8.35e-05  5.99e-04   6.06e-03   2.65e-03   1.32e-02
> tensor_core        5.65e-08  1.65e-07  1.58e-08   6.06e-03   2.66e-03   1.30e-02
> arithmetic         3.41e-08  1.34e-07  2.36e-07   6.06e-03   2.66e-03   1.29e-02
> sqrt               3.11e-08  3.05e-08  8.63e-09   6.06e-03   2.66e-03   1.29e-02
> parameters                0  2.20e-08  1.34e-08   6.06e-03   2.66e-03   1.29e-02
> divide                    0  1.19e-08  1.40e-09   6.06e-03   2.66e-03   1.27e-02
> exp                       0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> state_operand             0         0  2.87e-16   6.06e-03   2.66e-03   1.30e-02
> mask                      0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> mix                       0         0  9.48e-03   6.06e-03   2.66e-03   9.48e-03
> output_state              0         0  3.44e-03   6.06e-03   2.66e-03   1.24e-02
> output_score              0         0  1.00e-03   6.06e-03   2.66e-03   1.29e-02
> store_o                   0         0  1.68e-03   6.06e-03   2.66e-03   1.28e-02
> decode_outer              0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> grad_state                0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> grad_operand              0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> grad_dot                  0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> grad_weight               0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> store_grad                0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> h0_sign                   0         0  2.87e-16   6.06e-03   2.66e-03   1.29e-02
> (all as released)         -         -         -   6.06e-03   2.66e-03   1.29e-02
>
> norm_reduce alone makes 100 % of f; store_x alone makes 62 % of x; mix alone makes 73 % of o
$ gka attribute --form=two-term $DATA/h100/d64.safetensors | tail -1
> mask alone makes 88 % of f; store_x alone makes 72 % of x; mix alone makes 83 % of o
$ gka attribute --json=- $DATA/h100/d64.safetensors | head -4
> {
>   "schema": 1,
>   "file": "$DATA/h100/d64.safetensors",
>   "form": "three-term",
$ gka attribute --problem=repeat --T=64 --D=32 --form=two-term | tail -1
> mask alone makes 99 % of f; store_x alone makes 95 % of x; mix alone makes 98 % of o
Repaired kernels: two-term, with x and p kept in two bf16 parts.
$ gka attribute --gradients --problem=repeat --T=64 --D=32 --set=form=two-term --set=store=2 | tail -1
> mask alone makes 99 % of f, 100 % of x; mix alone makes 101 % of o; grad_dot alone makes 91 % of dk; store_grad alone makes 114 % of dalpha
$ gka attribute --set=margin=two $DATA/h100/iid_gated.safetensors
! gka attribute: 'margin=two': expected a number from 0 to 1, or 2^-6
= 2
