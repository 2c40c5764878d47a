What each rounding costs, head by head, and the medians.

$ gka attribute --per-head --problem=repeat --gate=none --T=32 --D=16 --H=2 --csv=heads.csv | grep -v e-0[6-9]
> made up: T 32, D 16, three-term form, errors against 30 exact steps
>
> row  head         f         x         o  alone makes most
>   0     0  5.94e-05  3.70e-03  1.27e-01  x operand_x 87 %, o operand_x 86 %
>   0     1  3.95e-05  5.43e-03  3.76e-01  x operand_x 78 %, o operand_x 75 %
>
> of 2 heads         f         x         o
> median      4.95e-05  4.57e-03  2.52e-01
> least       3.95e-05  3.70e-03  1.27e-01
> largest     5.94e-05  5.43e-03  3.76e-01
>
> medians over the heads:
>
> rounding             f only    x only    o only  f without  x without  o without
> operand_x                 0  3.73e-03  1.96e-01   4.95e-05   1.75e-03   3.21e-02
> store_x                   0  1.63e-03  1.51e-02   4.95e-05   4.21e-03   2.39e-01
> operand_score             0  6.55e-05  3.22e-03   4.95e-05   5.58e-03   2.29e-01
> exp                       0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> state_operand             0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> state_snapshot            0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> mask                      0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> norm_reduce               0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> mix                       0         0  2.69e-02   4.95e-05   4.57e-03   2.44e-01
> output_state              0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> output_score              0         0  1.51e-03   4.95e-05   4.57e-03   2.52e-01
> store_o                   0         0  1.69e-03   4.95e-05   4.57e-03   2.52e-01
> decode_outer              0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> grad_state                0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> grad_operand              0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> grad_dot                  0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> grad_weight               0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> store_grad                0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> h0_sign                   0         0  3.18e-16   4.95e-05   4.57e-03   2.52e-01
> (all as released)         -         -         -   4.95e-05   4.57e-03   2.52e-01
>
> norm_square alone makes 100 % of f; operand_x alone makes 82 % of x, 78 % of o
$ head -1 heads.csv | tr , '\n' | head -7
> file
> row
> head
> fro
> x
> o
> fro:only:arithmetic
$ gka attribute --per-head --problem=repeat --T=32 --D=16 --H=2 --gradients | sed -n 3,11p
> row  head         f         x         o        dk    dalpha
>   0     0  5.55e-04  6.58e-03  2.43e-01  8.68e-01  8.32e-01
>   0     1  4.88e-04  4.56e-03  3.67e-01  4.00e-01  7.55e-01
>
> row  head  alone makes most
>   0     0  o operand_x 130 %, dk operand_x 33 %, dalpha operand_x 93 %
>   0     1  o operand_x 98 %, dk operand_x 177 %, dalpha operand_x 245 %
>
> of 2 heads         f         x         o        dk    dalpha
$ gka attribute --csv=b.csv --T=16 --D=16 --H=2 --json=- | grep -c '"x":'
> 2
$ gka problem --T=16 --D=16 -o a.safetensors >/dev/null; gka problem --T=16 --D=16 --seed=2 -o b.safetensors >/dev/null
$ gka attribute a.safetensors b.safetensors | head -7
> a.safetensors: T 16, D 16, three-term form, errors against 30 exact steps
> b.safetensors: T 16, D 16, three-term form, errors against 30 exact steps
>
> of 2 heads         f         x         o
> median      6.20e-04  3.70e-03  1.14e-01
> least       5.99e-04  2.99e-03  9.72e-02
> largest     6.42e-04  4.41e-03  1.32e-01
$ gka attribute a.safetensors c.safetensors
> a.safetensors: T 16, D 16, three-term form, errors against 30 exact steps
! gka attribute: c.safetensors: No such file or directory (did you mean 'a.safetensors'?)
= 2
