# Training and bpd on two hosts joined by TCP write the bits of one rank on one host.
. "$(dirname "$0")/common.sh"
unset OMPI_MCA_btl
two_hosts() {
    if [ "$how" = namespaces ]; then "$root/tests/net/hosts" -t 60 -r 1000 "$@"
    else timeout -k 5 60 mpirun --mca btl tcp,self --mca btl_tcp_if_include lo -n 2 "$@"; fi
}
how=namespaces
two_hosts hostname >"$tmp/names" 2>"$tmp/why"
case $? in
    0) [ "$(sort -u "$tmp/names" | wc -l)" = 2 ] || fail "two hosts of one name: $(cat "$tmp/names")" ;;
    77) how=loopback; echo "TCP over loopback instead of two hosts: $(tail -n 1 "$tmp/why")" ;;
    *) cat "$tmp/why"; fail "two hosts cannot be started" ;;
esac

"$probflow" train "$tmp/tiny.yaml" --run "$tmp/one" --quiet || fail "training on one rank"
"$probflow" bpd "$tmp/one" --limit 20 --out "$tmp/one.h5" --quiet >/dev/null || fail "bpd on one rank"
two_hosts "$probflow" train "$tmp/tiny.yaml" --run "$tmp/two" >"$tmp/log" 2>&1 ||
    { cat "$tmp/log"; fail "training on two hosts"; }
grep -q ' 2 ranks, ' "$tmp/log" || { cat "$tmp/log"; fail "not two ranks"; }
[ "$how" = namespaces ] && when=during || when=after
grep -q "exchanged $when the backward pass" "$tmp/log" || { cat "$tmp/log"; fail "not exchanged $when the pass"; }
two_hosts "$probflow" bpd "$tmp/one" --limit 20 --out "$tmp/two.h5" --quiet >"$tmp/log" 2>&1 ||
    { cat "$tmp/log"; fail "bpd on two hosts"; }
same "$tmp/one/checkpoint-00000012.h5" "$tmp/two/checkpoint-00000012.h5"
same "$tmp/one.h5" "$tmp/two.h5"
