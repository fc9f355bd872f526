use std::sync::Arc;

use tenantry_rig::process::{Launch, Process, Sandbox, ports};
use tenantry_rig::{Endpoints, RigError};

use super::{OPERATOR, ProgramOptions, Settings, binary, inherited_settings};

/// Starts an operator that may die at a kill point, and does not wait until it is ready: it may die before.
///
/// Each takes a Lease of its own, `lease`, so that nobody waits for the Lease of the dead. No two may run at once.
pub fn mortal_operator(
    sandbox: &Sandbox,
    endpoints: &Endpoints,
    lease: &str,
    environment: &[(&str, &str)],
) -> Result<Arc<Process>, RigError> {
    if !cfg!(debug_assertions) {
        // The programs under test have the profile of this crate.
        return Err(RigError::Refused("only a debug build of the operator has kill points".to_owned()));
    }
    // The Lease is renewed often, so that its points are met. It lasts long, since a machine under load may answer late, and an
    // operator that loses it ends.
    let usual = [
        ("TENANTRY__LEADER__LEASE", lease),
        ("TENANTRY__LEADER__DURATION_SECONDS", "30"),
        ("TENANTRY__LEADER__RENEW_SECONDS", "1"),
    ];
    let settings =
        usual.iter().chain(environment).map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let options = ProgramOptions { settings: settings.collect(), ..ProgramOptions::default() };
    let program = binary::find(OPERATOR, &options)?;
    let [api, metrics] = ports::free()?;
    let settings = Settings::operator(endpoints, &options)?.listening(false, api, metrics);
    let launch = Launch::new(format!("{OPERATOR}-{lease}"), program).args(["run"]);
    let launch = inherited_settings().fold(launch, Launch::without_env);
    sandbox.spawn(&settings.variables().fold(launch, |launch, (key, value)| launch.env(key, value)))
}
