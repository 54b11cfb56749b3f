set -euo pipefail
umask 077
cd "$VAULT"

# 1. The point is signed by somebody you trust.
SIGNER=$(ssh-keygen -Y find-principals -f "$KEYS/allowed_signers" -s "$(ls sigs/"$POINT".point.*.sig | head -n 1)")
ssh-keygen -Y verify -f "$KEYS/allowed_signers" -I "$SIGNER" -n backstay-point-v1 \
    -s "$(ls sigs/"$POINT".point.*.sig | head -n 1)" < points/"$POINT".json

# 2. Every object is what was signed: take key and sha256 of each object from the manifest.
tr -d ' ",' < points/"$POINT".json | sed -n 's/^key://p' > "$OUT/keys"
tr -d ' ",' < points/"$POINT".json | sed -n 's/^sha256://p' > "$OUT/digests"
paste -d ' ' "$OUT/digests" "$OUT/keys" | sed 's/ /  /' > "$OUT/SHA256SUMS"
sha256sum --check --strict "$OUT/SHA256SUMS"

# 3. Your identity opens the epoch's key.
EPOCH=$(tr -d ' ",' < points/"$POINT".json | sed -n '/^epoch:{/,/^}/s/^name://p')
cat keys/"$EPOCH".*.age > /dev/null
for SEALED in keys/"$EPOCH".*.age; do
    age --decrypt --identity "$KEYS/custodian.txt" --output "$OUT/epoch.txt" "$SEALED" && break
done

# 4. The epoch's key opens the details, which name the items, and the items: those that were signed, nothing else that
#    lies there.
DETAILS=$(grep '^details/' "$OUT/keys")
age --decrypt --identity "$OUT/epoch.txt" < "$DETAILS" | zstd -d > "$OUT/details.jsonl"
for ITEM in $(grep '^items/.*\.age$' "$OUT/keys"); do
    cat $(grep "^$ITEM" "$OUT/keys") |
        age --decrypt --identity "$OUT/epoch.txt" | zstd -d > "$OUT/$(basename "$ITEM" .zst.age)"
done
