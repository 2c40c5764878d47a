No table is wider than 100 characters; lines of prose and titles (with ':', ';' or ',') are not looked at.

$ real=$DATA/real/smollm2_rope_released.safetensors; for c in "spectrum" "spectrum --per-head" "verify --emulate=h100,h100/two-term,ieee32 --per-head" "condition --emulate=h100 --tensor=o --tensor=layer.dalpha --per-head" "attribute --per-head"; do gka $c $real; done | awk '!/[:;]/ && length > most { most = length } END { print (most > 100 ? "wider: " most : "at most 100") (NR > 100 ? "" : ", and too few lines") }'
> at most 100
$ gka verify --emulate=h100 $DATA/h100/iid_gated.safetensors | awk '!/[:;]/ && length > 100'
$ gka condition --tensor=solve.dk $DATA/h100/iid_gated.safetensors | awk '!/:/ && length > 100'
