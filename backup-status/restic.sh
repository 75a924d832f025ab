#!/bin/sh
# The status file of a restic job, for the backups check: docs/checks/backups.md.
#
#   restic.sh backed-up STATUS_FILE [FILTER...] [-- OPTION...]  after a backup that ended well
#   restic.sh restore-test STATUS_FILE [ARGUMENT...]            restores the newest snapshot and sees what comes back
#
# FILTERs are restic's: --host H, --tag T, --path P. OPTIONs are what it needs to reach the repository, such as
# -o sftp.command=C. ARGUMENTs are those of `restic restore`, such as --include PATH. The repository and its password come
# from the environment, as for the job itself. CHECK=1 makes backed-up run `restic check` first.
set -eu
umask 077
# shellcheck source=backup-status/write.sh
. "$(dirname "$0")/write.sh"
[ $# -ge 2 ] || usage
mode=$1 status=$2
shift 2

check() {
    # A check takes no filters.
    while [ $# -gt 0 ] && [ "$1" != -- ]; do shift; done
    [ $# -eq 0 ] || shift
    restic check --quiet "$@" || die "the repository does not pass its check"
}

snapshots() {
    for argument; do
        [ "$argument" = -- ] || set -- "$@" "$argument"
        shift
    done
    # Newest of each host and set of paths: the newest of them all is what we tell of.
    restic snapshots --json --latest 1 "$@" || die "the snapshots cannot be listed"
}

backed_up() {
    [ -z "${CHECK:-}" ] || check "$@"
    snapshots=$(snapshots "$@") || exit
    newest=$(printf '%s' "$snapshots" | grep -o '"time":"[^"\\]*"' | sed 's/.*:"\(.*\)"/\1/' |
        while read -r time; do printf '%s %s\n' "$(date -u -d "$time" +%s.%N)" "$time"; done |
        sort -n | tail -n 1 | cut -d ' ' -f 2)
    [ -n "$newest" ] || die "there is no snapshot"
    # restic names a snapshot's time when the backup began, so its age is never told too low.
    finished_at=$(utc "$newest")
    printf '%s\n' "$snapshots" | write_manifest "$status" "$finished_at"
}

restore_test() {
    [ -e "$status" ] || die "no backup was recorded yet"
    make_room
    restic restore latest --quiet --verify --target "$restored" "$@" || die "the restore failed"
    anything_restored
    write_tested "$status"
}

case $mode in
backed-up) backed_up "$@" ;;
restore-test) restore_test "$@" ;;
*) usage ;;
esac
