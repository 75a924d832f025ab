#!/bin/sh
# Keeps the agent's egress table: what egress.nft says, with the addresses of the control plane in its two sets.
#
#   egress.sh load TABLE HOST      loads the table
#   egress.sh refresh TABLE HOST   looks HOST up, and loads the table if it, or a rule in it, is not as it should be
#   egress.sh unload               removes it
#
# While HOST cannot be looked up, the addresses found last stay; they are kept in $STATE_DIRECTORY/addresses. How nft
# lists what was loaded is kept in $STATE_DIRECTORY/rules.
set -eu
umask 077
export LC_ALL=C
kept="${STATE_DIRECTORY:?}/addresses"
rules="$STATE_DIRECTORY/rules"

# The addresses of the host $1, one a line, sorted; of scoped and mapped ones none.
look_up() {
    timeout 20 getent ahosts "$1" | while read -r address _; do
        case $address in
        *[!0-9a-fA-F.:]* | *:*.*) ;;
        *) printf '%s\n' "$address" ;;
        esac
    done | sort -u | head -n 64
}

# elements SET: its elements in the kernel, one a line, sorted; fails where there is no such set.
elements() {
    listing=$(nft -j list set inet compliance_egress "$1" 2>/dev/null) || return
    printf '%s' "$listing" | sed -n 's/.*"elem": *\[\([^]]*\)\].*/\1/p' | tr -d '" ' | tr , '\n' | sort
}

# The table as the kernel has it, but for counters and what is in the sets.
listing() { nft -s -t list table inet compliance_egress 2>/dev/null; }

# The table $1 in one transaction, with the addresses that are kept.
load() {
    four=$(grep -v : "$kept" | paste -s -d , -) || true
    six=$(grep : "$kept" | paste -s -d , -) || true
    {
        printf 'table inet compliance_egress\ndelete table inet compliance_egress\n'
        cat "$1"
        [ -z "$four" ] || printf 'add element inet compliance_egress mcp4 { %s }\n' "$four"
        [ -z "$six" ] || printf 'add element inet compliance_egress mcp6 { %s }\n' "$six"
    } | nft -f -
    # Without it the table is loaded at each refresh.
    listing >"$rules" || rm -f "$rules"
}

is_loaded() {
    [ "$(listing)" = "$(cat "$rules" 2>/dev/null)" ] || return
    four=$(elements mcp4) && six=$(elements mcp6) || return
    # shellcheck disable=SC2086 # A line each.
    [ "$(printf '%s\n' $four $six | sort)" = "$(cat "$kept")" ]
}

keep() {
    found=$(look_up "$1")
    if [ -z "$found" ]; then
        echo "<4>$1 cannot be looked up: the agent may go on to reach what was found last" >&2
        [ -e "$kept" ] || : >"$kept"
        return
    fi
    # A full disk keeps nobody from the control plane, which has to hear of it.
    if ! { printf '%s\n' "$found" >"$kept.new" && mv "$kept.new" "$kept"; }; then
        rm -f "$kept.new"
        echo "<4>$kept cannot be written: the agent may go on to reach what was found last" >&2
    fi
}

case "${1:-}:$#" in
load:3)
    [ -e "$kept" ] || : >"$kept"
    load "$2"
    keep "$3"
    is_loaded || load "$2"
    ;;
refresh:3)
    # Before names are asked for, which may take its time.
    is_loaded || load "$2"
    keep "$3"
    is_loaded || load "$2"
    ;;
unload:1) nft delete table inet compliance_egress 2>/dev/null || true ;;
*)
    echo "usage: egress.sh load|refresh TABLE HOST, or egress.sh unload" >&2
    exit 2
    ;;
esac
