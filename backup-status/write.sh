# Read by restic.sh and borg.sh: writes the status file that the backups check reads (docs/checks/backups.md).
# shellcheck shell=sh

die() {
    printf '%s: %s\n' "${0##*/}" "$1" >&2
    exit "${2:-1}"
}

usage() {
    die "usage: ${0##*/} backed-up|restore-test STATUS_FILE [ARGUMENT...]" 2
}

# The time $1, which date(1) of GNU understands, as status files have it.
utc() {
    date -u -d "$1" +%Y-%m-%dT%H:%M:%S.%3NZ
}

# The first string called $1 in the JSON on stdin. A quote inside a string is escaped, so that no string can
# look like a name.
json_string() {
    tr -d '\n' | grep -o "\"$1\": *\"[^\"\\\\]*\"" | head -n 1 | sed 's/.*: *"\(.*\)"$/\1/'
}

# What the status file $1 says of the last test of a restore, if anything.
tested() {
    [ ! -e "$1" ] || json_string restore_tested_at <"$1"
}

# Puts the file $1 in the place of $2: after a power cut there is the one or the other, whole.
replace() {
    sync "$1" && mv -f "$1" "$2" && sync "$(dirname "$2")"
}

# write STATUS_FILE FINISHED_AT ARTEFACT TESTED_AT
write() {
    case $3 in
    *[\"\\[:cntrl:]]*) die "the path of the archive has a quote, a backslash or a control character" ;;
    /*) ;;
    *) die "the path of the archive must be absolute" ;;
    esac
    bytes=$(wc -c <"$3") || die "the archive cannot be read"
    sum=$(sha256sum <"$3") || die "the archive cannot be read"
    new=$(mktemp "$1.XXXXXX") || die "the folder of the status file cannot be written"
    {
        printf '{"finished_at":"%s","artefact":"%s","bytes":%d,"sha256":"%s"' "$2" "$3" "$bytes" "${sum%% *}"
        [ -z "$4" ] || printf ',"restore_tested_at":"%s"' "$4"
        printf '}\n'
    } >"$new" || die "the status file cannot be written"
    replace "$new" "$1" || die "the status file cannot be written"
}

# write_manifest STATUS_FILE FINISHED_AT, with the manifest of a repository on stdin: it is kept beside the
# status file, under a name of its own, so that at each instant the status tells of a file that is there.
write_manifest() {
    before=
    [ ! -e "$1" ] || before=$(json_string artefact <"$1")
    new=$(mktemp "$1.XXXXXX") || die "the folder of the status file cannot be written"
    cat >"$new"
    sum=$(sha256sum <"$new")
    manifest=$(realpath "$(dirname "$1")")/$(basename "$1").manifest-$(printf '%.16s' "$sum")
    replace "$new" "$manifest" || die "the manifest cannot be written"
    write "$1" "$2" "$manifest" "$(tested "$1")"
    case $before in
    "$manifest") ;;
    "${manifest%-*}"-*) rm -f "$before" ;;
    esac
}

# Says in the status file $1 that a restore was tested just now, and leaves the rest as it is.
write_tested() {
    finished_at=$(json_string finished_at <"$1") && artefact=$(json_string artefact <"$1")
    [ -n "$finished_at$artefact" ] || die "there is no status of a backup to add to"
    sum=$(json_string sha256 <"$1")
    [ "$(sha256sum <"$artefact")" = "$sum  -" ] || die "the archive is not the one that the status tells of"
    write "$1" "$finished_at" "$artefact" "$(utc now)"
}

# A folder $restored for what is restored, gone at the end.
make_room() {
    restored=$(mktemp -d) || die "there is no room for a restore"
    trap 'rm -rf "$restored"' EXIT
    trap 'exit 1' HUP INT TERM
}

# Fails unless at least one file with contents was restored.
anything_restored() {
    [ -n "$(find "$restored" -type f -size +0 | head -n 1)" ] || die "nothing was restored"
}
