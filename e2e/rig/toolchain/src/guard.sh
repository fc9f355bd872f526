# Runs a command, and ends it with all its children when the process that asked for it is gone.
#
# Standard input is a pipe whose only writer is that process: however it ends (return, Ctrl-C, SIGKILL), the kernel closes the
# pipe. This shell leads a process group of its own, which the command and its children belong to.
exec 3<&0 </dev/null
"$@" 3<&- &
command=$!
{
    read -r _ <&3
    kill -s TERM -- "-$$"
} &
watcher=$!
exec 3<&-
wait "$command"
code=$?
kill "$watcher"
exit "$code"
