# Names of files and folders reach every script as they are: spaces, quotes, $(...), colons, line breaks.
. "$(dirname "$0")/common.sh"
names=('a b' "it's" 'x";touch PWNED;"' "x';touch PWNED;'" 'x$(touch PWNED)' 'x`touch PWNED`' '-d' 'a:b' '*' 'a=b' '50%' $'a\nb' $'a\tb')
mkdir "$tmp/bin" "$tmp/w"
cat >"$tmp/bin/sbatch" <<'S'
#!/bin/sh
for w; do printf '%s\0' "$w"; done >>"$SBATCH_SEEN"
printf '\0' >>"$SBATCH_SEEN"
echo 7
S
chmod +x "$tmp/bin/sbatch"

for name in "${names[@]}"; do
    rm -rf "$tmp/w"; mkdir "$tmp/w"; cd "$tmp/w" || fail "no work folder"
    mkdir -- "./$name"

    # an original file with wrong content is named, and nothing is left behind
    mkdir -- "./$name/mnist"
    for f in train-images-idx3-ubyte train-labels-idx1-ubyte t10k-images-idx3-ubyte t10k-labels-idx1-ubyte; do echo wrong >"./$name/mnist/$f"; done
    PROBFLOW=$probflow "$root/scripts/get_data" mnist "./$name" >out 2>err && fail "get_data took wrong files in '$name'"
    grep -qF 'not the published file' err || { cat err; fail "get_data in '$name'"; }
    [ "$(ls -A "./$name")" = mnist ] || fail "get_data left something in '$name'"
    # a file of the user under the dataset's name stays
    echo precious >"./$name/mnist.h5"
    PROBFLOW=$probflow "$root/scripts/get_data" mnist "./$name" >out 2>err && fail "get_data took '$name/mnist.h5'"
    [ "$(cat "./$name/mnist.h5")" = precious ] || fail "get_data replaced '$name/mnist.h5'"

    # what sbatch gets is what was asked for, once for each job
    cp "$tmp/tiny.yaml" "./$name/$name.yaml"
    export SBATCH_SEEN=$tmp/w/seen
    PATH=$tmp/bin:$PATH "$root/scripts/submit" "./$name/$name.yaml" --run "./$name/run" >out 2>err || { cat err; fail "submit of '$name'"; }
    mapfile -d '' -t words <seen
    [ "$(printf '%s\n' "${words[@]}" | grep -cxF -- --parsable)" = 2 ] || fail "submit of '$name' made other jobs"
    found=0
    for w in "${words[@]}"; do
        case $w in "$tmp/w/$name/$name.yaml" | "$tmp/w/$name/run") found=$((found + 1)) ;; "$tmp/w/${name//%/%%}/run/train.log") found=$((found + 10)) ;; esac
    done
    [ $found = 13 ] || { printf '<%s>\n' "${words[@]}"; fail "submit of '$name' gave other names ($found)"; }
    [ -d "$tmp/w/$name/run" ] || fail "submit of '$name' made no folder"
    [ -z "$(find "$tmp" -name PWNED)" ] && [ ! -e "$root/PWNED" ] || fail "'$name' ran as shell text"

    # a target of bpd.sbatch that holds a colon, and one with a split behind it
    got=$(SLURM_JOB_ID=1 SLURM_ARRAY_TASK_ID=1 bash -c '. "$1/scripts/slurm/job.sh"; target 1 "$2"; printf "%s|%s|%s" "$what" "$split" "$out"' _ "$root" "$tmp/w/$name")
    [ "$got" = "$tmp/w/$name|test|$tmp/w/$name/bpd-test.h5" ] || fail "target '$name' is read as $got"
    got=$(SLURM_JOB_ID=1 SLURM_ARRAY_TASK_ID=1 bash -c '. "$1/scripts/slurm/job.sh"; target 1 "$2"; printf "%s|%s|%s" "$what" "$split" "$out"' _ "$root" "$tmp/w/$name:valid")
    [ "$got" = "$tmp/w/$name|valid|$tmp/w/$name/bpd-valid.h5" ] || fail "target '$name:valid' is read as $got"
done

# trained and scored where the folder and the configuration have such a name
cd "$tmp/w" || fail "no work folder"
name=$'it\'s $(touch PWNED): a b'
mkdir "$name"
cp "$tmp/tiny.yaml" "$name/$name.yaml"
"$root/scripts/run_local" "$name/$name.yaml" --ranks 2 --run "$name/run" --limit 8 --set train.steps=2 >out 2>&1 || { cat out; fail "run_local of '$name'"; }
[ -s "$name/run/bpd-test.h5" ] && [ -s "$name/run/checkpoint-00000002.h5" ] || fail "run_local of '$name' left no result"
[ -z "$(find "$tmp" -name PWNED)" ] || fail "run_local ran '$name' as shell text"
exit 0
