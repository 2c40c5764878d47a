Records of --units are used only as they were written, of the files as they are.

$ cp $DATA/h100/h0.safetensors a; cp a in; gka verify --json=j --units=u --inputs=in a >1; cp j j1; ls u
> 0.json
> command.json
$ gka verify --json=j --units=u --inputs=in a | cmp - 1; cmp j j1
$ sed -i '/"record"/,$y/37/73/' u/0.json; gka verify --json=j --units=u --inputs=in a | cmp - 1; cmp j j1
$ sed -i '/"record"/,$d' u/0.json; echo '"record": {}}' >>u/0.json; gka verify --json=j --units=u --inputs=in a | cmp - 1; cmp j j1
$ gka verify --emulate=h100 --per-head --units=p a >2; sed -i 's/"rows": 1/"rows": 1000/' p/0.json; gka verify --emulate=h100 --per-head --units=p a | cmp - 2

A record is used, but of the same files by the same program and command.

$ cp $DATA/h100/decode.safetensors d; cp d in; gka verify --units=w --inputs=in d >3; touch -d 2001-01-01 w/0.json; gka verify --units=w --inputs=in d | cmp - 3; find w/0.json -newermt 2002-01-01
$ cp $(command -v gka) other; ./other verify --units=w --inputs=in d | cmp - 3; find w/0.json -newermt 2002-01-01
> w/0.json
$ touch -d 2001-01-01 w/0.json in; ./other verify --units=w --inputs=in d | cmp - 3; find w/0.json -newermt 2002-01-01
> w/0.json
$ printf no >in; ./other verify --units=w --inputs=in d
! gka verify: in: 2 bytes long; a safetensors file has at least 10
= 2
$ gka verify --units=u a
! gka verify: --units=u: belongs to another command (command.json in it); another folder was expected
= 2

A later file is bad: what comes before is printed, by a process of no launcher too; not by a rank above 0.

$ : >empty; gka verify a empty >1; gka verify --units=v a empty >2
! gka verify: empty: 0 bytes long; a safetensors file has at least 10
! gka verify: empty: 0 bytes long; a safetensors file has at least 10
= 2
$ SLURM_PROCID=1 gka verify --units=v a empty | cmp - 1
! gka verify: empty: 0 bytes long; a safetensors file has at least 10
$ OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=2 gka verify --units=v a empty
$ OMPI_COMM_WORLD_RANK=1 OMPI_COMM_WORLD_SIZE=1 gka verify --units=v a empty | cmp - 1
! gka verify: empty: 0 bytes long; a safetensors file has at least 10

What is no folder and cannot become one is refused, with the system's reason.

$ gka verify --units=in/w --inputs=in a
! gka verify: --units=in/w: a folder, or the name of a new one, was expected (Not a directory)
= 2
