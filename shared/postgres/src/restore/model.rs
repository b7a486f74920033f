//! The readers of archives and of SQL text by themselves, for tests that give them anything.

use super::{
    judge,
    lexer::{ScriptItem, SqlLexer},
    parse::{BlockFilter, parse_blocks},
    source::{ChunkReader, DataBlockReader, invalid_data},
};
use crate::toc::{CompressionAlgorithm, Toc};
use bytes::Bytes;
use std::{collections::HashSet, io};
use tokio::sync::mpsc;

/// Reads an archive of the custom format to its end; how many pieces would be loaded.
///
/// # Errors
/// If it is none, or is damaged.
pub fn read_archive(mut bytes: &[u8]) -> io::Result<usize> {
    let toc = Toc::read(&mut bytes).map_err(|e| invalid_data(&e.to_string()))?;
    let (give, take) = mpsc::channel(2);
    for piece in [Bytes::copy_from_slice(bytes), Bytes::new()] {
        give.try_send(Ok(piece)).map_err(io::Error::other)?;
    }
    let blocks = DataBlockReader::new(ChunkReader::new(take), toc.int_size);
    let data = toc.entries.iter().filter(|e| e.has_data).map(|e| e.dump_id);
    let zlib = toc.compression == CompressionAlgorithm::Zlib;
    let wanted =
        BlockFilter { load: data.collect(), skip: HashSet::new(), sql: HashSet::new(), zlib };
    let (out, mut pieces) = mpsc::channel(4);
    let counted = std::thread::spawn(move || {
        let mut count = 0;
        while pieces.blocking_recv().is_some() {
            count += 1;
        }
        count
    });
    let parsed = parse_blocks(blocks, wanted, &out);
    drop(out);
    let count = counted.join().map_err(|_| io::Error::other("the counting thread panicked"))?;
    parsed.map(|()| count)
}

/// Reads SQL text that comes in pieces of so many bytes; how many statements and pieces of data it has.
///
/// # Errors
/// If it is no SQL text, or is cut short.
pub fn read_sql(bytes: &[u8], piece: usize) -> io::Result<usize> {
    let mut lexer = SqlLexer::default();
    let mut count = 0;
    let mut out = |_| {
        count += 1;
        Ok(())
    };
    for piece in bytes.chunks(piece.max(1)) {
        lexer.push(piece, &mut out)?;
    }
    lexer.finish(&mut out)?;
    Ok(count)
}

/// Reads SQL text and judges what it has: its statements, without a COPY of rows, that would run. None if it is no SQL text
/// or something of it would not run.
pub fn judged(bytes: &[u8]) -> Option<Vec<String>> {
    let mut lexer = SqlLexer::default();
    let mut all = Vec::new();
    let mut out = |item| {
        let refused = || io::Error::from(io::ErrorKind::PermissionDenied);
        match item {
            ScriptItem::Statement(text) => {
                let text = String::from_utf8_lossy(&text).into_owned();
                judge::refusal_reason(&text).map_or(Ok(()), |_| Err(refused()))?;
                all.push(text);
            }
            ScriptItem::Copy(text) if !judge::is_copy_of_rows(&String::from_utf8_lossy(&text)) => {
                return Err(refused());
            }
            ScriptItem::Copy(_) | ScriptItem::Data(_) | ScriptItem::End => {}
        }
        Ok(())
    };
    lexer.push(bytes, &mut out).ok()?;
    lexer.finish(&mut out).ok()?;
    Some(all)
}
