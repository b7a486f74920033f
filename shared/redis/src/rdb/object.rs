//! Values of an RDB file, each passed over as its type says.

use super::{WalkError, source::RdbSource};
use facts::RedisFamily;

/// Passes over a value. The module that it is of, if it is of one.
pub(super) fn skip_value(
    source: &mut RdbSource,
    kind: u8,
    family: RedisFamily,
) -> Result<Option<String>, WalkError> {
    match kind {
        // A string, or a value packed into one: zipmap, ziplist, intset, listpack.
        0 | 9..=13 | 16 | 17 | 20 => source.skip_string()?,
        // Lists, sets, quicklists of ziplists.
        1 | 2 | 14 => {
            let items = source.length()?;
            source.skip_strings(items)?;
        }
        // A sorted set with scores as text, or as 8 bytes.
        3 => each(source, |source| {
            source.skip_string()?;
            match source.byte()? {
                253..=255 => Ok(()),
                digits => source.skip(u64::from(digits)),
            }
        })?,
        5 => each(source, |source| {
            source.skip_string()?;
            source.skip(8)
        })?,
        4 => each(source, |source| source.skip_strings(2))?,
        7 => {
            let id = source.length()?;
            skip_module_value(source)?;
            return Ok(Some(module_name(id)));
        }
        15 | 19 | 21 => skip_stream(source, kind)?,
        18 => each(source, |source| {
            source.skip_lengths(1)?;
            source.skip_string()
        })?,
        // Valkey: a hash whose fields may have a time to live.
        22 if family == RedisFamily::Valkey => each(source, |source| {
            source.skip_strings(2)?;
            source.skip(8)
        })?,
        // Redis 7.4: the same, with the earliest time first; and packed into one string.
        24 => {
            source.skip(8)?;
            each(source, |source| {
                source.skip_lengths(1)?;
                source.skip_strings(2)
            })?;
        }
        25 => {
            source.skip(8)?;
            source.skip_string()?;
        }
        other => {
            return Err(WalkError::Unsupported(format!("values of type {other} are not known")));
        }
    }
    Ok(None)
}

/// As many as the length says.
fn each(
    source: &mut RdbSource,
    mut item: impl FnMut(&mut RdbSource) -> Result<(), WalkError>,
) -> Result<(), WalkError> {
    let items = source.length()?;
    (0..items).try_for_each(|_| item(source))
}

/// A stream: its entries, its ids, and its consumer groups. Types 19 and 21 have more ids and times.
fn skip_stream(source: &mut RdbSource, kind: u8) -> Result<(), WalkError> {
    let (ids, times) = (kind >= 19, if kind >= 21 { 16 } else { 8 });
    each(source, |source| source.skip_strings(2))?;
    // Length and last id; first id, greatest deleted id, entries ever added.
    source.skip_lengths(if ids { 8 } else { 3 })?;
    each(source, |source| {
        source.skip_string()?;
        source.skip_lengths(if ids { 3 } else { 2 })?;
        // Pending entries: an id of 16 bytes, a time of 8, a count.
        each(source, |source| {
            source.skip(24)?;
            source.skip_lengths(1)
        })?;
        each(source, |source| {
            source.skip_string()?;
            source.skip(times)?;
            each(source, |source| source.skip(16))
        })
    })
}

/// A module's value: parts with an opcode each, until 0.
pub(super) fn skip_module_value(source: &mut RdbSource) -> Result<(), WalkError> {
    loop {
        match source.length()? {
            0 => return Ok(()),
            1 | 2 => source.skip_lengths(1)?,
            3 => source.skip(4)?,
            4 => source.skip(8)?,
            5 => source.skip_string()?,
            _ => return Err(WalkError::Damaged("a module's value in it is none".into())),
        }
    }
}

/// The name in a module's id: nine characters of six bits, then ten bits of version.
pub(super) fn module_name(id: u64) -> String {
    const CHARACTERS: &[u8; 64] =
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let character =
        |n: u64| char::from(CHARACTERS[usize::try_from((id >> (58 - 6 * n)) & 63).unwrap_or(0)]);
    (0..9).map(character).collect()
}
