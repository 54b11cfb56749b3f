//! The records of an extended header: `LENGTH KEY=VALUE\n`.

use crate::directory::entry::Time;

/// Appends one record. Its length counts its own digits.
pub(super) fn put(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + digits(rest);
    if digits(length) != digits(rest) {
        length += 1;
    }
    put_number(out, length as u64);
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

fn digits(mut n: usize) -> usize {
    let mut count = 1;
    while n >= 10 {
        n /= 10;
        count += 1;
    }
    count
}

/// Appends a decimal number.
pub(super) fn put_number(out: &mut Vec<u8>, mut n: u64) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}

/// Appends a time: decimal seconds, with a fraction if there is one.
pub(super) fn put_time(out: &mut Vec<u8>, time: Time) {
    // -1 s + 0.25 s is written -0.75.
    let (seconds, nanos) = match (time.seconds, time.nanos) {
        (seconds, nanos) if seconds < 0 && nanos > 0 => ((seconds + 1).unsigned_abs(), 1_000_000_000 - nanos),
        (seconds, nanos) => (seconds.unsigned_abs(), nanos),
    };
    if time.seconds < 0 {
        out.push(b'-');
    }
    put_number(out, seconds);
    if nanos > 0 {
        out.push(b'.');
        let mut scale = 100_000_000;
        let mut rest = nanos;
        while rest > 0 {
            out.push(b'0' + (rest / scale) as u8);
            rest %= scale;
            scale /= 10;
        }
    }
}

/// Reads a time. Digits beyond nanoseconds are dropped.
pub(super) fn time(text: &[u8]) -> Option<Time> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let point = text.iter().position(|b| *b == b'.');
    let (whole, fraction) = point.map_or((text, &b""[..]), |at| (&text[..at], &text[at + 1..]));
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = i64::try_from(number(whole)?).ok()?;
    let nanos = (0..9).fold(0, |n, i| n * 10 + fraction.get(i).map_or(0, |b| u32::from(b - b'0')));
    Some(match (negative, nanos) {
        (false, _) => Time { seconds, nanos },
        (true, 0) => Time { seconds: -seconds, nanos },
        (true, _) => Time { seconds: -seconds - 1, nanos: 1_000_000_000 - nanos },
    })
}

/// Reads a decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |n, b| match b {
        b'0'..=b'9' => n.checked_mul(10)?.checked_add(u64::from(b - b'0')),
        _ => None,
    })
}

/// Takes the next record off `data`. None if what is there is no record.
pub(super) fn next<'a>(data: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let space = data.iter().take(20).position(|b| *b == b' ')?;
    let length = usize::try_from(number(&data[..space])?).ok()?;
    let record = data.get(space + 1..length)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|b| *b == b'=')?;
    *data = &data[length..];
    Some((&record[..equals], &record[equals + 1..]))
}

/// The name of an attribute as part of a key: GNU tar escapes `=` and `%` so that the key ends at the first `=`.
pub(super) fn escape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for byte in name {
        match byte {
            b'=' => out.extend_from_slice(b"%3D"),
            b'%' => out.extend_from_slice(b"%25"),
            byte => out.push(*byte),
        }
    }
    out
}

/// The reverse of [`escape`].
pub(super) fn unescape(mut name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    while let Some((first, rest)) = name.split_first() {
        let (byte, rest) = match rest {
            [b'3', b'D', rest @ ..] if *first == b'%' => (b'=', rest),
            [b'2', b'5', rest @ ..] if *first == b'%' => (b'%', rest),
            rest => (*first, rest),
        };
        out.push(byte);
        name = rest;
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn records_are_read_as_written(key in "[a-zA-Z.]{1,20}", value in proptest::collection::vec(any::<u8>(), 0..1200)) {
            let mut out = Vec::new();
            put(&mut out, key.as_bytes(), &value);
            put(&mut out, b"next", b"");
            let mut rest = &out[..];
            prop_assert_eq!(next(&mut rest), Some((key.as_bytes(), &value[..])));
            prop_assert_eq!(next(&mut rest), Some((&b"next"[..], &b""[..])));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn times_are_read_as_written(seconds in -10_000_000_000_i64..100_000_000_000, nanos in 0_u32..1_000_000_000) {
            let mut out = Vec::new();
            put_time(&mut out, Time { seconds, nanos });
            prop_assert_eq!(time(&out), Some(Time { seconds, nanos }));
        }

        #[test]
        fn anything_is_read_without_panic(data in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut rest = &data[..];
            while next(&mut rest).is_some() {}
            time(&data);
        }

        #[test]
        fn names_of_attributes_survive(name in proptest::collection::vec(any::<u8>(), 0..64)) {
            let escaped = escape(&name);
            prop_assert!(!escaped.contains(&b'='));
            prop_assert_eq!(unescape(&escaped), name);
        }
    }

    #[test]
    fn times_are_written_as_others_read_them() {
        for (seconds, nanos, text) in
            [(0, 0, "0"), (12, 340_000_000, "12.34"), (-1, 250_000_000, "-0.75"), (-2, 0, "-2"), (1, 1, "1.000000001")]
        {
            let mut out = Vec::new();
            put_time(&mut out, Time { seconds, nanos });
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn broken_records_are_refused() {
        for broken in
            ["", "5", "x a=b\n", "6 a=b\n", "7 a=b\n", "4 a=b\n", "6 a b\n", "99999999999999999999 a=b\n", "0 a=b\n"]
        {
            let mut rest = broken.as_bytes();
            let read = next(&mut rest);
            assert_eq!(read.is_some(), broken == "6 a=b\n", "{broken:?}");
        }
    }
}
