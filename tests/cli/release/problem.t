Keys of a model, and what kernels would lose on them.

A real file, one row for each head; data/real/README.md has the same figures.

$ gka verify --emulate=h100,h100/two-term --per-head $DATA/real/smollm2_rope_released.safetensors
> $DATA/real/smollm2_rope_released.safetensors: B 1, T 256, H 4, D 64; ridge_ratio 0.02; 1 = h100, 2 = h100/two-term
>
> row  head       x 1       x 2       o 1       o 2      dk 1      dk 2  dalpha 1  dalpha 2
>   0     0  4.07e-03  2.21e-03  4.02e-02  8.21e-03  4.96e-01  2.41e-02  3.71e-02  8.11e-03
>   0     1  3.86e-03  2.67e-03  1.65e-01  2.64e-02  7.60e-02  1.26e-02  2.28e-01  3.58e-02
>   0     2  3.79e-03  1.96e-03  3.32e-01  4.93e-02  1.94e-01  1.57e-02  3.16e-01  5.34e-02
>   0     3  3.21e-03  2.49e-03  9.07e-02  1.51e-02  1.16e-01  1.11e-02  1.36e-01  2.00e-02
>
> of 4 heads       x 1       x 2       o 1       o 2      dk 1      dk 2  dalpha 1  dalpha 2
> median      3.82e-03  2.35e-03  1.28e-01  2.07e-02  1.55e-01  1.42e-02  1.82e-01  2.79e-02
> least       3.21e-03  1.96e-03  4.02e-02  8.21e-03  7.60e-02  1.11e-02  3.71e-02  8.11e-03
> largest     4.07e-03  2.67e-03  3.32e-01  4.93e-02  4.96e-01  2.41e-02  3.16e-01  5.34e-02
$ gka verify --emulate=h100 --csv=heads.csv $DATA/real/smollm2_rope_released.safetensors
> $DATA/real/smollm2_rope_released.safetensors: B 1, T 256, H 4, D 64; ridge_ratio 0.02; emulated: h100
>
> of 4 heads         x         o  solve.dk  layer.dalpha
> median      3.82e-03  1.28e-01  1.55e-01      1.82e-01
> least       3.21e-03  4.02e-02  7.60e-02      3.71e-02
> largest     4.07e-03  3.32e-01  4.96e-01      3.16e-01
$ sed 's|.*/real/||' heads.csv
> file,row,head,x:h100,o:h100,solve.dk:h100,layer.dalpha:h100
> smollm2_rope_released.safetensors,0,0,4.065747e-03,4.023428e-02,4.959085e-01,3.710601e-02
> smollm2_rope_released.safetensors,0,1,3.858887e-03,1.651402e-01,7.595109e-02,2.275001e-01
> smollm2_rope_released.safetensors,0,2,3.785429e-03,3.317192e-01,1.943121e-01,3.160312e-01
> smollm2_rope_released.safetensors,0,3,3.213048e-03,9.069033e-02,1.161715e-01,1.358899e-01
$ gka spectrum --per-head $DATA/real/smollm2_rope_released.safetensors
> $DATA/real/smollm2_rope_released.safetensors: T 256, D 64, a = 0.02; after the last token
>
> row  head     kappa     share      rank   freedom  smallest  mean key
>   0     0  5.07e+01  9.94e-01  2.17e+00  1.29e+01  4.00e-05  8.10e-01
>   0     1  5.06e+01  9.92e-01  2.07e+00  1.10e+01  2.62e-05  7.72e-01
>   0     2  5.10e+01  9.99e-01  1.10e+00  2.27e+00         0  7.37e-01
>   0     3  5.09e+01  9.98e-01  1.42e+00  6.84e+00  8.72e-05  8.82e-01
>
> of 4 heads     kappa     share      rank   freedom  smallest  mean key
> median      5.08e+01  9.96e-01  1.75e+00  8.90e+00  3.31e-05  7.91e-01
> least       5.06e+01  9.92e-01  1.10e+00  2.27e+00         0  7.37e-01
> largest     5.10e+01  9.99e-01  2.17e+00  1.29e+01  8.72e-05  8.82e-01
