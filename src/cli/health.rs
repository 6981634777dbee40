//! `pushpull health`: asks a health page, for containers that have no other client.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use reqwest::redirect::Policy;

use super::Failure;
use crate::config::Health;

const TIMEOUT: Duration = Duration::from_secs(5);

pub(super) fn run(health: &Health) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        let client =
            reqwest::Client::builder().timeout(TIMEOUT).no_proxy().redirect(Policy::none()).build()?;
        let answer = client.get(health.url.clone()).send().await.map_err(reqwest::Error::without_url)?;
        ensure!(answer.status().is_success(), "it answers {}", answer.status());
        Ok(())
    });
    asked.with_context(|| format!("{} is not well", health.url))?;
    Ok(())
}
