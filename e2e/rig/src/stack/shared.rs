use std::path::Path;
use std::time::Duration;

use tokio::sync::OnceCell;

use super::{Stack, StackOptions};
use crate::endpoints::RIG_ENV;
use crate::{RigError, eventually};

/// How long a stack that another process starts may take, our programs on it included.
const START_LIMIT: Duration = Duration::from_secs(180);

/// Statics are never dropped; that the watchdog ends this stack with the process is what makes it possible.
static SHARED: OnceCell<Stack> = OnceCell::const_new();

pub async fn stack() -> Result<&'static Stack, RigError> {
    SHARED
        .get_or_try_init(|| async {
            match std::env::var_os(RIG_ENV).filter(|value| !value.is_empty()) {
                Some(env_file) => {
                    let env_file = Path::new(&env_file);
                    // It may have begun to start when this process was built.
                    eventually("the stack that TENANTRY_RIG_ENV names is up", START_LIMIT, async || {
                        if env_file.exists() { Ok(()) } else { Err("there is no env file yet") }
                    })
                    .await?;
                    Stack::attach(env_file)
                }
                None => Stack::start(StackOptions::default()).await,
            }
        })
        .await
}
