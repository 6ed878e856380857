#!/usr/bin/env bash
# Verifies the Standard Webhooks signature of a saved request. Needs bash, awk and openssl.
#
#     WEBHOOK_SECRET=whsec_... ./verify.sh saved/7-1041.http
#
# The file holds the headers, an empty line, and the body byte for byte, as receiver.py --save writes it. Several
# secrets may be given, comma separated. A request older than MAX_AGE seconds (300) is refused; MAX_AGE=0 leaves its age
# unchecked. It ends with 0 when the request is genuine, with 1 when it is not, with 2 when it was called wrongly.
#
# The key stands in openssl's arguments for a moment, where other users of this machine can see it: use a machine of
# your own. For a receiver take verify.py, which also compares in constant time.
set -euo pipefail
export LC_ALL=C

wrong() { echo "$1" >&2; exit 2; }
refuse() { echo "Not genuine. $1" >&2; exit 1; }

[ $# -eq 1 ] || wrong "Call it with one file: verify.sh FILE"
file=$1
[ -r "$file" ] || wrong "$file cannot be read."
[ -n "${WEBHOOK_SECRET:-}" ] ||
    wrong "No secret: set WEBHOOK_SECRET to what the portal showed when the endpoint was made."
max_age=${MAX_AGE:-300}
case $max_age in *[!0-9]* | '') wrong "MAX_AGE must be a whole number of seconds." ;; esac

header() {
    awk -v wanted="$1" '{ sub(/\r$/, "") } /^$/ { exit }
        { at = index($0, ":"); value = substr($0, at + 1); gsub(/^[ \t]+|[ \t]+$/, "", value)
          if (tolower(substr($0, 1, at - 1)) == wanted) print value }' "$file"
}

id=$(header webhook-id)
timestamp=$(header webhook-timestamp)
signatures=$(header webhook-signature)
[ -n "$id" ] || refuse "The header webhook-id is missing."
[ -n "$timestamp" ] || refuse "The header webhook-timestamp is missing."
[ -n "$signatures" ] || refuse "The header webhook-signature is missing."
case $timestamp in *[!0-9]*) refuse "The header webhook-timestamp is no number of seconds." ;; esac
if [ "$max_age" -gt 0 ]; then
    age=$(($(date +%s) - timestamp))
    [ "$age" -le "$max_age" ] || refuse "The request is $age seconds old; at most $max_age are allowed."
    [ "$age" -ge "-$max_age" ] || refuse "The request comes from the future. Check this machine's clock."
fi

# A body may end without a line break or hold anything: it never passes through a variable.
head_bytes=$(awk '{ bytes += length($0) + 1 } /^\r?$/ { print bytes; exit }' "$file")
[ -n "$head_bytes" ] || wrong "$file holds no empty line between headers and body."
signed() {
    printf '%s.%s.' "$id" "$timestamp"
    tail -c "+$((head_bytes + 1))" "$file"
}

IFS=', ' read -r -a secrets <<<"$WEBHOOK_SECRET"
for secret in "${secrets[@]}"; do
    key=$(printf '%s' "${secret#whsec_}" | openssl base64 -d -A 2>/dev/null | od -An -v -tx1 | tr -d ' \n') || key=
    [ -n "$key" ] || wrong "The secret is malformed: it is whsec_ and base64, as the portal showed it."
    expected="v1,$(signed | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$key" -binary | openssl base64 -A)"
    case " $signatures " in
        *" $expected "*)
            echo "Genuine."
            exit 0
            ;;
    esac
done
refuse "No signature fits: the secret is another, or the request was changed on its way."
