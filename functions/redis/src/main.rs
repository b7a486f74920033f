//! The `redis` Lambda.

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), shared::lambda::Error> {
    shared::lambda::serve(redis_function::NAME, redis_function::run).await
}
