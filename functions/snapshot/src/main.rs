//! The `snapshot` Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::serve(snapshot::NAME, snapshot::run).await
}
