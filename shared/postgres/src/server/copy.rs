//! `COPY .. TO STDOUT` through the tap, and how it fails.

use super::PgConnection;
use crate::{PostgresError, PostgresErrorKind};
use std::{future::poll_fn, ops::AsyncFnMut};
use tokio_postgres::SimpleQueryMessage;

/// Why a COPY did not come to its end.
#[derive(Debug)]
pub(crate) enum CopyOutError {
    /// The server's or the connection's.
    Server(tokio_postgres::Error),
    /// Whoever takes the data.
    Consumer(PostgresError),
}

impl From<tokio_postgres::Error> for CopyOutError {
    fn from(e: tokio_postgres::Error) -> Self {
        Self::Server(e)
    }
}

impl CopyOutError {
    /// The server's code for it.
    pub(crate) fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Server(e) => e.code().map(tokio_postgres::error::SqlState::code),
            Self::Consumer(_) => None,
        }
    }

    /// Whether a replica cancelled it because its replay had to remove rows: on a read-only transaction there is no
    /// other reason for this code. <https://www.postgresql.org/docs/current/hot-standby.html#HOT-STANDBY-CONFLICT>
    pub(crate) fn is_recovery_conflict(&self) -> bool {
        self.sqlstate() == Some("40001")
    }

    pub(crate) fn into_postgres_error(self) -> PostgresError {
        match self {
            Self::Server(e) => PostgresError::from_pg("read the data", &e),
            Self::Consumer(e) => e,
        }
    }
}

/// What a COPY gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CopyOutSummary {
    /// Messages that came: rows, and the header line of CSV.
    pub(crate) messages: u64,
    /// Rows, as the server says it when it is done.
    pub(crate) rows: u64,
}

impl PgConnection {
    /// Runs a `COPY .. TO STDOUT` and hands its data over in blocks that begin with `room` zero bytes. The rows that
    /// came must be the rows that the server says it sent.
    pub(crate) async fn copy_out(
        &self,
        sql: &str,
        room: usize,
        mut each: impl AsyncFnMut(Vec<u8>) -> Result<(), PostgresError>,
    ) -> Result<CopyOutSummary, CopyOutError> {
        self.tap.start_capture(room);
        let answer = self.client.simple_query(sql);
        tokio::pin!(answer);
        let mut answered = None;
        loop {
            tokio::select! {
                biased;
                block = poll_fn(|cx| self.tap.poll_block(cx)) => match block {
                    Some(block) => each(block).await.map_err(CopyOutError::Consumer)?,
                    None => break,
                },
                got = &mut answer, if answered.is_none() => match got {
                    Ok(messages) if self.tap.is_capturing() => {
                        self.tap.stop_capture();
                        let why = format!("{} results and no COPY data", messages.len());
                        let e = PostgresError::new(PostgresErrorKind::Refused, "read by COPY", why, "");
                        return Err(CopyOutError::Consumer(e));
                    }
                    Ok(messages) => answered = Some(messages),
                    Err(e) => {
                        self.tap.stop_capture();
                        return Err(e.into());
                    }
                },
            }
        }
        let messages = self.tap.row_count();
        let answer = match answered {
            Some(answer) => answer,
            None => answer.await?,
        };
        self.tap.stop_capture();
        let rows = answer.iter().find_map(|m| match m {
            SimpleQueryMessage::CommandComplete(rows) => Some(*rows),
            _ => None,
        });
        let rows = rows.unwrap_or_default();
        Ok(CopyOutSummary { messages, rows })
    }
}
