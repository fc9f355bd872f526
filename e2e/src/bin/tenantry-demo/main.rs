//! `tenantry-demo`: from an empty machine to served tenants, told while it happens.

mod narrator;
mod story;

use std::process::ExitCode;

use narrator::Narrator;
use story::tell;

#[tokio::main]
async fn main() -> ExitCode {
    match tell(&mut Narrator::on_stdout()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let mut reason = error.to_string();
            let mut cause = error.source();
            while let Some(next) = cause {
                reason.push_str(&format!(": {next}"));
                cause = next.source();
            }
            eprintln!("\nThe demo ended early: {reason}");
            ExitCode::FAILURE
        }
    }
}
