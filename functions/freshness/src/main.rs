//! The `freshness` Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::serve(freshness::NAME, freshness::run).await
}
