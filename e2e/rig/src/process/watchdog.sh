# Ends the children of a rig process when that process is gone.
#
# Standard input is a pipe whose only writer is the rig process: however it ends (return, panic, SIGKILL), the kernel
# closes the pipe and the loop below ends. Runs in its own process group, so Ctrl-C does not reach it.
# Lines: `watch GROUP SIGNAL` (0: it ends by itself soon), `forget GROUP`, `keep`.
trap '' HUP INT TERM
folder=$1

# A zombie has ended too: the first process of a container may be slow to reap what it inherits, or never do it.
ended() {
    read -r _ _ state _ <"/proc/$1/stat" || return 0
    [ "$state" = Z ]
}

watched=
keep=no
while read -r verb group signal; do
    case $verb in
    watch) watched="$watched $group:$signal" ;;
    forget)
        rest=
        for entry in $watched; do
            [ "${entry%%:*}" = "$group" ] || rest="$rest $entry"
        done
        watched=$rest
        ;;
    keep) keep=yes ;;
    esac
done

for entry in $watched; do
    kill -s "${entry##*:}" -- "-${entry%%:*}"
done
# PostgreSQL needs a moment to give back its shared memory; whatever is still there after 5 s is killed.
for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 \
    31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50; do
    alive=
    for entry in $watched; do
        ended "${entry%%:*}" || alive="$alive ${entry%%:*}"
    done
    [ -z "$alive" ] && break
    sleep 0.1
done
for group in $alive; do
    kill -s KILL -- "-$group"
done

if [ "$keep" = yes ]; then
    for entry in "$folder"/* "$folder"/.[!.]*; do
        [ "$entry" = "$folder/logs" ] || rm -rf "$entry"
    done
else
    # A server that is just dying may still add a file to a folder being removed.
    for _ in 1 2 3 4 5; do
        rm -rf "$folder" && break
        sleep 0.2
    done
fi
