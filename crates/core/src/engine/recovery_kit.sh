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

# 4. The epoch's key opens the details, which name the items, and the items.
cat details/"$POINT".*.jsonl.zst.age | age --decrypt --identity "$OUT/epoch.txt" | zstd -d > "$OUT/details.jsonl"
for ITEM in items/"$POINT"/*/*.zst.age; do
    cat "$ITEM" $(ls "$ITEM".[0-9][0-9][0-9] 2> /dev/null) |
        age --decrypt --identity "$OUT/epoch.txt" | zstd -d > "$OUT/$(basename "$ITEM" .zst.age)"
done
