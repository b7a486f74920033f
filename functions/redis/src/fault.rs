//! Errors of Redis as the edges' one error: its kind decides the exit code.

use redis::{RedisError, RedisErrorKind};
use shared::aws::{OperationError, OperationErrorKind};

/// Redis's.
pub(crate) fn error_from_redis(e: &RedisError) -> OperationError {
    let kind = match e.kind {
        RedisErrorKind::Connection | RedisErrorKind::Denied => OperationErrorKind::Database,
        RedisErrorKind::Busy => OperationErrorKind::Busy,
        RedisErrorKind::Refused | RedisErrorKind::Damaged | RedisErrorKind::Unsupported => {
            OperationErrorKind::Refused
        }
    };
    let hint = if e.hint.is_empty() { "see the server's log" } else { &e.hint };
    OperationError::with_hint(kind, e.doing.clone(), e.why.clone(), hint)
}
