//! Names in keys.

/// A name as it stands in a key: letters and digits of any script, `_`, `-` and `.` as they are, all else as escapes. So
/// it is one segment on every store, and needs no quotes in a shell. A leading dot is escaped: it would hide the file.
pub fn escape_name(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for (i, c) in name.chars().enumerate() {
        if c.is_alphanumeric() || matches!(c, '_' | '-') || (c == '.' && i > 0) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out += &format!("%{byte:02X}");
            }
        }
    }
    out
}

/// The name that was escaped so; none when it was not.
pub(super) fn unescape_name(text: &str) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let digit = |b: Option<u8>| char::from(b?).to_digit(16);
                let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            plain => plain,
        });
    }
    String::from_utf8(out).ok().filter(|name| escape_name(name) == text)
}
