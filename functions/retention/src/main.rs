//! The `retention` Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::serve(retention::NAME, retention::run).await
}
