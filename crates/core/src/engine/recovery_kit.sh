set -euo pipefail
umask 077
cd "$VAULT"

# What a JSON file says under a name.
says() { tr -d ' ",' < "$1" | sed -n "s/^$2://p" | sed -n 1p; }
# When the store took a file in, in UTC.
taken() { date -u -r "$1" +%Y%m%d%H%M%S; }
# signed FILE USE TIME SIGNATURE...: one of the signatures is by somebody who was trusted for that use at that time.
# Others may lie beside it: whoever may add files can put them there.
signed() {
    for SIGNATURE in "${@:4}"; do
        for SIGNER in $(TZ=UTC ssh-keygen -Y find-principals -f "$KEYS/allowed_signers" -Overify-time="$3" \
            -s "$SIGNATURE" 2> /dev/null); do
            TZ=UTC ssh-keygen -Y verify -f "$KEYS/allowed_signers" -Overify-time="$3" -I "$SIGNER" -n "$2" \
                -s "$SIGNATURE" < "$1" && return
        done
    done
    echo "$1: nobody who was trusted for $2 at $3 (UTC) signed it" >&2
    return 1
}

# 1. The point is signed by somebody whom you trusted when the store took it in. A replica took it in later: there a
#    signed copy record says when the first vault did.
MANIFEST=points/"$POINT".json
TIME=$(taken "$MANIFEST")
for COPY in copies/"$POINT".*.json; do
    if [ -e "$COPY" ] && [ "$(says "$COPY" manifest) $(says "$COPY" point) $(says "$COPY" complete)" = \
        "$(sha256sum < "$MANIFEST" | cut -d ' ' -f 1) $POINT true" ] &&
        signed "$COPY" backstay-copy-v1 "$(taken "$COPY")" sigs/"$POINT".copy-*.sig; then
        TIME=$(says "$COPY" last_modified | sed 's/[-:TZ]//g; s/\..*//')
    fi
done
signed "$MANIFEST" backstay-point-v1 "$TIME" sigs/"$POINT".point.*.sig
if [ "$(says "$MANIFEST" source)/$(says "$MANIFEST" tier)/$(says "$MANIFEST" id)" != "$POINT" ]; then
    echo "$MANIFEST is that of another point" >&2
    exit 1
fi

# 2. Every object is what was signed: take key and sha256 of each object from the manifest, labels left out.
tr -d ' ",' < "$MANIFEST" | sed '/^labels:{$/,/^}$/d' > "$OUT/manifest"
sed -n 's/^key://p' "$OUT/manifest" > "$OUT/keys"
sed -n 's/^sha256://p' "$OUT/manifest" > "$OUT/digests"
paste -d ' ' "$OUT/digests" "$OUT/keys" | sed 's/ /  /' > "$OUT/SHA256SUMS"
sha256sum --check --strict "$OUT/SHA256SUMS"

# 3. Your identity opens the epoch's key, the one that the manifest names. Others may lie beside it.
EPOCH=$(sed -n '/^epoch:{/,/^}/s/^name://p' "$OUT/manifest")
cat keys/"$EPOCH".*.age > /dev/null
RECIPIENT=$(sed -n '/^epoch:{/,/^}/s/^recipient://p' "$OUT/manifest")
for SEALED in keys/"$EPOCH".*.age; do
    age --decrypt --identity "$KEYS/custodian.txt" --output "$OUT/epoch.txt" "$SEALED" &&
        [ "$(age-keygen -y "$OUT/epoch.txt")" = "$RECIPIENT" ] && break
done

# 4. The epoch's key opens the details, which name the items, and the items: those that were signed, nothing else that
#    lies there.
DETAILS=$(grep '^details/' "$OUT/keys")
age --decrypt --identity "$OUT/epoch.txt" < "$DETAILS" | zstd -d > "$OUT/details.jsonl"
for ITEM in $(grep '^items/.*\.age$' "$OUT/keys"); do
    cat $(grep "^$ITEM" "$OUT/keys") |
        age --decrypt --identity "$OUT/epoch.txt" | zstd -d > "$OUT/$(basename "$ITEM" .zst.age)"
done
