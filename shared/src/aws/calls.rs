//! How much a run asks of AWS. The RDS API's quota is shared by a whole account, so it is counted, published and tested.

use aws_sdk_rds::config::interceptors::{
    AfterDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_sdk_rds::config::{Intercept, RuntimeComponents};
use aws_sdk_rds::error::BoxError;
use aws_smithy_types::config_bag::ConfigBag;
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

/// Counts requests on the wire, throttled answers included; clones share their counters.
#[derive(Clone, Debug, Default)]
pub struct CallCounter(Arc<AtomicCallCounts>);

#[derive(Debug, Default)]
struct AtomicCallCounts {
    requests: AtomicU64,
    throttled: AtomicU64,
}

/// Requests sent and answers that said "slow down".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts {
    /// Requests sent, retries included.
    pub requests: u64,
    /// Answers with status 429 or 503 or a throttling code in a 400.
    pub throttled: u64,
}

impl CallCounter {
    /// What was counted so far.
    pub fn current_counts(&self) -> CallCounts {
        CallCounts {
            requests: self.0.requests.load(Relaxed),
            throttled: self.0.throttled.load(Relaxed),
        }
    }
}

impl Intercept for CallCounter {
    fn name(&self) -> &'static str {
        "HoldfastCalls"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.requests.fetch_add(1, Relaxed);
        Ok(())
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response();
        let said = |body: &[u8]| {
            let has = |code: &str| body.windows(code.len()).any(|w| w == code.as_bytes());
            ["Throttl", "RequestLimitExceeded", "TooManyRequests", "SlowDown"].into_iter().any(has)
        };
        let status = response.status().as_u16();
        if status == 429
            || status == 503
            || (status == 400 && response.body().bytes().is_some_and(said))
        {
            self.0.throttled.fetch_add(1, Relaxed);
        }
        Ok(())
    }
}
