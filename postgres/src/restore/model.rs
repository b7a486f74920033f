//! The readers of archives and of SQL text by themselves, for tests that give them anything.

use super::{
    judge,
    lexer::{Item, Lexer},
    parse::{Wanted, parse},
    source::{Blocks, Source, bad},
};
use crate::toc::{Packing, Toc};
use bytes::Bytes;
use std::{collections::HashSet, io};
use tokio::sync::mpsc;

/// Reads an archive of the custom format to its end; how many pieces would be loaded.
///
/// # Errors
/// If it is none, or is damaged.
pub fn archive(mut bytes: &[u8]) -> io::Result<usize> {
    let toc = Toc::read(&mut bytes).map_err(|e| bad(&e.to_string()))?;
    let (give, take) = mpsc::channel(2);
    for piece in [Bytes::copy_from_slice(bytes), Bytes::new()] {
        give.try_send(Ok(piece)).map_err(io::Error::other)?;
    }
    let blocks = Blocks::new(Source::new(take), toc.int_size);
    let data = toc.entries.iter().filter(|e| e.has_data).map(|e| e.dump_id);
    let zlib = toc.packing == Packing::Zlib;
    let wanted = Wanted { load: data.collect(), skip: HashSet::new(), sql: HashSet::new(), zlib };
    let (out, mut pieces) = mpsc::channel(4);
    let counted = std::thread::spawn(move || {
        let mut count = 0;
        while pieces.blocking_recv().is_some() {
            count += 1;
        }
        count
    });
    let parsed = parse(blocks, wanted, &out);
    drop(out);
    let count = counted.join().map_err(|_| io::Error::other("the counting thread panicked"))?;
    parsed.map(|()| count)
}

/// Reads SQL text that comes in pieces of so many bytes; how many statements and pieces of data it has.
///
/// # Errors
/// If it is no SQL text, or is cut short.
pub fn sql(bytes: &[u8], piece: usize) -> io::Result<usize> {
    let mut lexer = Lexer::default();
    let mut count = 0;
    let mut out = |_| {
        count += 1;
        Ok(())
    };
    for piece in bytes.chunks(piece.max(1)) {
        lexer.push(piece, &mut out)?;
    }
    lexer.end(&mut out)?;
    Ok(count)
}

/// Reads SQL text and judges what it has: its statements, without a COPY of rows, that would run. None if it is no SQL text
/// or something of it would not run.
pub fn judged(bytes: &[u8]) -> Option<Vec<String>> {
    let mut lexer = Lexer::default();
    let mut all = Vec::new();
    let mut out = |item| {
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        match item {
            Item::Statement(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                judge::refusal(&text).map_or(Ok(()), |_| Err(refused()))?;
                all.push(text);
            }
            Item::Copy(text) if !judge::is_copy_of_rows(&String::from_utf8_lossy(&text)) => {
                return Err(refused());
            }
            Item::Copy(_) | Item::Data(_) | Item::End => {}
        }
        Ok(())
    };
    lexer.push(bytes, &mut out).ok()?;
    lexer.end(&mut out).ok()?;
    Some(all)
}
