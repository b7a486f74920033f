//! The `offsite` Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::serve(offsite::NAME, offsite::run).await
}
