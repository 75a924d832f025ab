#!/bin/sh
# The status file of a borg job, for the backups check: docs/checks/backups.md.
#
#   borg.sh backed-up STATUS_FILE [FILTER...]     after a backup that ended well
#   borg.sh restore-test STATUS_FILE [PATH...]    restores the newest archive and sees what comes back
#
# FILTERs are borg's: --glob-archives 'clinic-*', and what it needs to reach the repository, such as
# --remote-path P. The repository and its passphrase come from the environment
# (BORG_REPO), as for the job itself. CHECK=1 makes backed-up run `borg check` on the newest archive first.
set -eu
umask 077
# shellcheck source=backup-status/write.sh
. "$(dirname "$0")/write.sh"
[ $# -ge 2 ] || usage
[ -n "${BORG_REPO:-}" ] || die "BORG_REPO is not set"
mode=$1 status=$2
shift 2
# borg tells times without a zone.
export TZ=UTC

backed_up() {
    [ -z "${CHECK:-}" ] || borg check --last 1 "$@" || die "the repository does not pass its check"
    archive=$(borg info --json --last 1 "$@") || die "the newest archive cannot be read"
    end=$(printf '%s' "$archive" | json_string end)
    [ -n "$end" ] || die "there is no archive"
    finished_at=$(utc "$end")
    printf '%s\n' "$archive" | write_manifest "$status" "$finished_at"
}

restore_test() {
    [ -e "$status" ] || die "no backup was recorded yet"
    manifest=$(json_string artefact <"$status")
    name=$(json_string name <"$manifest")
    [ -n "$name" ] || die "the newest archive is not known by name"
    make_room
    (cd "$restored" && borg extract "::$name" "$@") || die "the restore failed"
    anything_restored
    write_tested "$status"
}

case $mode in
backed-up) backed_up "$@" ;;
restore-test) restore_test "$@" ;;
*) usage ;;
esac
