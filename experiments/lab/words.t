Options of an experiment: each once, and none that has no effect. Nothing is computed here, and no folder is made.

$ exp_03_kalman --size claim --size quick; exp_03_kalman --keys mean --seed 2 --keys mean; exp_11_form --gate none --gate none
! exp_03_kalman: --size: given twice
! exp_03_kalman: --keys: given twice
! exp_11_form: --gate: given twice
= 2
$ exp_03_kalman --file /nosuch; exp_07_h100 --seed 2; exp_07_h100 --keys mean; exp_14_real_keys --keys mean; exp_10_cost --gate none
! exp_03_kalman: --file has no meaning for this experiment
! exp_07_h100: --seed has no meaning for this experiment
! exp_07_h100: --keys has no meaning for this experiment
! exp_14_real_keys: --keys has no meaning for this experiment
! exp_10_cost: --gate has no meaning for this experiment
= 2
$ exp_11_form --file /nosuch --keys mean; exp_17_chips --keys real; exp_03_kalman --gate none; gka-sweep --seed 2
! exp_11_form: --keys has no meaning with --file, whose keys are taken
! exp_17_chips: --keys has no meaning for this experiment
! exp_03_kalman: --gate has no meaning for this experiment
! gka-sweep: no option --seed; gka-sweep --help says more
= 2
$ for s in 1x -1 "" 99999999999999999999; do exp_03_kalman --seed "$s"; done; exp_03_kalman --size tiny; exp_03_kalman --out ""; exp_03_kalman 3
! exp_03_kalman: --seed 1x: a whole number from 0 on was expected
! exp_03_kalman: --seed -1: a whole number from 0 on was expected
! exp_03_kalman: --seed : a whole number from 0 on was expected
! exp_03_kalman: --seed 99999999999999999999: a whole number from 0 on was expected
! exp_03_kalman: --size tiny: expected claim, quick or full
! exp_03_kalman: --out: a folder was expected
! exp_03_kalman: '3': no operands are expected
= 2
$ exp_11_form --file /nosuch --size claim; echo $?; gka-sweep a.json --out a --out b; gka-sweep a.json b.json; ls
> 2
! exp_11_form: /nosuch: No such file or directory
! gka-sweep: --out: given twice; gka-sweep --help says more
! gka-sweep: one operand too many: b.json; gka-sweep --help says more
