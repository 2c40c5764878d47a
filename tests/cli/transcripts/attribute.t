What each rounding costs, head by head, and the medians.

$ gka attribute --per-head --problem=repeat --gate=none --T=12 --D=16 --H=2 --csv=heads.csv | grep -v e-0[6-9]
> made up: T 12, D 16, three-term form, errors against 30 exact steps
>
> row  head         f         x         o  alone makes most
>   0     0  2.22e-04  3.68e-03  2.37e-01  x operand_x 88 %, o operand_x 77 %
>   0     1  1.10e-04  5.41e-03  5.64e-01  x operand_x 78 %, o operand_x 74 %
>
> of 2 heads         f         x         o
> median      1.66e-04  4.55e-03  4.00e-01
> least       1.10e-04  3.68e-03  2.37e-01
> largest     2.22e-04  5.41e-03  5.64e-01
>
> medians over the heads:
>
> rounding             f only    x only    o only  f without  x without  o without
> operand_x                 0  3.72e-03  2.99e-01   1.66e-04   1.75e-03   5.11e-02
> store_x                   0  1.63e-03  2.12e-02   1.66e-04   4.19e-03   3.77e-01
> operand_score             0  6.65e-05  5.74e-03   1.66e-04   5.61e-03   3.73e-01
> exp                       0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> state_operand             0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> state_snapshot            0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> mask                      0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> norm_reduce               0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> mix                       0         0  4.17e-02   1.66e-04   4.55e-03   3.80e-01
> output_state              0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> output_score              0         0  1.61e-03   1.66e-04   4.55e-03   4.00e-01
> store_o                   0         0  1.57e-03   1.66e-04   4.55e-03   4.00e-01
> decode_outer              0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> grad_state                0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> grad_operand              0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> grad_dot                  0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> grad_weight               0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> store_grad                0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> h0_sign                   0         0  3.29e-16   1.66e-04   4.55e-03   4.00e-01
> (all as released)         -         -         -   1.66e-04   4.55e-03   4.00e-01
>
> norm_square alone makes 100 % of f; operand_x alone makes 82 % of x, 75 % of o
$ head -1 heads.csv | tr , '\n' | head -7
> file
> row
> head
> fro
> x
> o
> fro:only:arithmetic
$ gka attribute --per-head --problem=repeat --T=20 --chunk=16 --D=16 --H=2 --gradients | sed -n 3,11p
> row  head         f         x         o        dk    dalpha
>   0     0  7.39e-04  7.15e-03  3.26e-01  8.68e-01  1.17e+00
>   0     1  8.04e-04  5.38e-03  4.28e-01  4.07e-01  1.09e+00
>
> row  head  alone makes most
>   0     0  o operand_x 105 %, dk operand_x 32 %, dalpha operand_x 78 %
>   0     1  o operand_x 101 %, dk operand_x 176 %, dalpha operand_x 256 %
>
> of 2 heads         f         x         o        dk    dalpha
$ gka attribute --csv=b.csv --T=4 --chunk=16 --D=16 --H=2 --json=- | grep -c '"x":'
> 2
$ gka problem --T=8 --chunk=16 --D=16 -o a.safetensors >/dev/null; gka problem --T=8 --chunk=16 --D=16 --seed=2 -o b.safetensors >/dev/null
$ gka attribute a.safetensors b.safetensors | head -7
> a.safetensors: T 8, D 16, three-term form, errors against 30 exact steps
> b.safetensors: T 8, D 16, three-term form, errors against 30 exact steps
>
> of 2 heads         f         x         o
> median      5.82e-04  3.71e-03  1.31e-01
> least       4.97e-04  2.99e-03  1.30e-01
> largest     6.67e-04  4.43e-03  1.32e-01
$ gka attribute a.safetensors c.safetensors
> a.safetensors: T 8, D 16, three-term form, errors against 30 exact steps
! gka attribute: c.safetensors: No such file or directory (did you mean 'a.safetensors'?)
= 2
