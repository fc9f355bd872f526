use std::path::Path;

use tokio::sync::OnceCell;

use super::{Stack, StackOptions};
use crate::RigError;
use crate::endpoints::RIG_ENV;

/// Statics are never dropped; that the watchdog ends this stack with the process is what makes it possible.
static SHARED: OnceCell<Stack> = OnceCell::const_new();

pub async fn stack() -> Result<&'static Stack, RigError> {
    SHARED
        .get_or_try_init(|| async {
            match std::env::var_os(RIG_ENV).filter(|value| !value.is_empty()) {
                Some(env_file) => Stack::attach(Path::new(&env_file)),
                None => Stack::start(StackOptions::default()).await,
            }
        })
        .await
}
