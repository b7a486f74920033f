//! The `freshness` Lambda.

use freshness::ChecksumCache;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    // For as long as its environment lives.
    let memory = ChecksumCache::of_records();
    shared::lambda::serve(freshness::NAME, async |world, request| {
        freshness::run_with_cache(world, request, Some(&memory)).await
    })
    .await
}
