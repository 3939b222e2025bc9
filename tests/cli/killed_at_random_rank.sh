# A short version of tests/faults/kill_rounds: six kills of training, two of bpd.
# The choices are the same each time; the long version draws others.
SEED=${SEED:-274265563} exec bash "$(dirname "$0")/../faults/kill_rounds" 6
