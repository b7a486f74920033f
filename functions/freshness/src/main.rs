//! The `freshness` Lambda.

use freshness::Memory;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    // For as long as its environment lives.
    let memory = Memory::of_records();
    shared::lambda::serve(freshness::NAME, async |world, request| {
        freshness::run_reading(world, request, Some(&memory)).await
    })
    .await
}
