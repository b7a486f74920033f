//! The `replication` Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::serve(replication::NAME, replication::run).await
}
